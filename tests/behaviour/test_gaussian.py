"""The Gaussian bottleneck: its draws have the right distribution, and backward uses what forward drew."""

import decimal
import math

import numpy as np
import pytest

from scratch.bottlenecks import FreeBits, GaussianBottleneck, GaussianKL, Reparameterize
from scratch.bottlenecks.gaussian import gaussian_kl

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


# --- near a KL of 0 ---------------------------------------------------------------------------------------------------

LOGVARS = [sign * 10.0**power for power in range(-30, 2) for sign in (-1, 1)] + [
    0.0, 0.0099, 0.0101, -0.0099, -0.0101, 0.3, -0.3, -80.0, 80.0]


def exact_kl(logvar):
    """½ (eˣ − 1 − x) of exactly this number x, with 80 digits."""
    with decimal.localcontext(decimal.Context(prec=80)):
        x = decimal.Decimal(float(logvar))
        return float((x.exp() - 1 - x) / 2)


@pytest.mark.parametrize("dtype, bound", [(np.float32, 5e-5), (np.float64, 1e-13)])
@pytest.mark.parametrize("term", [GaussianKL, lambda: FreeBits(0.0)], ids=["GaussianKL", "FreeBits"])
def test_the_kl_of_a_variance_near_1_is_accurate_and_never_negative(term, dtype, bound):
    """exp(logvar) − 1 − logvar would be lost to rounding, and be negative half of the time."""
    for logvar in np.array(LOGVARS, dtype):
        mu, tensor = np.zeros((1, 1), dtype), np.array([[logvar]], dtype)
        kl = np.ravel(term().forward(mu, tensor))[0]
        assert kl >= 0
        if exact_kl(logvar) > np.finfo(dtype).tiny:
            assert kl == pytest.approx(exact_kl(logvar), rel=bound)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_of_the_kl_of_a_variance_near_1_is_accurate(dtype):
    """½ (σ² − 1), which σ² = exp(logvar) would round to 0."""
    logvar = np.array([LOGVARS], dtype)
    module = GaussianKL()
    module.forward(np.zeros_like(logvar), logvar)
    _, dlogvar = module.backward()
    np.testing.assert_allclose(dlogvar, 0.5 * np.expm1(logvar.astype(np.float64)), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_kl_of_many_variances_near_1_is_never_negative(dtype):
    rng = np.random.default_rng(0)
    logvar = (rng.standard_normal(20_000) * 10.0 ** rng.integers(-12, 1, 20_000)).astype(dtype)
    assert (gaussian_kl(np.zeros_like(logvar), logvar) >= 0).all()
