"""Priors draw from the distributions that they name."""

import math

import numpy as np
import pytest

from scratch.models.priors import CodeFrequencies, FittedGaussian, StandardNormal

COUNT = 100_000


def assert_moments(z, mean, covariance):
    """Five standard errors: of a mean √(cᵢᵢ / n), of a covariance √((cᵢᵢ cⱼⱼ + cᵢⱼ²) / n)."""
    variance = np.diag(covariance)
    assert (np.abs(z.mean(axis=0) - mean) <= 5 * np.sqrt(variance / COUNT)).all()
    error = np.sqrt((np.outer(variance, variance) + covariance**2) / COUNT)
    assert (np.abs(np.cov(z.T, bias=True) - covariance) <= 5 * error).all()


def test_standard_normal():
    z = StandardNormal(3).draw(COUNT, np.random.default_rng(0), np.float64)
    assert_moments(z, np.zeros(3), np.eye(3))


def test_a_fitted_gaussian_has_the_mean_and_the_covariance_of_its_latents():
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((50, 3)) @ np.array([[2.0, 1.0, 0.0], [0.0, 0.5, 0.3], [0.0, 0.0, 0.1]]) + [5, -1, 0]
    z = FittedGaussian(latents).draw(COUNT, np.random.default_rng(1), np.float64)
    assert_moments(z, latents.mean(axis=0), np.cov(latents.T, bias=True))


def test_a_fitted_gaussian_of_fewer_latents_than_dimensions_stays_in_their_plane():
    latents = np.random.default_rng(0).standard_normal((3, 10))
    z = FittedGaussian(latents).draw(100, np.random.default_rng(1), np.float64) - latents.mean(axis=0)
    assert np.linalg.matrix_rank(z) == 2  # three points span a plane


def test_code_frequencies():
    indices = np.array([[[0, 0], [2, 0]], [[4, 2], [0, 0]]])
    prior = CodeFrequencies(indices, 6)
    (frequency,) = prior.frequencies
    np.testing.assert_array_equal(frequency, np.array([5, 0, 2, 0, 1, 0]) / 8)
    drawn = prior.draw(5000, np.random.default_rng(0), np.float32)
    assert drawn.shape == (5000, 2, 2) and drawn.dtype.kind == "i"
    share = np.bincount(drawn.ravel(), minlength=6) / drawn.size
    assert (share[[1, 3, 5]] == 0).all()
    error = np.sqrt(frequency * (1 - frequency) / drawn.size)
    assert (np.abs(share - frequency) <= 5 * error).all()


def test_code_frequencies_of_two_grids_are_each_its_own():
    top, bottom = np.array([[[0]], [[0]]]), np.array([[[1, 2], [2, 2]], [[2, 2], [2, 1]]])
    prior = CodeFrequencies([top, bottom], 3)
    drawn_top, drawn_bottom = prior.draw(4000, np.random.default_rng(0), np.float32)
    assert drawn_top.shape == (4000, 1, 1) and not drawn_top.any()
    assert drawn_bottom.shape == (4000, 2, 2) and set(np.unique(drawn_bottom)) == {1, 2}
    assert abs((drawn_bottom == 1).mean() - 1 / 4) <= 5 * np.sqrt(3 / 16 / drawn_bottom.size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gaussian_prior_draws_in_the_asked_dtype(dtype):
    latents = np.random.default_rng(0).standard_normal((4, 3), np.float32)
    for prior in (StandardNormal(3), FittedGaussian(latents)):
        assert prior.draw(2, np.random.default_rng(0), dtype).dtype == dtype


def test_the_same_generator_draws_the_same():
    latents = np.random.default_rng(0).standard_normal((4, 3))
    for prior in (StandardNormal(3), FittedGaussian(latents), CodeFrequencies(np.arange(8).reshape(2, 2, 2), 8)):
        first, again, other = (prior.draw(20, np.random.default_rng(seed), np.float64) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def test_every_caption_says_that_no_prior_was_learned():
    for prior in (StandardNormal, FittedGaussian, CodeFrequencies):
        assert prior.caption.endswith("no prior was learned")


def test_frequencies_are_a_distribution():
    (frequency,) = CodeFrequencies(np.random.default_rng(0).integers(0, 9, (7, 3, 5)), 11).frequencies
    assert len(frequency) == 11 and math.isclose(frequency.sum(), 1)
