"""The models on the stand-in for CuPy: the same figures as on NumPy, no hidden transfer, no wait within a step."""

import numpy as np
import pytest

from data_utils import to_float
from data_utils.core import Data
from scratch.accelerate import accelerate_optimizer
from scratch.accelerate.cpu import blockwise_optim
from scratch.arrays import each, generator, to_device, to_host
from scratch.instruments.elbo import kl_and_distortion
from scratch.instruments.importance import importance_weighted_bound
from scratch.instruments.vectors import latent_vectors
from scratch.models.priors import CodeFrequencies, FittedGaussian
from scratch.optim import make_optimizer
from scratch.runs.run import Run, describe_data, versions
from scratch.training import trainer as trainer_file
from scratch.training.held_out import held_out_generators
from scratch.training.loop import fit
from scratch.training.progress import Progress, Totals
from scratch.training.trainer import Trainer
from tests.gpu_emulated.stand_in import DeviceArray, counting
from tests.support.cures import CURES, MOVING
from tests.support.models import build, run_options
from tests.support.rates import RATES
from tests.support.tiny import MODELS, NETWORKS, OPTIONS, RESIDUAL, images, with_likelihoods
from tests.support.variants import VARIANTS

LEVELS = {"vqvae": [""], "vqvae2": ["top", "bottom"], "dvae": [""]}  # of codes; the others have none
OPTIMIZERS = {
    "adam": dict(optimizer="adam", lr=1e-3, weight_decay=0.01),
    "sgd": dict(optimizer="sgd", lr=1e-3, momentum=0.9),
}
each_model = pytest.mark.parametrize("name", MODELS)
each_model_and_likelihood = pytest.mark.parametrize("name, likelihood", with_likelihoods(*MODELS))
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def new_trainer(name, device, likelihood="squared_error", optimizer="adam", dtype=np.float32, **changes):
    options = {**OPTIONS, "likelihood": likelihood, "codebook_init": "normal", **changes}
    model = build(name, (16, 16, 3), options, dtype=dtype, rng=np.random.default_rng(0)).to(device)
    return Trainer(model, make_optimizer(model.named_parameters(), OPTIMIZERS[optimizer]), seed=0, device=device)


def assert_same(ours, expected, rtol=1e-6):
    """Dicts of numbers or arrays are equal up to the rounding of a product with differently aligned operands."""
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(ours[name], value, rtol=rtol, atol=rtol * scale, err_msg=name)


# --- a training step --------------------------------------------------------------------------------------------------


@each_optimizer
@each_model_and_likelihood
def test_a_step_waits_for_nothing_and_moves_nothing_but_the_batch(cupy, name, likelihood, optimizer):
    """The noise is drawn on the device, so it is not moved there."""
    trainer, x = new_trainer(name, "gpu", likelihood, optimizer), images(8)
    for step in range(2):
        with counting() as during:
            terms, codes = trainer.step(x, epoch=1, step=step)
        assert (during.transfers_to_device, during.bytes_to_device) == (1, x.nbytes)
        assert during.waits == during.transfers_to_host == 0
    assert all(isinstance(term, DeviceArray) and term.shape == () for term in terms.values())
    state = [part.value for part in trainer.model.named_state().values()]
    state += [array for moment in trainer.optimizer.state.values() for array in moment.values()]
    assert all(isinstance(array, DeviceArray) and array.dtype == np.float32 for array in state)
    assert list(codes) == LEVELS.get(name, [])


@each_optimizer
@each_model_and_likelihood
def test_three_steps_are_those_of_numpy(cupy, monkeypatch, name, likelihood, optimizer):
    """CuPy's generator draws other numbers than NumPy's, so both receive the same noise."""
    on_host, on_device = [], []
    for device, results in (("cpu", on_host), ("gpu", on_device)):
        trainer = new_trainer(name, device, likelihood, optimizer, dtype=np.float64)
        x, rng = images(8).astype(np.float64), np.random.default_rng(1)
        if trainer.model.bottleneck.random:
            noise = [to_device(trainer.draw_noise(len(x), rng), device) for _ in range(3)]
            monkeypatch.setattr(trainer.model.bottleneck, "draw_noise", lambda count, rng, noise=noise: noise.pop(0))
        for step in range(3):
            terms, codes = trainer.step(x, epoch=1, step=step)
            results.append(dict(zip(terms, trainer.read(list(terms.values())), strict=True)))
            results.append({level: trainer.read_array(counts) for level, counts in codes.items()})
        results += trainer.state()[:2]
    for ours, expected in zip(on_device, on_host, strict=True):
        assert_same(ours, expected, rtol=1e-10)


@each_model_and_likelihood
def test_a_step_with_residual_networks_is_that_of_numpy_and_moves_nothing_but_the_batch(cupy, name, likelihood):
    check_step(name, likelihood, RESIDUAL | {"data_variance": 1.0})


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", ["ae", "vae", "vqvae"])
def test_a_step_with_another_network_is_that_of_numpy_and_moves_nothing_but_the_batch(cupy, name, network):
    if network == "mlp" and name == "vqvae":
        pytest.skip("an mlp has no grid for codes")
    check_step(name, "squared_error", NETWORKS[network])


def check_step(name, likelihood, network):
    results, x = [], images(8).astype(np.float64)
    for device in ("cpu", "gpu"):
        trainer = new_trainer(name, device, likelihood, dtype=np.float64, **network)
        noise = trainer.draw_noise(len(x), np.random.default_rng(1))
        noise = None if noise is None else to_device(noise, device)
        trainer.noise_of_step = lambda *stream, noise=noise: noise
        with counting() as during:
            terms, _ = trainer.step(x, epoch=1, step=0)
        results.append(dict(zip(terms, trainer.read(list(terms.values())), strict=True)) | trainer.state()[0])
    assert during.waits == during.transfers_to_host == 0 and during.bytes_to_device == x.nbytes
    assert_same(results[1], results[0], rtol=1e-10)


@pytest.mark.parametrize("rate", RATES)
def test_a_vae_with_another_price_of_its_code_is_that_of_numpy_and_waits_for_nothing(cupy, rate):
    results, x = [], images(8).astype(np.float64)
    for device in ("cpu", "gpu"):
        trainer = new_trainer("vae", device, dtype=np.float64, **RATES[rate])
        noise = to_device(trainer.draw_noise(len(x), np.random.default_rng(1)), device)
        trainer.noise_of_step = lambda *stream, noise=noise: noise
        for step in range(3):
            with counting() as during:
                terms, _ = trainer.step(x, epoch=1, step=step)
        results.append(dict(zip(terms, trainer.read(list(terms.values())), strict=True)) | trainer.state()[0])
    assert during.waits == during.transfers_to_host == 0 and during.bytes_to_device == x.nbytes
    assert_same(results[1], results[0], rtol=1e-10)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_of_a_variant_is_that_of_numpy_and_moves_nothing_but_the_batch(cupy, variant):
    """Both receive the same noise. A step that draws its noise does not wait for the device, and stays in float32."""
    (name, changes), results, x = VARIANTS[variant], [], images(8)
    for device in ("cpu", "gpu"):
        trainer = new_trainer(name, device, dtype=np.float64, **changes)
        noise = trainer.draw_noise(len(x), np.random.default_rng(1))
        noise = None if noise is None else each(lambda part, device=device: to_device(part, device), noise)
        trainer.noise_of_step = lambda *stream, noise=noise: noise
        terms, _ = trainer.step(x.astype(np.float64), epoch=1, step=0)
        results.append(dict(zip(terms, trainer.read(list(terms.values())), strict=True)) | trainer.state()[0])
    assert_same(results[1], results[0], rtol=1e-10)

    trainer = new_trainer(name, "gpu", **changes)
    with counting() as during:
        terms, _ = trainer.step(x, epoch=1, step=0)
    assert during.waits == during.transfers_to_host == 0
    assert (during.transfers_to_device, during.bytes_to_device) == (1, x.nbytes)
    assert all(isinstance(term, DeviceArray) and term.shape == () for term in terms.values())
    assert all(part.value.dtype == np.float32 for part in trainer.model.named_state().values())


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if "denoising" in variant])
def test_evaluation_of_a_denoising_model_is_that_of_numpy_and_moves_the_batch_and_the_noise(cupy, variant):
    (name, changes), results, x = VARIANTS[variant], [], images(4)
    for device in ("cpu", "gpu"):
        trainer = new_trainer(name, device, **changes)
        noise = trainer.draw_noise(len(x), *held_out_generators())
        with counting() as during:
            terms, _, [errors] = trainer.evaluate(x, noise)
        values = dict(zip(terms, trainer.read(list(terms.values())), strict=True))
        results.append({**values, "errors": trainer.read_array(errors)})
    assert_same(results[1], results[0], rtol=1e-5)
    assert during.waits == 0 and during.transfers_to_device == 1 + len(noise)


@pytest.mark.parametrize("name", ["vqvae", "vqvae2"])
@pytest.mark.parametrize("cure", MOVING)
def test_a_generator_is_made_only_where_dead_codes_choose(cupy, monkeypatch, name, cure):
    made = []
    monkeypatch.setattr(trainer_file, "generator", lambda *stream: made.append(stream) or generator(*stream))
    new_trainer(name, "gpu", **CURES[cure] | {"codebook_init": "normal"}).step(images(8), epoch=3, step=4)
    assert made == ([(cupy, 0, 3, 4, 0)] if "restart_after" in CURES[cure] else [])


@pytest.mark.parametrize("corruption", [None, "masking:0.3"])
@each_model
def test_a_generator_is_made_only_where_noise_is_drawn(cupy, monkeypatch, name, corruption):
    made = []
    monkeypatch.setattr(trainer_file, "generator", lambda *stream: made.append(stream) or generator(*stream))
    new_trainer(name, "gpu", corruption=corruption).step(images(8), epoch=3, step=4)
    assert made == ([(cupy, 0, 3, 4)] if name in ("vae", "dvae") or corruption else [])


@each_optimizer
def test_a_parameter_is_updated_in_one_piece(cupy, monkeypatch, optimizer):
    """With NumPy the blocks fit the cache. On a GPU they are larger, because each block starts kernels of its own."""
    monkeypatch.setattr(blockwise_optim, "BLOCK", 100)
    for device, whole in (("cpu", False), ("gpu", True)):
        trainer, sizes = new_trainer("ae", device, optimizer=optimizer), []
        own = accelerate_optimizer(trainer.optimizer)
        update = own.update
        own.update = lambda name, value, *rest, update=update, sizes=sizes: (
            sizes.append(value.size) or update(name, value, *rest))
        trainer.step(images(8), epoch=1, step=0)
        parameters = [parameter.value.size for parameter in own.parameters.values()]
        assert sum(sizes) == sum(parameters) and max(parameters) > 100
        assert sizes == parameters if whole else max(sizes) == 100


def test_the_metrics_of_many_steps_are_read_in_one_transfer(cupy):
    trainer, totals = new_trainer("vae", "gpu"), Totals()
    for step in range(5):
        totals.add("", 8, *trainer.step(images(8), 1, step))
    with counting() as during:
        totals.read(trainer)
    assert during.waits == during.transfers_to_host == 1 and during.transfers_to_device == 0
    assert totals.examples == 40 and totals.means()["loss"] > 0


# --- everything else that a model does --------------------------------------------------------------------------------


def on_both(name, work):
    """work(model, images) on NumPy and on the stand-in, both as NumPy arrays; several grids of codes as one row."""
    results = []
    for device in ("cpu", "gpu"):
        result = each(to_host, work(new_trainer(name, device).model, to_device(images(4), device)))
        results.append(np.concatenate([grid.ravel() for grid in result]) if isinstance(result, list) else result)
    return results


def prior_of(model, x):
    latents = each(to_host, model.encode(x))
    return CodeFrequencies(latents, OPTIONS["codes"]) if model.bottleneck.codes else FittedGaussian(latents)


WORK = {
    "encode": lambda model, x: model.encode(x),
    "latent vectors": latent_vectors,
    "decode": lambda model, x: model.decode(model.encode(x)),
    "reconstruct": lambda model, x: model.reconstruct(x),
    "sample": lambda model, x: model.sample(3, prior_of(model, x), np.random.default_rng(0)),
    "interpolate": lambda model, x: model.interpolate(x, x[::-1], 4),
}


@pytest.mark.parametrize("work", WORK)
@each_model
def test_a_model_does_on_the_device_what_it_does_on_numpy(cupy, name, work):
    expected, ours = on_both(name, WORK[work])
    assert ours.dtype == expected.dtype
    assert_same({work: ours}, {work: expected}, rtol=1e-5)


@pytest.mark.parametrize("name", ["vae", "dvae"])
def test_variations_are_those_of_numpy(cupy, name):
    expected, ours = on_both(name, lambda model, x: model.variations(x, 2, np.random.default_rng(0)))
    assert_same({"variations": ours}, {"variations": expected}, rtol=1e-5)


@each_model
def test_evaluation_is_that_of_numpy_and_moves_the_batch_and_the_noise(cupy, name):
    results, x = [], images(4)
    for device in ("cpu", "gpu"):
        trainer = new_trainer(name, device)
        noise = trainer.draw_noise(len(x), np.random.default_rng(0))
        with counting() as during:
            terms, codes, [errors] = trainer.evaluate(x, noise)
        values = dict(zip(terms, trainer.read(list(terms.values())), strict=True))
        results.append({**values, "errors": trainer.read_array(errors)})
    assert_same(results[1], results[0], rtol=1e-5)
    assert during.waits == 0 and during.transfers_to_device == (1 if noise is None else 2)


@pytest.mark.parametrize("name, likelihood", with_likelihoods("vae", "vqvae", "vqvae2", "dvae"))
def test_rate_distortion_and_the_importance_weighted_bound_are_those_of_numpy(cupy, name, likelihood):
    """Only the batch and the noise are moved, and nothing waits for the device."""
    results, x = [], images(4)
    for device in ("cpu", "gpu"):
        model = new_trainer(name, device, likelihood).model
        noise = model.bottleneck.draw_noise(len(x), np.random.default_rng(0))
        noise, on_device = noise if noise is None else to_device(noise, device), to_device(x, device)
        with counting() as during:
            kl, distortion = kl_and_distortion(model, on_device, noise)
            bound = importance_weighted_bound(model, on_device, [noise, noise])
        assert kl.dtype == distortion.dtype == np.float32 and bound.dtype == np.float64
        results.append({"kl": to_host(kl), "distortion": to_host(distortion), "bound": to_host(bound)})
    assert_same(results[1], results[0], rtol=1e-5)
    assert during.waits == during.transfers_to_device == during.transfers_to_host == 0


# --- state ------------------------------------------------------------------------------------------------------------


@each_model
def test_state_dicts_go_to_the_host_and_come_back_in_place(cupy, name):
    source, target = new_trainer(name, "gpu"), new_trainer(name, "gpu")
    source.step(images(8), 1, 0)
    held = {key: part.value for key, part in target.model.named_state().items()}
    state = source.state()
    assert all(type(array) is np.ndarray for part in state[:2] for array in part.values())
    assert all(type(array) is np.ndarray for array in source.model.grad_dict().values())
    target.load(*state)
    for key, part in target.model.named_state().items():
        assert part.value is held[key]
    for ours, expected in zip(target.state()[:2], state[:2], strict=True):
        for key, array in expected.items():
            np.testing.assert_array_equal(ours[key], array)
    back = target.model.to("cpu")
    assert all(type(part.value) is np.ndarray for part in back.named_state().values())


def data():
    pixels = (images(24) * 255).astype(np.uint8)
    return Data("drawn", pixels[:16], pixels[16:], {}, {})


def new_run(folder):
    options = run_options("ae", epochs=2, batch_size=8, device="gpu")
    config = {"program": "scratch", "options": options, "data": describe_data(data()), "parameters": 0}
    return Run.create(folder, {**config, "versions": versions()})


@each_model
def test_training_checkpoints_and_resumes_on_the_device(cupy, tmp_path, name):
    """Two epochs in one go, and one epoch, a checkpoint and another one in a new trainer, are the same."""
    whole = new_trainer(name, "gpu")
    fit(whole, data(), new_run(tmp_path / "whole"), Progress())

    first, run = new_trainer(name, "gpu"), new_run(tmp_path / "parts")
    run.options["epochs"] = 1
    fit(first, data(), run, Progress())
    run.close()
    resumed, (run, tensors, position) = new_trainer(name, "gpu"), Run.resume(tmp_path / "parts")
    progress = run.restore(resumed, tensors, position)
    run.options["epochs"] = 2
    fit(resumed, data(), run, progress)
    for key, array in whole.state()[0].items():
        np.testing.assert_array_equal(resumed.state()[0][key], array)
    assert [m["loss"] for m in run.metrics()] == [m["loss"] for m in Run.open(tmp_path / "whole").metrics()]


@each_model
def test_a_checkpoint_of_the_device_is_read_on_the_host(cupy, tmp_path, name):
    trainer, run = new_trainer(name, "gpu"), new_run(tmp_path / "run")
    trainer.step(to_float(data().train[:8], np.float32), 1, 0)
    run.save(trainer, Progress())
    model = run.load_weights(new_trainer(name, "cpu").model)
    x = images(4)
    expected = trainer.model.reconstruct(to_device(x, "gpu")).get()
    np.testing.assert_allclose(model.reconstruct(x), expected, rtol=1e-5, atol=1e-6)
