"""The mutual information gap: codes for which it is known, and the paper's own estimator beside ours."""

import numpy as np
import pytest

from data_utils import shapes
from scratch.accelerate.cpu.threads import Threads
from scratch.instruments.mutual_information import LEVELS, discrete_factors, mutual_information

N, VALUES = 4000, 10


@pytest.fixture(scope="module")
def factors():
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, VALUES, N) for name in ("one", "two")}


def axes(factors):
    """(N, 2): each factor along an axis of its own, of variance 1."""
    return np.stack([(v - 4.5) / np.sqrt((VALUES**2 - 1) / 12) for v in factors.values()], axis=1)


def of(codes, factors, sigma=0.01):
    return mutual_information(codes, np.full_like(codes, 2 * np.log(sigma)), factors)


def test_a_dimension_for_each_factor(factors):
    noise = np.random.default_rng(1).standard_normal((N, 3))
    found = of(np.concatenate([noise, axes(factors)], axis=1), factors)
    assert found.mig == pytest.approx(1, abs=0.04)
    assert found.nats[3, 0] == pytest.approx(found.entropies[0], rel=0.01)
    assert found.nats[4, 1] == pytest.approx(found.entropies[1], rel=0.01)
    np.testing.assert_allclose(found.entropies, np.log(VALUES), rtol=1e-2)


def test_two_dimensions_with_both_factors_in_each(factors):
    """Codes rotated by 45°, and one factor in two dimensions: both dimensions say the same amount, so the gap is 0."""
    rotation = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    found = of(axes(factors) @ rotation, factors)
    assert found.mig < 0.02 and found.nats.min() > 0.2
    twice = of(np.concatenate([axes(factors)] * 2, axis=1), factors)
    assert twice.mig == 0 and twice.nats[0, 0] == pytest.approx(np.log(VALUES), rel=1e-2)


def test_threads_change_no_digit(factors):
    noise = np.random.default_rng(1).standard_normal((N, 3))
    alone, shared = (mutual_information(noise, 0 * noise, factors, *more) for more in ((), (Threads(3).map,)))
    np.testing.assert_array_equal(alone.nats, shared.nats)


def test_noise_says_nothing_but_the_bias(factors):
    """The bias is about (BINS − 1)(VALUES − 1) / 2N = 0.044 nats for a narrow q, and almost 0 for a wide one."""
    noise = np.random.default_rng(1).standard_normal((N, 5))
    narrow, wide = of(noise, factors), of(noise, factors, sigma=1.0)
    np.testing.assert_allclose(narrow.nats, 39 * 9 / (2 * N), rtol=0.35)
    assert narrow.mig < 0.01 and wide.nats.max() < 0.006


def test_a_collapsed_dimension_says_nothing_however_exactly_its_mean_follows(factors):
    codes = axes(factors)
    assert of(1e-3 * codes, factors, sigma=1.0).nats.max() < 1e-5
    assert of(1e-3 * codes, factors, sigma=1e-5).nats.max() > 2


def test_one_bit_through_gaussian_noise():
    """μ = ±1, σ = 0.8: the mutual information is that of a binary channel with Gaussian noise, an integral."""
    v = np.arange(N) % 2
    found = of((2.0 * v - 1)[:, None], {"bit": v}, sigma=0.8)
    z = np.linspace(-9, 9, 20_001)
    p = np.exp(-0.5 * ((z - np.array([[-1.0], [1.0]])) / 0.8) ** 2) / (0.8 * np.sqrt(2 * np.pi))
    exact = 0.5 * (p * np.log(p / p.mean(axis=0))).sum() * (z[1] - z[0])
    assert found.nats[0, 0] == pytest.approx(exact, rel=5e-3) and found.nats[0, 0] < exact
    assert found.mig == pytest.approx(found.nats[0, 0] / np.log(2))  # of a single dimension: the next says nothing


def sampled(mu, logvar, v, seed=0):
    """I(z; v) of one dimension as in the paper: the average of log q(z | v) − log q(z), with z drawn from q(z | x) of
    each image, and each density a mean over the images' posteriors."""
    z = mu + np.exp(0.5 * logvar) * np.random.default_rng(seed).standard_normal(len(mu))
    densities = np.exp(-0.5 * ((z[:, None] - mu) ** 2 / np.exp(logvar) + logvar))
    same = v[:, None] == v
    return np.mean(np.log((densities * same).sum(axis=1) / same.sum(axis=1)) - np.log(densities.mean(axis=1)))


def test_beside_the_papers_estimator():
    rng = np.random.default_rng(2)
    v = rng.integers(0, 6, 3000)
    mu = 0.5 * v[:, None] * [1.0, 0.4, 0.0] + rng.normal(0, 0.3, (3000, 3))
    logvar = np.log(rng.uniform(0.05, 0.5, (3000, 3)))
    found = mutual_information(mu, logvar, {"v": v}).nats[:, 0]
    expected = [sampled(mu[:, j], logvar[:, j], v) for j in range(3)]
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert found[0] > 2 * found[1] > 10 * found[2]


def test_the_factors_of_shapes_in_whole_numbers():
    _, factors = shapes(2000, 8)
    found = discrete_factors(factors)
    assert list(found) == list(factors) and set(found["shape"]) == {0, 1, 2, 3}
    for name in found.keys() - {"shape"}:
        assert np.bincount(found[name], minlength=LEVELS) == pytest.approx(200, abs=60), name
    quarter = {**factors, "shape": np.ones(2000, int), "rotation": factors["rotation"] % (np.pi / 2)}
    turned = {**quarter, "rotation": quarter["rotation"] + np.pi / 2}
    same = discrete_factors(quarter)["rotation"] == discrete_factors(turned)["rotation"]
    assert same.mean() > 0.99 and "shape" not in discrete_factors(quarter)
