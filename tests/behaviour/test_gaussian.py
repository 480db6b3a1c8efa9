"""The Gaussian bottleneck: what is drawn has the asked distribution, and backward uses what forward drew."""

import math

import numpy as np
import pytest

from scratch.bottlenecks import GaussianBottleneck, GaussianKL, Reparameterize

FEATURES = (2, 2, 4)


def test_z_has_the_mean_and_the_variance_that_were_asked_for():
    """std = exp(logvar) in place of exp(½ logvar) has correct gradients and is the wrong model (trap 1)."""
    count = 200_000
    mu, logvar = np.array([0.7, -2.0, 0.0]), np.log([0.25, 4.0, 1.0])
    eps = np.random.default_rng(0).standard_normal((count, 3))
    z = Reparameterize().forward(np.tile(mu, (count, 1)), np.tile(logvar, (count, 1)), eps)
    # Five standard errors: of a mean σ/√n, of a variance σ²·√(2/n).
    assert (np.abs(z.mean(axis=0) - mu) < 5 * np.exp(0.5 * logvar) / math.sqrt(count)).all()
    assert (np.abs(z.var(axis=0) - np.exp(logvar)) < 5 * np.exp(logvar) * math.sqrt(2 / count)).all()


def test_the_closed_form_kl_is_the_mean_of_log_q_minus_log_p():
    count = 200_000
    mu, logvar = np.array([[0.7, -1.0]]), np.log([[0.25, 2.0]])
    eps = np.random.default_rng(0).standard_normal((count, 2))
    z = mu + np.exp(0.5 * logvar) * eps
    log_q = (-0.5 * (eps**2 + logvar)).sum(axis=1)
    log_p = (-0.5 * z**2).sum(axis=1)
    drawn = log_q - log_p
    assert abs(GaussianKL().forward(mu, logvar) - drawn.mean()) < 5 * drawn.std() / math.sqrt(count)


def test_the_kl_is_zero_at_the_prior_and_positive_elsewhere():
    assert GaussianKL().forward(np.zeros((3, 4)), np.zeros((3, 4))) == 0
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert GaussianKL().forward(rng.standard_normal((1, 4)), rng.standard_normal((1, 4))) > 0


def gradients(bottleneck, h, noise):
    bottleneck.zero_grad()
    y, _ = bottleneck.forward(h, noise)
    dh = bottleneck.backward(np.ones_like(y), {"kl": 0.1})
    return {"y": y, "h": dh, **bottleneck.grad_dict()}


def test_backward_uses_the_noise_that_forward_drew():
    """Fresh noise in forward, other noise in backward (trap 2): no gradient with given noise would show it."""
    h = np.random.default_rng(0).standard_normal((3, *FEATURES))
    drawing = GaussianBottleneck(FEATURES, 5, dtype=np.float64, rng=np.random.default_rng(1))
    given = GaussianBottleneck(FEATURES, 5, dtype=np.float64, rng=np.random.default_rng(1))
    noise = given.draw_noise(3, given.rng)  # the same generator in the same state: what `drawing` will draw
    expected = gradients(given, h, noise)
    for name, gradient in gradients(drawing, h, None).items():
        np.testing.assert_array_equal(gradient, expected[name])
    other = gradients(given, h, given.draw_noise(3, given.rng))
    assert np.abs(other["logvar.weight"] - expected["logvar.weight"]).max() > 1e-3


def test_every_forward_draws_fresh_noise():
    bottleneck = GaussianBottleneck(FEATURES, 5)
    h = np.ones((3, *FEATURES), np.float32)
    first, second = bottleneck.forward(h)[0], bottleneck.forward(h)[0]
    assert (first != second).any()
    assert (first[0] != first[1]).any()  # and each image has its own


def test_drawn_noise_is_standard_normal():
    noise = GaussianBottleneck(FEATURES, 50).draw_noise(2000, np.random.default_rng(0))
    assert noise.shape == (2000, 50) and noise.dtype == np.float32
    assert abs(noise.mean()) < 5 / math.sqrt(noise.size)
    assert noise.var() == pytest.approx(1, abs=5 * math.sqrt(2 / noise.size))
