"""What scratch computes on a GPU against PyTorch on the same GPU."""

import numpy as np
import pytest

from scratch.arrays import each, to_device, to_host
from scratch.gradcheck.cases import CASES
from scratch.optim import make_optimizer
from scratch.training.trainer import Trainer
from tests.support.beside_torch import NETWORKS, RESIDUAL, TINY, torch_twin
from tests.support.closeness import assert_all_close
from tests.support.models import build
from tests.support.on_device import try_case
from tests.support.rates import RATES
from tests.support.tiny import MODELS, with_likelihoods
from tests.support.variants import VARIANTS
from torch_ref import training
from torch_ref.gradcheck import autograd

BOUNDS = {"float64": 1e-10, "float32": 1e-4}  # relative to each tensor's largest magnitude
SHAPE = (16, 16, 3)
ADAM = {"optimizer": "adam", "lr": 3e-4, "weight_decay": 0.0}
each_dtype = pytest.mark.parametrize("dtype", BOUNDS)
each_model = pytest.mark.parametrize("model", ["ae", "vae", "vqvae", "vqvae2", "dvae"])


@each_dtype
@pytest.mark.parametrize("case", CASES, ids=[f"{case.name} {case.detail}".strip() for case in CASES])
def test_every_operation_s_gradients_against_autograd(cupy, torch_side, case, dtype):
    _, trial = try_case(case, "gpu", np.dtype(dtype).type)
    with training.torch_device(torch_side):
        differences = autograd(case, trial, None)
    assert max(differences.values()) <= BOUNDS[dtype], differences


def twins(model, likelihood, dtype, torch_side, options=TINY):
    """Scratch's model on the GPU, and torch's with the same weights on its side."""
    options = {**options, "likelihood": likelihood}
    ours = build(model, SHAPE, options, dtype=np.dtype(dtype).type, rng=np.random.default_rng(0))
    return ours.to("gpu"), torch_twin(ours, model, SHAPE, options).to(training.torch_device(torch_side))


@each_dtype
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_s_terms_and_gradients_are_torch_s(cupy, torch_side, variant, dtype):
    model, changes = VARIANTS[variant]
    test_every_model_s_terms_and_gradients_are_torch_s(
        cupy, torch_side, model, TINY | changes, "squared_error", dtype)


@each_dtype
@pytest.mark.parametrize("options", [TINY, RESIDUAL | {"data_variance": 1.0}], ids=["convolution", "residual"])
@pytest.mark.parametrize("model, likelihood", with_likelihoods(*MODELS))
def test_every_model_s_terms_and_gradients_are_torch_s(cupy, torch_side, model, options, likelihood, dtype):
    check_model(model, options, likelihood, dtype, torch_side)


@each_dtype
@pytest.mark.parametrize("rate", RATES)
def test_the_terms_and_gradients_of_a_vae_with_another_price_of_its_code(cupy, torch_side, rate, dtype):
    check_model("vae", {**TINY, **RATES[rate]}, "squared_error", dtype, torch_side)


@each_dtype
@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_s_terms_and_gradients_are_torch_s(cupy, torch_side, network, dtype):
    check_model("vae", NETWORKS[network], "squared_error", dtype, torch_side)


def check_model(model, options, likelihood, dtype, torch_side):
    ours, theirs = twins(model, likelihood, dtype, torch_side, options)
    rng = np.random.default_rng(1)
    x, noise = rng.uniform(size=(8, *SHAPE)).astype(dtype), ours.draw_noise(8, rng)
    on_device = None if noise is None else each(lambda part: to_device(part, "gpu"), noise)
    loss, terms = ours.loss(to_device(x, "gpu"), on_device)
    ours.backward()

    to_tensor = training.Trainer(theirs, None, 0, torch_side).to_tensor
    loss_torch, terms_torch = theirs.loss(to_tensor(x), to_tensor(noise))
    loss_torch.backward()
    assert_all_close(
        {"loss": to_host(loss), **{name: to_host(term) for name, term in terms.items()}},
        {"loss": loss_torch.numpy(force=True), **{name: t.numpy(force=True) for name, t in terms_torch.items()}},
        BOUNDS[dtype])
    expected = {name: parameter.grad.numpy(force=True) for name, parameter in theirs.named_parameters()}
    assert_all_close(ours.grad_dict(), expected, BOUNDS[dtype])


@each_model
def test_fifty_steps_of_adam_in_float64_are_torch_s(cupy, torch_side, model):
    """Both have the same weights and the same noise. torch_ref draws it with NumPy; CuPy would draw other numbers."""
    ours, theirs = twins(model, "squared_error", "float64", torch_side)
    trainer = Trainer(ours, make_optimizer(ours.named_parameters(), ADAM), 0, "gpu")
    other = training.Trainer(theirs, training.make_optimizer(theirs.parameters(), ADAM), 0, torch_side)

    def noise_of_step(count, epoch, step):
        noise = other.draw_noise(count, np.random.default_rng(np.random.SeedSequence(0, spawn_key=(epoch, step))))
        return noise if noise is None else to_device(noise, "gpu")

    trainer.noise_of_step = noise_of_step
    x = np.random.default_rng(1).uniform(size=(3, 16, *SHAPE))
    losses, losses_torch = [], []
    for step in range(50):
        (terms, counts), (terms_torch, counts_torch) = (side.step(x[step % 3], 1, step) for side in (trainer, other))
        losses += trainer.read([terms["loss"]])
        losses_torch += other.read([terms_torch["loss"]])
        for level, used in counts.items():
            np.testing.assert_array_equal(trainer.read_array(used), other.read_array(counts_torch[level]))
    np.testing.assert_allclose(losses, losses_torch, rtol=1e-9)
    assert_all_close(trainer.state()[0], other.state()[0], 1e-6)
