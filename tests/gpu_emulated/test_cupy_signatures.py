"""Each function of the array module that scratch calls exists in CuPy and accepts the arguments.

CuPy can be imported without a GPU, so this runs anywhere. tests/gpu checks what the functions compute.
"""

import numpy as np
import pytest

from scratch.accelerate import accelerate, accelerate_on_gpu, accelerate_optimizer
from scratch.arrays import each, to_device, to_host
from scratch.commands.devices import survey
from scratch.gradcheck.cases import CASES
from scratch.instruments.elbo import kl_and_distortion
from scratch.instruments.importance import importance_weighted_bound
from scratch.instruments.posteriors import posterior_kind
from scratch.models.priors import CodeFrequencies, FittedGaussian
from scratch.optim import make_optimizer
from scratch.training.held_out import held_out_metrics
from scratch.training.trainer import Trainer
from tests.gpu_emulated import stand_in
from tests.gpu_emulated.recorder import Call, problem, recording
from tests.gpu_emulated.stand_in_kernels import COMPILER
from tests.support.cures import CURES
from tests.support.models import build
from tests.support.on_device import run_case
from tests.support.rates import RATES
from tests.support.tiny import MODELS, NETWORKS, OPTIONS, RESIDUAL, images, with_likelihoods
from tests.support.variants import VARIANTS

OPTIMIZERS = (dict(optimizer="adam", lr=1e-3, weight_decay=0.01), dict(optimizer="sgd", lr=1e-3, momentum=0.9))
FORMS = {
    "plain": lambda model: model, "accelerated": lambda model: accelerate(model, least_channels=1),
    **({"on a gpu": accelerate_on_gpu} if COMPILER else {}),  # with kernels that a stand-in has to compile
}


@pytest.fixture(scope="module")
def real():
    """The real CuPy."""
    return pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)


def use(name, likelihood, optimizer, form, dtype, **changes):
    """Train a step, evaluate, save and load, and use every other method of a model."""
    options = {
        **OPTIONS, "likelihood": likelihood, "codebook_init": "normal", "hard": form == "plain", **changes}
    model = FORMS[form](build(name, (16, 16, 3), options, dtype=dtype, rng=np.random.default_rng(0))).to("gpu")
    optimizer = make_optimizer(model.named_parameters(), optimizer)
    if form == "on a gpu":
        accelerate_optimizer(optimizer)
    trainer = Trainer(model, optimizer, seed=0, device="gpu")
    x = images(6).astype(dtype)
    if model.bottleneck.prepared_from:
        trainer.prepare([x, x])
    for step in range(2):
        terms, counts = trainer.step(x, epoch=1, step=step)
    trainer.read(list(terms.values()))
    for used in counts.values():
        trainer.read_array(used)
    held_out_metrics(trainer, (255 * x).astype(np.uint8), 4, dtype)
    trainer.load(*trainer.state())
    model.grad_dict()
    x = to_device(x, "gpu")
    latents = each(to_host, model.encode(x))
    prior = CodeFrequencies(latents, OPTIONS["codes"]) if counts else FittedGaussian(latents)
    model.sample(3, prior, np.random.default_rng(0))
    model.reconstruct(x)
    model.interpolate(x[:2], x[2:4], 3)
    if model.bottleneck.random:
        model.variations(x, 2, np.random.default_rng(0))
    if model.random:
        model.loss(x)  # without noise given: the bottleneck and the corruption draw their own
    if posterior_kind(model):
        noise = model.bottleneck.draw_noise(len(x), np.random.default_rng(0))
        noise = noise if noise is None else to_device(noise, "gpu")
        kl_and_distortion(model, x, noise)
        importance_weighted_bound(model, x, [noise, noise])
    model.to("cpu")


@pytest.fixture(scope="module")
def calls():
    """Every way in which scratch calls its array module."""
    with recording() as calls:
        for name in MODELS:
            for form in FORMS:
                for _, likelihood in with_likelihoods(name):
                    for optimizer in OPTIMIZERS:
                        use(name, likelihood, optimizer, form, np.float32)
                use(name, "squared_error", OPTIMIZERS[0], form, np.float64)
                use(name, "squared_error", OPTIMIZERS[0], form, np.float32, **RESIDUAL)
        for form in FORMS.keys() - {"accelerated"}:
            for network in NETWORKS.values():
                use("vae", "squared_error", OPTIMIZERS[0], form, np.float32, **network)
            for cure in CURES.values():
                use("vqvae", "squared_error", OPTIMIZERS[0], form, np.float32, **cure)
            for rate in RATES.values():
                use("vae", "squared_error", OPTIMIZERS[0], form, np.float32, **rate)
            for name, changes in VARIANTS.values():
                use(name, "squared_error", OPTIMIZERS[0], form, np.float32, **changes)
        for case in CASES:
            for dtype in (np.float32, np.float64):
                run_case(case, "gpu", dtype)
        survey()
    return calls


def test_cupy_takes_every_call(calls, real):
    assert [found for call in sorted(calls) if (found := problem(call, real))] == []


def test_the_record_knows_what_scratch_asks_for(calls):
    """One of each kind: functions, nested ones, methods, ufuncs with `out`, operators, scatters, generators, dtypes."""
    recorded = {call.path for call in calls}
    assert recorded >= {
        "zeros", "stack", "lib.stride_tricks.as_strided", "ndarray.reshape", "ndarray.sum", "ndarray.get", "matmul",
        "add", "add.at", "random.default_rng", "random.Generator.standard_normal",
        "random.Generator.random", "int64", *(("fuse", "ElementwiseKernel") if COMPILER else ()),
        "cuda.runtime.getDeviceCount",
    }
    assert any(call.path == "subtract" and dict(call.keywords).get("out") == "f" for call in calls)
    assert {"f", "d"} <= {call.arguments[0] for call in calls if call.path == "exp"}


# --- the check itself -------------------------------------------------------------------------------------------------


def recorded(work):
    """What a function of (xp, a matrix on the device) calls."""
    with recording() as calls:
        import cupy

        x = cupy.ones((2, 3))
        calls.clear()
        work(cupy, x)
    return calls


@pytest.mark.parametrize("work, complaint", [
    (lambda xp, x: xp.broadcast_to(x, (4, 2, 3), subok=True), "unexpected keyword argument 'subok'"),
    (lambda xp, x: xp.arange(0, 3, 1, np.int64, device=None), "unexpected keyword argument 'device'"),
    (lambda xp, x: xp.einsum("ij->i", x, order="C"), "unexpected keyword argument 'order'"),
    (lambda xp, x: x.sum(axis=0, initial=1.0), "unexpected keyword argument 'initial'"),
    (lambda xp, x: x.max(0, None, False, 1.0), "too many positional arguments"),
    (lambda xp, x: xp.exp(x, order="C"), "unexpected keyword argument 'order'"),
    (lambda xp, x: xp.add(x, x, subok=False), "unexpected keyword argument 'subok'"),
    (lambda xp, x: xp.vecdot(x, x), "there is no vecdot"),
])
def test_what_cupy_lacks_is_noticed(monkeypatch, real, work, complaint):
    """NumPy accepts all of these, and so would a stand-in that is too lenient."""
    monkeypatch.setattr(stand_in.cupy, "vecdot", stand_in.Ufunc(np.vecdot), raising=False)
    monkeypatch.setattr(stand_in, "LACKING_ARGUMENTS", set())
    monkeypatch.setattr(stand_in.cupy, "einsum", stand_in.function("einsum", np.einsum))
    (found,) = [found for call in recorded(work) if (found := problem(call, real))]
    assert complaint in found


@pytest.mark.parametrize("call, complaint", [
    (Call("invert", ("d",)), "no loop"),
    (Call("add", ("d", "d"), (("out", "l"),)), "no loop"),
    (Call("add", ("f", "")), None),
    (Call("add", ("f", "d"), (("out", "f"),)), None),
    (Call("sqrt", ("l",)), None),
    (Call("ndarray.nothing", ("d",)), "there is no ndarray.nothing"),
])
def test_dtypes_are_held_against_a_ufunc_s_loops(real, call, complaint):
    found = problem(call, real)
    assert found is None if complaint is None else complaint in found
