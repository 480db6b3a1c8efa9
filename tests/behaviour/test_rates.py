"""Free bits and the capacity target: what is optimised, what is only reported, and how they couple examples."""

import numpy as np
import pytest

from scratch.bottlenecks import CapacityTarget, FreeBits, GaussianKL
from scratch.optim import Adam
from scratch.training.trainer import Trainer
from tests.support.tiny import images, new_model


def drawn(count=7, size=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, size)), rng.standard_normal((count, size))


def test_free_bits_by_hand():
    """Two images; the KL of N(m, 1) is m²/2. The dimensions' means are 0.25, 1 and 0: with λ = ½ only one is above."""
    mu = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    kl, kl_free = (free_bits := FreeBits(0.5)).forward(mu, np.zeros_like(mu))
    assert (kl, kl_free) == (1.25, 0.5 + 1.0 + 0.5)
    dmu, dlogvar = free_bits.backward(0.0, 1.0)
    np.testing.assert_array_equal(dmu, [[0, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(dlogvar, np.zeros((2, 3)))


def test_free_bits_look_at_the_mean_over_the_batch():
    """A dimension is below λ in one image and above it in another. A maximum for each image would give 1.25."""
    mu = np.array([[1.0], [2.0]])
    assert FreeBits(1.0).forward(mu, np.zeros_like(mu))[1] == 1.25  # (½ + 2) / 2
    halves = [FreeBits(1.0).forward(part, np.zeros_like(part))[1] for part in (mu[:1], mu[1:])]
    assert halves == [1.0, 2.0]  # whose mean is another


@pytest.mark.parametrize("dkl, dfree", [(0.7, 0.0), (0.3, 0.4), (0.0, 0.7)])
def test_far_below_every_dimension_free_bits_are_the_plain_kl(dkl, dfree):
    mu, logvar = drawn()
    plain, free_bits = GaussianKL(), FreeBits(1e-9)
    kl, kl_free = free_bits.forward(mu, logvar)
    assert kl == pytest.approx(plain.forward(mu, logvar), rel=1e-14) and kl_free == kl
    for ours, expected in zip(free_bits.backward(dkl, dfree), plain.backward(0.7), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-13)


def test_far_above_every_dimension_free_bits_ask_for_nothing():
    free_bits = FreeBits(1e3)
    assert free_bits.forward(*drawn())[1] == 5e3
    assert not any(gradient.any() for gradient in free_bits.backward(0.0, 1.0))


@pytest.mark.parametrize("kl, gap, slope", [(2.0, 3.0, -1), (7.5, 2.5, 1), (5.0, 0.0, 0)])
def test_the_capacity_target(kl, gap, slope):
    target = CapacityTarget(5)
    assert target.forward(np.float64(kl)) == gap
    assert target.backward(0.25) == 0.25 * slope


def test_the_capacity_follows_the_step_in_training_and_is_at_its_end_in_evaluation():
    model = new_model("vae", capacity="linear:0:30:3", beta=2.0)
    trainer, x = Trainer(model, Adam(model.named_parameters(), 1e-3), 0), images(8)
    noise = trainer.draw_noise(8, np.random.default_rng(0))
    for step, capacity in enumerate([0, 10, 20, 30, 30]):
        terms, _ = trainer.step(x, 1, step)
        assert float(terms["kl_gap"]) == pytest.approx(abs(float(terms["kl"]) - capacity), rel=1e-6)
        terms, _, _ = trainer.evaluate(x, noise)
        assert float(terms["kl_gap"]) == pytest.approx(abs(float(terms["kl"]) - 30), rel=1e-6)


@pytest.mark.parametrize("options, optimised", [({"free_bits": 0.1}, "kl_free"), ({"capacity": 3}, "kl_gap")])
def test_the_kl_is_reported_as_it_is_and_the_other_term_is_optimised(options, optimised):
    """The rate can still be read: for the same model and noise, the term kl is that of a VAE without these options."""
    plain, asked = new_model("vae"), new_model("vae", beta=0.5, **options)
    x, noise = images(8), plain.bottleneck.draw_noise(8, np.random.default_rng(1))
    _, expected = plain.loss(x, noise)
    loss, terms = asked.loss(x, noise)
    assert list(terms) == ["reconstruction", "kl", optimised]
    assert terms["kl"] == pytest.approx(expected["kl"], rel=1e-6) and terms["kl"] != terms[optimised]
    assert loss == pytest.approx(terms["reconstruction"] + 0.5 * terms[optimised], rel=1e-6)


def test_no_free_bits_are_the_plain_model():
    """The result is the same bit for bit, also for a run that is older than these options."""
    states = []
    for options in ({}, {"free_bits": 0.0, "capacity": None}):
        model = new_model("vae", **options)
        trainer = Trainer(model, Adam(model.named_parameters(), 1e-3), 0)
        for step in range(2):
            terms, _ = trainer.step(images(8), 1, step)
        assert list(terms) == ["loss", "reconstruction", "kl"]
        states.append(trainer.state()[0])
    assert all(np.array_equal(states[1][name], value) for name, value in states[0].items())


def kl_of_dimensions(model, x):
    with model.evaluating():
        mu, logvar = model.bottleneck.parameters_of(model.encoder.forward(x))
    return (0.5 * (mu**2 + np.exp(logvar) - 1 - logvar)).mean(axis=0)


def trained(**options):
    """The KL of each of 8 dimensions after 60 steps with a β that is far too large."""
    model = new_model("vae", beta=20.0, latent_dim=8, channels=(8, 16), **options)
    trainer, x = Trainer(model, Adam(model.named_parameters(), 3e-3), 0), images(16)
    for step in range(60):
        trainer.step(x, 1, step)
    return kl_of_dimensions(model, x)


def test_they_keep_a_code_that_a_large_beta_would_give_up():
    plain, free, held = trained(), trained(free_bits=0.2), trained(capacity=5.0)
    assert plain.sum() < 0.01
    assert free.sum() > 0.5 and free.max() < 0.3
    assert held.sum() == pytest.approx(5, abs=1.5)
