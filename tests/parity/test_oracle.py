"""The oracle's own contracts: it shares no code with scratch, finds systems without a list, and ignores no option."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import torch_ref
from scratch.gradcheck.cases import Case
from scratch.gradcheck.cases.case import of_forward
from scratch.gradcheck.table import run_case
from scratch.module import Module
from torch_ref import models
from torch_ref.bottlenecks import Bottleneck
from torch_ref.bottlenecks.capacity import CapacityBottleneck
from torch_ref.bottlenecks.codebook.health import CuredVectorQuantizer
from torch_ref.bottlenecks.codebook.reversed_straight_through import ReversedVectorQuantizer
from torch_ref.bottlenecks.dense import DenseBottleneck
from torch_ref.bottlenecks.free_bits import FreeBitsBottleneck
from torch_ref.bottlenecks.sparse import SparseBottleneck
from torch_ref.bottlenecks.vector_quantizer import VectorQuantizer
from torch_ref.gradcheck import AUTOGRAD, twin
from torch_ref.losses import LIKELIHOODS
from torch_ref.models import build, declared_options, model_options
from torch_ref.networks import NETWORKS
from torch_ref.options import number, schedule, whole
from torch_ref.schedules import scheduled
from torch_ref.training import make_optimizer

SHAPE = (8, 8, 3)
SMALL = {"channels": (4, 6)}


def test_the_mathematics_of_the_oracle_imports_nothing_of_scratch():
    folder = Path(torch_ref.__file__).parent
    rooms = [path for room in ("bottlenecks", "networks", "layers", "models") for path in (folder / room).rglob("*.py")]
    files = [*rooms, *(folder / f"{name}.py" for name in ("options", "losses", "schedules", "training"))]
    names = [".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__")
             for path in files]
    assert {"torch_ref.bottlenecks.codebook.health", "torch_ref.models.systems", "torch_ref.training"} <= {*names}
    script = f"import sys, importlib\nfor name in {names}: importlib.import_module(name)\n" \
             f"print(*(name for name in sys.modules if name.split('.')[0] == 'scratch'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# --- systems ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_system():
    """A system that this test defines: a dense code that is scaled, and the mean of its squares as a term."""

    class ScaledBottleneck(DenseBottleneck, system="scaled"):
        options = {"scale": number(2.0, above=True), "weight": schedule(0.5)}  # noqa: RUF012

        def __init__(self, feature_shape, latent_dim, scale, dtype):
            super().__init__(feature_shape, latent_dim, dtype)
            self.scale = scale

        def weights(self, options, image_shape):
            return {"reconstruction": 1.0, "square": options["weight"]}

        def forward(self, h, noise=None):
            z = self.encode(h)
            return self.decode(z), {"square": z.square().sum() / len(z)}

        def encode(self, h):
            return self.scale * super().encode(h)

    yield ScaledBottleneck
    del Bottleneck.systems["scaled"]


def test_a_new_bottleneck_is_a_system_once_its_class_is_there(own_system):
    model = build("scaled", SHAPE, {"latent_dim": 5, "scale": 3.0, "weight": "linear:0:1:10", **SMALL})
    assert type(model.bottleneck) is own_system and model.bottleneck.scale == 3.0
    x = torch.rand(2, 3, 8, 8)
    model.at_step(5)
    loss, terms = model.loss(x)
    assert loss.item() == pytest.approx((terms["reconstruction"] + 0.5 * terms["square"]).item())
    assert model.encode(x).shape == (2, 5) and model.reconstruct(x).shape == x.shape
    assert {"latent_dim", "scale", "weight", "channels"} <= declared_options("scaled").keys()
    with pytest.raises(ValueError, match=r"'scle' is not an option of scaled; the nearest is 'scale'"):
        build("scaled", SHAPE, {"scle": 1.0})
    with pytest.raises(ValueError, match=r"'scale' is an option of scaled; ae .* has none"):
        build("ae", SHAPE, {"scale": 1.0})


def test_every_module_of_the_folder_is_imported():
    assert {"ae", "vae", "vqvae", "vqvae2", "dvae"} <= Bottleneck.systems.keys()
    folder = Path(torch_ref.__file__).parent / "bottlenecks"
    for path in folder.rglob("*.py"):
        name = ".".join(path.relative_to(folder.parents[1]).with_suffix("").parts)
        assert name.removesuffix(".__init__") in sys.modules


@pytest.mark.parametrize("model, options, kind", [
    ("ae", {}, DenseBottleneck),
    ("ae", {"sparsity": 0.1}, SparseBottleneck),
    ("vae", {"free_bits": 0.2}, FreeBitsBottleneck),
    ("vae", {"capacity": 0.0}, CapacityBottleneck),
    ("vae", {"capacity": "linear:0:3:10"}, CapacityBottleneck),
    ("vqvae", {}, VectorQuantizer),
    ("vqvae", {"straight_through": "reversed"}, ReversedVectorQuantizer),
    ("vqvae", {"codebook_init": "normal"}, VectorQuantizer),
    ("vqvae", {"codebook_init": "kmeans"}, CuredVectorQuantizer),
    ("vqvae", {"code_metric": "cosine"}, CuredVectorQuantizer),
    ("vqvae2", {"restart_after": 3}, CuredVectorQuantizer),
])
def test_the_options_choose_the_variant(model, options, kind):
    bottleneck = build(model, SHAPE, {**options, **SMALL}).bottleneck
    if issubclass(kind, VectorQuantizer):
        bottleneck = bottleneck.bottom_quantizer if model == "vqvae2" else bottleneck.quantizer
    assert type(bottleneck) is kind


@pytest.mark.parametrize("model", ["ae", "vae", "vqvae", "vqvae2", "dvae"])
@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_left_out_has_the_declared_default(model, network):
    if not NETWORKS[network].has_grid and Bottleneck.systems[model].needs_grid:
        with pytest.raises(ValueError, match=f"network is '{network}', which has no grid of features"):
            build(model, SHAPE, {"network": network})
        return
    defaults = {name: option.default for name, option in declared_options(model, network).items()}
    torch.manual_seed(0)
    short = build(model, SHAPE, {"network": network})
    torch.manual_seed(0)
    full = build(model, SHAPE, {**defaults, "network": network})
    assert short.schedules == full.schedules
    for name, tensor in full.state_dict().items():
        assert torch.equal(tensor, short.state_dict()[name])


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model, options, message", [
    ("vqvae", {"comitment": 9}, r"'comitment' is not an option of vqvae; the nearest is 'commitment'"),
    ("ae", {"epochs": 3}, r"'epochs' is not an option of ae"),
    ("ae", {"norm": "Batch"}, r"norm is 'Batch': expected none, group or batch; the nearest is 'batch'"),
    ("vqvae", {"code_metric": "cosin"}, r"code_metric is 'cosin': .*; the nearest is 'cosine'"),
    ("vqvae", {"codebook_update": "EMA"}, r"codebook_update is 'EMA': expected gradient or ema; the nearest is 'ema'"),
    ("vqvae2", {"straight_through": "reverse"}, r"the nearest is 'reversed'"),
    ("vqvae", {"codebook_init": "kmean"}, r"the nearest is 'kmeans'"),
    ("dvae", {"codebook_init": "kmeans"}, r"codebook_init is 'kmeans': expected normal"),
    ("ae", {"network": "convolutions"}, r"network is 'convolutions': .*; the nearest is 'convolution'"),
    ("ae", {"likelihood": "bernouli"}, r"the nearest is 'bernoulli'"),
    ("ae", {"weight_init": None}, r"weight_init is None: expected uniform or truncated_normal"),
    ("dvae", {"weight_init": "uniform"}, r"'weight_init' is not an option of dvae"),
    ("ae", {"corruption": "gausian:0.1"}, r"corruption is 'gausian:0.1': expected gaussian:SIGMA"),
    ("ae", {"corruption": "masking:1.5"}, r"corruption is 'masking:1.5'"),
    ("ae", {"latent_dim": 0}, r"latent_dim is 0: expected an integer ≥ 1"),
    ("ae", {"latent_dim": 3.0}, r"latent_dim is 3.0: expected an integer"),
    ("ae", {"latent_dim": True}, r"latent_dim is True: expected an integer"),
    ("ae", {"channels": 32}, r"channels is 32: expected a list of integers"),
    ("ae", {"channels": (4, "8")}, r"channels is .*: expected an integer"),
    ("ae", {"channels": ()}, r"channels is \(\): expected a list"),
    ("ae", {"sparsity": -0.1}, r"sparsity is -0.1: expected a number ≥ 0"),
    ("vae", {"beta": "linaer:0:1:10"}, r"beta is 'linaer:0:1:10': expected a number, or SHAPE:START:END:STEPS"),
    ("vae", {"beta": "linear:-1:1:10"}, r"beta is .*: expected a number ≥ 0"),
    ("vae", {"beta": float("nan")}, r"beta is nan"),
    ("vae", {"beta": None}, r"beta is None"),
    ("vae", {"free_bits": "0.5"}, r"free_bits is '0.5': expected a number ≥ 0"),
    ("dvae", {"temperature": 0.0}, r"temperature is 0.0: expected a number > 0"),
    ("dvae", {"hard": 1}, r"hard is 1: expected True or False"),
    ("vqvae", {"codebook_update": "ema", "ema_decay": 1.0}, r"ema_decay is 1.0: expected a number > 0 and < 1"),
    ("vqvae", {"ema_decay": 0.5}, r"ema_decay is 0.5, which counts only with codebook_update 'ema'"),
    ("vqvae", {"entropy_temperature": 0.5}, r"counts only with entropy_weight other than 0"),
    ("ae", {"beta": 1.0}, r"'beta' is an option of vae; ae with network 'convolution' has none"),
    ("ae", {"hidden": 8}, r"'hidden' is an option of network 'residual'; ae with network 'convolution' has none"),
    ("ae", {"network": "mlp", "norm": "batch"}, r"'norm' is an option of network 'convolution' and"),
    ("vae", {"free_bits": 0.1, "capacity": 3.0},
     r"capacity and free_bits cannot be combined: leave one of them at its default"),
    ("vqvae", {"straight_through": "reversed", "restart_after": 3},
     r"restart_after and straight_through cannot be combined"),
    ("vea", {}, r"unknown model 'vea'; the nearest is 'vae'"),
    ("gan", {}, r"unknown model 'gan'; there are ae, dvae, judge, prior, vae, vqvae, vqvae2"),
])
def test_build_names_what_it_cannot_use(model, options, message):
    with pytest.raises(ValueError, match=message):
        build(model, SHAPE, options)


def test_numpy_numbers_and_lists_of_a_json_file_are_numbers_and_widths_too():
    model = build("vae", SHAPE, {"latent_dim": np.int64(5), "beta": np.float64(0.25), "channels": [4, 6]})
    assert model.weights["kl"] == 0.25 and model.bottleneck.mu.out_features == 5


def test_the_options_of_a_run_are_picked_out():
    run = {"model": "ae", "epochs": 3, "lr": 1e-3, "latent_dim": 5, "codes": 16, "channels": [4], "hidden": 8}
    assert model_options("ae", run) == {"latent_dim": 5, "channels": [4]}
    assert model_options("ae", {**run, "network": "residual"}) == {"network": "residual", "latent_dim": 5, "hidden": 8}
    for wrong in (("ea", run), ("ae", {**run, "network": "residal"})):
        with pytest.raises(ValueError, match="the nearest is"):
            model_options(*wrong)


@pytest.mark.parametrize("options, message", [
    ({"optimizer": "adm"}, r"optimizer is 'adm': expected adam or sgd; the nearest is 'adam'"),
    ({"optimizer": "Adam"}, r"the nearest is 'adam'"),
    ({"lr": 0}, r"lr is 0: expected a number > 0"),
    ({"lr": "cosin:1:0.1:5"}, r"lr is 'cosin:1:0.1:5'"),
    ({"momentum": "0.9"}, r"momentum is '0.9'"),
    ({"optimizer": "sgd", "weight_decay": 0.1}, r"weight_decay is 0.1, which counts only with optimizer 'adam'"),
    ({"optimizer": "adam", "momentum": 0.5}, r"momentum is 0.5, which counts only with optimizer 'sgd'"),
])
def test_make_optimizer_names_what_it_cannot_use(options, message):
    with pytest.raises(ValueError, match=message):
        make_optimizer([nn.Parameter(torch.zeros(1))], options)


@pytest.mark.parametrize("text", [
    "linear", "linear:0:1", "linear:0:1:0", "linear:0:1:2.5", "linear:0:inf:3", "linear:0:1:1e400", "step:0:1:3",
    "exponential:0:1:3", "cyclical:0:1:1", "", None, True, float("inf"),
])
def test_what_is_no_schedule_raises_a_sentence(text):
    with pytest.raises(ValueError, match=r"a schedule is .*: expected"):
        scheduled(text, 0)


def test_declarations_check_their_own_defaults():
    every = {name: option for model in ("ae", "vae", "vqvae", "vqvae2", "dvae") for network in NETWORKS
             for name, option in declared_options(model, network).items()}
    assert len(every) > 25 and every["likelihood"].default in LIKELIHOODS
    for option in every.values():
        option.check(option.default)
    with pytest.raises(ValueError, match="≥ 2"):
        whole(3, least=2).check(1)


def test_evaluating_gives_each_part_its_own_mode_back():
    model = build("ae", SHAPE, {"norm": "batch", **SMALL})
    model.encoder[1].eval()
    before = {name: part.training for name, part in model.named_modules()}
    model.encode(torch.rand(2, 3, 8, 8))
    assert {name: part.training for name, part in model.named_modules()} == before
    assert not model.encoder[1].training and model.encoder[0].training


# --- gradcheck --------------------------------------------------------------------------------------------------------


class Halved(Module):
    """y = x / 2, where scratch's derivative is right."""

    factor = 0.5

    def forward(self, x):
        return x / 2

    def backward(self, dy):
        return self.factor * dy


def halved(case, rng):
    return of_forward(Halved(), {"x": rng.standard_normal(case.shape)}, "y")


def test_gradcheck_finds_a_twin_by_its_name(monkeypatch):
    case = Case("HalvedTwinOfThisTest", {}, (2, 3, 4, 5), halved)
    with pytest.raises(ValueError, match="no PyTorch reference of HalvedTwinOfThisTest"):
        run_case(case, columns=[AUTOGRAD])

    class HalvedTwinOfThisTest(nn.Module):
        def forward(self, x):
            return 0.5 * x

    assert twin("HalvedTwinOfThisTest") is HalvedTwinOfThisTest and twin("Tanh") is nn.Tanh
    (row,) = run_case(case, columns=[AUTOGRAD])
    assert row.ok and row.differences["autograd"] == 0
    monkeypatch.setattr(Halved, "factor", 0.5 + 1e-9)
    (row,) = run_case(case, columns=[AUTOGRAD])
    assert not row.ok


def test_gradcheck_refuses_a_reference_with_other_outputs(monkeypatch):
    """A term that the reference lacks would not be compared."""
    from torch_ref.gradcheck import REFERENCES

    case = Case("Halved", {}, (2, 3), halved)
    monkeypatch.setitem(REFERENCES, "Halved", lambda arguments, t, c: {"z": t["x"] / 2})
    with pytest.raises(ValueError, match="Halved has the outputs y, its reference z"):
        run_case(case, columns=[AUTOGRAD])


def test_every_bottleneck_is_checked_against_its_twin():
    from torch_ref.gradcheck import REFERENCES

    for kind in Bottleneck.systems.values():
        assert kind.__name__ not in REFERENCES and twin(kind.__name__) is kind
    assert models.build is build


# --- the search -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [VectorQuantizer, CuredVectorQuantizer])
def test_the_search_is_right_far_from_the_origin(kind):
    """In float32, at an offset of 1000: ‖z‖² − 2 z·e + ‖e‖² rounds the differences away."""
    rng = np.random.default_rng(0)
    codes, z = (1000 + rng.standard_normal((count, 8)).astype(np.float32) for count in (64, 500))
    exact = ((z[:, None].astype(float) - codes) ** 2).sum(-1)
    quantizer = kind(64, 8, "normal", torch.float32)
    quantizer.codebook.data = torch.from_numpy(codes)
    found = quantizer.nearest(torch.from_numpy(z.T[None, :, :, None].copy())).numpy().ravel()
    nearest, second = np.sort(exact, axis=1)[:, :2].T
    clear = second - nearest > 1e-3
    np.testing.assert_array_equal(found[clear], exact.argmin(1)[clear])
    assert clear.mean() > 0.99
