"""Free bits, the capacity target and a cyclical β, side by side with torch_ref's."""

import numpy as np
import pytest
import torch

from data_utils import load
from scratch.bottlenecks import FreeBits
from scratch.optim import make_optimizer as make_scratch_optimizer
from scratch.schedules import Schedule
from scratch.training.trainer import Trainer as ScratchTrainer
from tests.support.beside_torch import (
    TINY,
    assert_all_close,
    assert_close,
    compared,
    to_numpy,
    to_torch,
    torch_gradients,
    torch_twin,
)
from tests.support.models import build
from tests.support.rates import RATES
from torch_ref import losses as torch_losses
from torch_ref.schedules import scheduled
from torch_ref.training import Trainer, make_optimizer

SHAPE = (16, 16, 3)
ADAM = {"optimizer": "adam", "lr": 1e-3, "momentum": 0.9, "weight_decay": 0.0}
each_rate = pytest.mark.parametrize("rate", RATES)


def trainers(rate, dtype=np.float64):
    """Scratch's trainer and torch's, of the same VAE with the same weights."""
    options = {**TINY, "likelihood": "squared_error", **ADAM, **RATES[rate]}
    ours = build("vae", SHAPE, options, dtype=dtype, rng=np.random.default_rng(0))
    theirs = torch_twin(ours, "vae", SHAPE, options)
    return (ScratchTrainer(ours, make_scratch_optimizer(ours.named_parameters(), options), 4),
            Trainer(theirs, make_optimizer(theirs.parameters(), options), 4))


def some_images(count=16, dtype=np.float64):
    return np.random.default_rng(1).uniform(size=(count, *SHAPE)).astype(dtype)


@pytest.mark.parametrize("dtype, bound", [(np.float64, 1e-12), (np.float32, 1e-4)])
@each_rate
def test_outputs_terms_and_gradients(rate, dtype, bound):
    ours, theirs = (side.model for side in trainers(rate, dtype))
    x, noise = some_images(6, dtype), ours.bottleneck.draw_noise(6, np.random.default_rng(9))
    for side in (ours, theirs):
        side.at_step(3)
    assert ours.weights == pytest.approx(theirs.weights, rel=1e-15)
    output, _ = ours.forward(x, noise)
    assert_close(output, to_numpy(theirs(to_torch(x), torch.tensor(noise))[0]), bound, "output")
    loss, terms = ours.loss(x, noise)
    ours.backward()
    loss_torch, terms_torch = theirs.loss(to_torch(x), torch.tensor(noise))
    loss_torch.backward()
    assert_close(loss, loss_torch.detach(), bound, "loss")
    assert_all_close(terms, {name: term.detach() for name, term in terms_torch.items()}, bound)
    assert_all_close(ours.grad_dict(), torch_gradients(theirs), bound)


@each_rate
def test_fifty_steps(rate):
    ours, theirs = trainers(rate)
    x = some_images(48).reshape(3, 16, *SHAPE)
    for step in range(50):
        (terms, _), (terms_torch, _) = (side.step(x[step % 3], 1, step) for side in (ours, theirs))
        assert list(terms) == list(terms_torch)
        np.testing.assert_allclose(ours.read(list(terms.values())), theirs.read(list(terms_torch.values())), rtol=1e-9)
        if step in (0, 49):
            assert_all_close(ours.state()[0], theirs.state()[0], 1e-6 if step else 1e-9)


@each_rate
def test_compare(rate):
    images = load("shapes", limit=80, image_size=16).train
    result = compared(
        "vae", {**TINY, "likelihood": "squared_error", **RATES[rate]}, images, steps=50, batch_size=16)
    assert result["ok"], result["checks"]


@each_rate
def test_each_side_continues_from_the_other_s_state(rate):
    ours, theirs = trainers(rate)
    x = some_images()
    for step in range(3):
        ours.step(x, 1, step)
    other, other_torch = trainers(rate)
    other_torch.load(*ours.state())
    other.load(*other_torch.state())
    for step in range(3, 6):
        terms, _ = ours.step(x, 1, step)
        other.step(x, 1, step)
        terms_torch, _ = other_torch.step(x, 1, step)
        np.testing.assert_allclose(ours.read(list(terms.values())), theirs.read(list(terms_torch.values())), rtol=1e-9)
    assert list(ours.state()[0]) == list(other_torch.state()[0])
    for name, value in ours.state()[0].items():
        np.testing.assert_array_equal(other.state()[0][name], value)


@each_rate
def test_evaluation(rate):
    """Every schedule is at its end on both sides."""
    ours, theirs = trainers(rate)
    x, noise = some_images(), ours.draw_noise(16, np.random.default_rng(0))
    (terms, _, [errors]), (terms_torch, _, [errors_torch]) = (side.evaluate(x, noise) for side in (ours, theirs))
    np.testing.assert_allclose(ours.read(list(terms.values())), theirs.read(list(terms_torch.values())), rtol=1e-9)
    assert_close(errors, errors_torch.numpy(), 1e-12, "errors")


@pytest.mark.parametrize("nats", [0.05, 0.5, 2.0])
def test_free_bits(nats):
    rng = np.random.default_rng(0)
    mu, logvar = rng.standard_normal((2, 6, 20))
    mu_torch, logvar_torch = to_torch(mu), to_torch(logvar)
    expected = torch_losses.free_bits_kl(mu_torch, logvar_torch, nats)
    (1.5 * expected).backward()
    free_bits = FreeBits(nats)
    assert_close(free_bits.forward(mu, logvar)[1], expected.detach(), 1e-12, "kl_free")
    dmu, dlogvar = free_bits.backward(0.0, 1.5)
    assert_close(dmu, mu_torch.grad, 1e-12, "∂kl_free/∂mu")
    assert_close(dlogvar, logvar_torch.grad, 1e-12, "∂kl_free/∂logvar")


@pytest.mark.parametrize("text", ["cyclical:0:1:8", "cyclical:0.5:2:7", "cyclical:1:0:2"])
def test_cycles(text):
    for step in [*range(30), np.inf]:
        assert Schedule(text)(step) == pytest.approx(scheduled(text, step), abs=1e-15)
