"""Everything that scratch computes on a GPU, against the same with NumPy."""

import itertools

import numpy as np
import pytest

from scratch.accelerate import accelerate, accelerate_on_gpu
from scratch.arrays import each, to_device, to_host
from scratch.gradcheck.cases import CASES
from scratch.instruments.elbo import kl_and_distortion
from scratch.instruments.importance import importance_weighted_bound
from scratch.optim import make_optimizer
from scratch.training.held_out import held_out_metrics
from scratch.training.trainer import Trainer
from tests.gpu_emulated.test_device_contract import WORK, on_both
from tests.support.closeness import assert_all_close, assert_close
from tests.support.cures import CURES
from tests.support.models import build
from tests.support.on_device import run_case
from tests.support.rates import RATES
from tests.support.tiny import MODELS, NETWORKS, OPTIONS, RESIDUAL, images, with_likelihoods
from tests.support.variants import VARIANTS

BOUNDS = {"float64": 1e-10, "float32": 1e-4}  # relative to each tensor's largest magnitude
each_dtype = pytest.mark.parametrize("dtype", BOUNDS)
each_model = pytest.mark.parametrize("model", ["ae", "vae", "vqvae", "vqvae2", "dvae"])
each_network = pytest.mark.parametrize(  # with any likelihood; not all take a data variance
    "network", [{}, RESIDUAL | {"data_variance": 1.0}], ids=["convolution", "residual"])
each_form = pytest.mark.parametrize("form", ["plain", "accelerated", "fused"])  # "fused" means nothing to NumPy
DEVICES = ("gpu", "cpu")


@each_dtype
@pytest.mark.parametrize("case", CASES, ids=[f"{case.name} {case.detail}".strip() for case in CASES])
def test_every_operation(cupy, case, dtype):
    ours, expected = (run_case(case, device, np.dtype(dtype).type) for device in DEVICES)
    assert_all_close(ours, expected, BOUNDS[dtype])


def new_model(model, device, dtype, likelihood="squared_error", form="plain", **changes):
    options = {**OPTIONS, "likelihood": likelihood, "codebook_init": "normal", **changes}
    built = build(model, (16, 16, 3), options, dtype=np.dtype(dtype).type, rng=np.random.default_rng(0))
    if form == "accelerated":
        accelerate(built, least_channels=1)
    if form == "fused":
        accelerate_on_gpu(built)
    return built.to(device)


def noise_for(model, count, device, seed=1):
    noise = model.draw_noise(count, np.random.default_rng(seed))
    return None if noise is None else each(lambda part: to_device(part, device), noise)


def compare_devices(model, dtype, likelihood="squared_error", form="plain", **changes):
    """Output, terms, gradients and chosen codes of a model on both devices."""
    answers, indices = [], []
    for device in DEVICES:
        built = new_model(model, device, dtype, likelihood, form, **changes)
        x = to_device(images(8).astype(dtype), device)
        noise = noise_for(built, len(x), device)
        output, _ = built.forward(x, noise)
        loss, terms = built.loss(x, noise)
        built.backward()
        answers.append({"output": output, "loss": loss, **terms})
        answers[-1] = {name: to_host(value) for name, value in answers[-1].items()} | built.grad_dict()
        chosen = built.bottleneck.indices
        indices.append([] if chosen is None else [to_host(k) for k in built.bottleneck.by_level(chosen).values()])
    assert_all_close(*answers, BOUNDS[dtype])
    for ours, expected in zip(*indices, strict=True):
        np.testing.assert_array_equal(ours, expected)


@each_form
@each_dtype
@each_network
@pytest.mark.parametrize("model, likelihood", with_likelihoods(*MODELS))
def test_every_model_s_output_terms_and_gradients(cupy, model, network, likelihood, dtype, form):
    compare_devices(model, dtype, likelihood, form, **network)


@each_form
@each_dtype
@pytest.mark.parametrize("model, network", [
    (model, network) for model, network in itertools.product(("ae", "vae", "vqvae"), NETWORKS)
    if (model, network) != ("vqvae", "mlp")])
def test_every_network_s_output_terms_and_gradients(cupy, model, network, dtype, form):
    compare_devices(model, dtype, form=form, **NETWORKS[network])


@each_dtype
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_s_output_terms_and_gradients(cupy, variant, dtype):
    model, changes = VARIANTS[variant]
    compare_devices(model, dtype, **changes)


@pytest.mark.parametrize("work", WORK)
@each_model
def test_what_a_model_is_asked_for(cupy, model, work):
    expected, ours = on_both(model, WORK[work])
    assert_close(ours, expected, BOUNDS["float32"], work)


@pytest.mark.parametrize("model", ["vae", "dvae"])
def test_variations(cupy, model):
    expected, ours = on_both(model, lambda network, x: network.variations(x, 2, np.random.default_rng(0)))
    assert_close(ours, expected, BOUNDS["float32"])


@pytest.mark.parametrize("corruption", [None, "gaussian:0.3"])
@each_model
def test_held_out_metrics(cupy, model, corruption):
    """The noise is NumPy's on every device."""
    pixels = np.rint(255 * images(20)).astype(np.uint8)
    ours, expected = (
        held_out_metrics(
            Trainer(new_model(model, device, "float64", corruption=corruption), None, 0, device), pixels, 8, np.float64)
        for device in DEVICES
    )
    assert ours == pytest.approx(expected, rel=BOUNDS["float64"])


@each_dtype
@pytest.mark.parametrize("model, likelihood", with_likelihoods("vae", "vqvae", "vqvae2", "dvae"))
def test_rate_distortion_and_the_importance_weighted_bound(cupy, model, likelihood, dtype):
    answers = []
    for device in DEVICES:
        built = new_model(model, device, dtype, likelihood)
        x = to_device(images(8).astype(dtype), device)
        noises = [noise_for(built, len(x), device, seed) for seed in range(3)]
        kl, distortion = kl_and_distortion(built, x, noises[0])
        bound = importance_weighted_bound(built, x, noises)
        answers.append({"kl": to_host(kl), "distortion": to_host(distortion), "bound": to_host(bound)})
    assert_all_close(*answers, BOUNDS[dtype])


# --- fifty steps ------------------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "adam": dict(optimizer="adam", lr=1e-3, weight_decay=0.01),
    "sgd": dict(optimizer="sgd", lr=1e-4, momentum=0.9),
}


def trajectory(model, optimizer, device, network):
    """(losses of fifty steps, indices in use at each, state after the first step, state after the last)."""
    built = new_model(model, device, "float64", **network)
    trainer = Trainer(built, make_optimizer(built.named_parameters(), OPTIMIZERS[optimizer]), 0, device)
    trainer.noise_of_step = lambda count, epoch, step: noise_for(built, count, device, seed=step)
    x, losses, codes, states = images(48).astype(np.float64).reshape(3, 16, 16, 16, 3), [], [], []
    for step in range(50):
        terms, counts = trainer.step(x[step % 3], 1, step)
        losses += trainer.read([terms["loss"]])
        codes.append({level: trainer.read_array(used).tolist() for level, used in counts.items()})
        if step in (0, 49):
            weights, moments, _ = trainer.state()
            states.append({name: array.copy() for name, array in {**weights, **moments}.items()})
    return losses, codes, *states


@pytest.mark.parametrize("model, optimizer, network", [
    *itertools.product(("ae", "vae", "vqvae"), OPTIMIZERS, [{}]), ("vqvae", "adam", RESIDUAL),
    *(("vae", "adam", network) for network in NETWORKS.values()),
    *((VARIANTS[name][0], "adam", VARIANTS[name][1]) for name in ("sparse", "linear", "denoising vae"))])
def test_fifty_steps_in_float64(cupy, model, optimizer, network):
    """Weights whose gradient is near Adam's eps amplify rounding, so the bounds differ from those of one gradient."""
    ours, expected = (trajectory(model, optimizer, device, network) for device in DEVICES)
    np.testing.assert_allclose(ours[0], expected[0], rtol=1e-9)
    assert ours[1] == expected[1]
    assert_all_close(ours[2], expected[2], 1e-9)
    assert_all_close(ours[3], expected[3], 1e-6)
    assert expected[0][-1] < expected[0][0], "it learned something"


@pytest.mark.parametrize("rate", RATES)
def test_fifty_steps_of_a_vae_with_another_price_of_its_code(cupy, rate):
    ours, expected = (trajectory("vae", "adam", device, RATES[rate]) for device in DEVICES)
    np.testing.assert_allclose(ours[0], expected[0], rtol=1e-9)
    assert_all_close(ours[3], expected[3], 1e-6)


@pytest.mark.parametrize("cure", CURES)
def test_ten_steps_of_a_cured_codebook(cupy, monkeypatch, cure):
    """Both use the same k-means picks, which are NumPy's everywhere, and the same choices for restarted codes."""
    states, x = [], images(16).astype(np.float64)
    for device in DEVICES:
        network = new_model("vqvae", device, "float64", **CURES[cure])
        trainer = Trainer(network, make_optimizer(network.named_parameters(), OPTIMIZERS["adam"]), 0, device)
        if network.bottleneck.prepared_from:
            trainer.prepare([x[:8], x[8:]])
        if getattr(network.bottleneck.quantizer, "dead_codes", None):
            rng = np.random.default_rng(1)
            choices = [to_device(rng.random(16 * 4 * 4), device) for _ in range(10)]
            monkeypatch.setattr(network.bottleneck.quantizer, "draw_choices", lambda rng, given=choices: given.pop(0))
        for step in range(10):
            trainer.step(x, 1, step)
        states.append(trainer.state()[0])
    assert_all_close(*states, 1e-8)
