"""Before training on a GPU, a run compares the fused forms with the plain ones, and does not use forms that differ."""

import re

import numpy as np
import pytest

from scratch.accelerate.gpu import check
from scratch.accelerate.gpu.check import choose_form
from scratch.accelerate.gpu.forms import form_on_gpu
from scratch.accelerate.gpu.fused import fused
from scratch.accelerate.gpu.kernels import KernelWindow
from scratch.bottlenecks import GaussianKL, GumbelSoftmaxBottleneck
from scratch.layers import BatchNorm2d, ReLU
from scratch.models.autoencoder import Autoencoder
from scratch.optim import SGD, Adam, make_optimizer
from scratch.training.make import make_trainer
from tests.gpu_emulated.stand_in import limited
from tests.support.cures import CURES
from tests.support.models import build, run_options
from tests.support.rates import RATES
from tests.support.tiny import NETWORKS, OPTIONS
from tests.support.variants import VARIANTS

SHAPE = (16, 16, 3)
MODELS = [
    *((model, {}) for model in ("ae", "vae", "vqvae", "vqvae2", "dvae")), *(("ae", net) for net in NETWORKS.values()),
    *(("vae", rate) for rate in RATES.values()), *(("vqvae", cure) for cure in CURES.values()), *VARIANTS.values(),
    ("vae", {"likelihood": "gaussian"}), ("vae", {"beta": "linear:0:1:100"}),
]


def new_pair(model, dtype=np.float32, lr=1e-3, optimizer="adam", **changes):
    """A plain model on the stand-in, and its optimiser."""
    options = {**OPTIONS, "codebook_init": "normal", **changes}
    network = build(model, SHAPE, options, dtype=dtype, rng=np.random.default_rng(0)).to("gpu")
    settings = dict(optimizer=optimizer, lr=lr, momentum=0.9, weight_decay=0.01)
    return network, make_optimizer(network.named_parameters(), settings)


def kinds(model, optimizer):
    return {type(part).__name__ for part in model.modules()} | {type(optimizer).__name__}


def is_plain(model, optimizer):
    windows = {type(part.window) for part in model.modules() if hasattr(part, "window")}
    return KernelWindow not in windows and not any(name.startswith("Fused") for name in kinds(model, optimizer))


def replace(monkeypatch, plain, name, formula):
    """Replace one formula of a class's form by another function, compiled in the same way."""
    monkeypatch.setattr(form_on_gpu(plain), name, staticmethod(fused(formula)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("model, changes", MODELS)
def test_forms_that_agree_are_taken_and_nothing_else_is_changed(cupy, model, changes, dtype):
    network, optimizer = new_pair(model, dtype, **changes)
    before = network.state_dict() | optimizer.state_dict()
    before = {name: value.copy() for name, value in before.items()}
    assert choose_form(network, optimizer, SHAPE) is None
    assert {"FusedAdam", "FusedAutoencoder"} <= kinds(network, optimizer)
    for name, value in (network.state_dict() | optimizer.state_dict()).items():
        np.testing.assert_array_equal(value, before[name])
    assert optimizer.steps == 0 and all(part.grad is None for part in network.named_parameters().values())
    assert all(part.saved is None for part in network.modules())


def not_a_number(dy, y):
    return dy * (y > 0) * np.float32("nan")


def half_gone(dy, y):
    return dy * (y > 0) * 0.99


@pytest.mark.parametrize("plain, name, formula, model, changes, says", [
    (ReLU, "derivative", half_gone, "ae", {}, "gradient of .* that differs by .* where the largest number"),
    (ReLU, "derivative", not_a_number, "ae", {}, "gradient of .* that differs by nan"),
    (GaussianKL, "formula", lambda mu, logvar: mu * mu, "vae", {}, "has a term kl that differs"),
    (GaussianKL, "derivative", lambda mu, logvar, scale: (mu * scale, 0 * logvar), "vae", {"beta": "linear:0:1:9"},
     r"gradient of \S+ that"),
    (Autoencoder, "total", lambda a, b, c, d: a * c + b, "vae", {"beta": 2.0}, "has a loss"),
    (GumbelSoftmaxBottleneck, "gumbel", lambda u, a, b: u, "dvae", {}, "has a "),
    (BatchNorm2d, "move", lambda running, *others: None, "ae", {"norm": "batch"}, r"has a \S+running_mean that"),
])
def test_a_form_of_the_model_with_wrong_values_is_found(cupy, monkeypatch, plain, name, formula, model, changes, says):
    network, optimizer = new_pair(model, **changes)
    replace(monkeypatch, plain, name, formula)
    sentence = choose_form(network, optimizer, SHAPE)
    assert re.search(f"^The faster forms for a GPU are left out: a step with them .*{says}", sentence)
    assert is_plain(network, optimizer)


def test_a_form_that_fails_to_compile_is_left_out(cupy, monkeypatch):
    class CompileException(Exception):
        pass

    def fuse(formula):
        raise CompileException("identifier \"x\" is undefined\nand many lines more")

    network, optimizer = new_pair("ae")
    monkeypatch.setattr(cupy, "fuse", fuse)
    replace(monkeypatch, ReLU, "derivative", lambda dy, y: dy * (y > 0))
    assert choose_form(network, optimizer, SHAPE) == (
        'The faster forms for a GPU are left out: a step with them failed with CompileException: identifier "x" is '
        "undefined.")
    assert is_plain(network, optimizer)


def test_too_little_memory_for_the_copies_leaves_the_plain_form(cupy):
    network, optimizer = new_pair("ae")
    with limited(50_000):
        assert choose_form(network, optimizer, SHAPE) == (
            "The faster forms for a GPU are left out: there is too little memory to compare a step with them with a "
            "plain one.")
    assert is_plain(network, optimizer)


def test_a_window_s_kernel_with_wrong_values_is_found(cupy, monkeypatch):
    right = KernelWindow.im2col
    monkeypatch.setattr(KernelWindow, "im2col", lambda *arguments: 1.01 * right(*arguments))
    network, optimizer = new_pair("ae")
    assert re.search("differs by .* where the largest number", choose_form(network, optimizer, SHAPE))
    assert is_plain(network, optimizer)


def fails(*arguments):
    raise RuntimeError("no kernel image is available")


def scaled(theta, g, m, *others):
    m += 0.1 * g
    theta -= 0.5e-3 * g


@pytest.mark.parametrize("lr", [1e-3, 1e-7, "linear:0:1e-3:100"])
@pytest.mark.parametrize("optimizer, plain, formula, says", [
    ("adam", Adam, lambda *arguments: None, r"has an? (update of|moment) \S+ that differs"),
    ("adam", Adam, scaled, r"has an? (update of|moment) \S+ that differs"),
    ("adam", Adam, fails, "failed with RuntimeError: no kernel image is available"),
    ("sgd", SGD, lambda theta, g, v, momentum, lr: None, r"has an? (update of|moment) \S+ that differs"),
])
def test_a_form_of_the_optimiser_that_is_broken_is_found(cupy, monkeypatch, optimizer, plain, formula, says, lr):
    network, own = new_pair("ae", lr=lr, optimizer=optimizer)
    assert choose_form(*new_pair("ae", lr=lr, optimizer=optimizer), SHAPE) is None
    replace(monkeypatch, plain, "rule", formula)
    assert re.search(says, choose_form(network, own, SHAPE))
    assert is_plain(network, own)


def test_codes_that_rounding_chooses_are_no_fault_of_a_form(cupy, monkeypatch):
    """The second model finds other codes for the first batch, so the next batch decides."""
    right, calls = check.chose_differently, []
    agree = check.agree

    def disagree_at_first(*arguments):
        calls.append(arguments)
        return "has a loss that differs" if len(calls) == 1 else agree(*arguments)

    monkeypatch.setattr(check, "agree", disagree_at_first)
    monkeypatch.setattr(check, "chose_differently", lambda *models: len(calls) == 1 or right(*models))
    assert choose_form(*new_pair("vqvae"), SHAPE) is None
    assert len(calls) == 2


def test_codes_are_compared_grid_by_grid(cupy):
    (one, _), (other, _) = new_pair("vqvae2"), new_pair("vqvae2")
    x = cupy.asarray(np.random.default_rng(0).random((4, *SHAPE), np.float32))
    one.loss(x), other.loss(x)
    assert not check.chose_differently(one, other)
    other.bottleneck.indices[1][0, 0, 0] += 1
    assert check.chose_differently(one, other)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [False, True])
def test_train_says_why_it_goes_on_plainly_and_does(cupy, monkeypatch, broken):
    if broken:
        replace(monkeypatch, ReLU, "derivative", half_gone)
    trainer, _ = make_trainer(run_options("vae", device="gpu"), SHAPE)
    assert is_plain(trainer.model, trainer.optimizer) == broken
    assert "".join(trainer.notes).startswith("The faster forms for a GPU are left out") == broken
    trainer.step(np.random.default_rng(0).random((4, *SHAPE), np.float32), 1, 0)
