"""The instruments: known values, a model whose log p(x) is known, and independence of the batch size and of K."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from scratch.bottlenecks import GaussianBottleneck
from scratch.bottlenecks.vector_quantized import CertainPosterior
from scratch.instruments import importance
from scratch.instruments.elbo import ACTIVE, RateDistortion, active_units, bits_per_dimension, kl_and_distortion
from scratch.instruments.importance import endless_noise, importance_weighted_bound
from scratch.instruments.posteriors import posterior
from scratch.instruments.similarity import psnr_of_each, ssim_of_each
from scratch.losses import LIKELIHOODS, BernoulliFromLogits, LogitLaplace, SquaredError
from scratch.models.autoencoder import Autoencoder
from scratch.module import Sequential
from scratch.options.errors import InputError
from tests.support.tiny import images, new_model, train

SHAPE, Z = (2, 3, 2), 4  # of the images of the linear model, and its latent dimensions


# --- likelihoods ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_loss_is_the_mean_of_the_examples_own(likelihood):
    rng, loss = np.random.default_rng(0), LIKELIHOODS[likelihood](np.float64)
    x, output = rng.random((5, 4, 3, 2)), rng.standard_normal((5, 4, 3, 2 * loss.outputs))
    each = loss.per_example(output, x)
    assert each.shape == (5,) and loss.loss(output, x) == pytest.approx(each.mean(), rel=1e-14)
    alone = [loss.loss(output[n : n + 1], x[n : n + 1]) for n in range(5)]
    np.testing.assert_allclose(each, alone, rtol=1e-14)
    nats = loss.negative_log_likelihood(output, x)
    np.testing.assert_allclose(nats - each, 24 * loss.constant, rtol=1e-12)


def integral(loss, output, x):
    """∫ p(x | output) dx over evenly spaced x (M,), of one pixel."""
    outputs = np.broadcast_to(output, (len(x), len(output)))
    return np.exp(-loss.negative_log_likelihood(outputs, x[:, None])).sum() * (x[1] - x[0])


def test_a_squared_error_with_its_constant_is_a_density():
    assert integral(SquaredError(), [0.3], np.linspace(-12, 12, 100_001)) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("mu, s", [(0.0, 0.0), (1.5, -2.0), (-3.0, 0.7)])
def test_logit_laplace_with_its_constant_is_a_density_of_x_itself(mu, s):
    """Where x′ = 0.8 x + 0.1 lies in (0, 1); without the factor 1 − 2ε the integral would be 1.25."""
    x = np.linspace(-0.125, 1.125, 2_000_003)[1:-1]
    assert integral(LogitLaplace(), [mu, s], x) == pytest.approx(1, abs=2e-3)


def test_bernoulli_is_a_probability_of_two_values_and_no_density_of_greys():
    loss, a = BernoulliFromLogits(), [0.8]
    assert np.exp(-loss.negative_log_likelihood(np.array([a, a]), np.array([[0.0], [1.0]]))).sum() == pytest.approx(1)
    assert integral(loss, a, np.linspace(0, 1, 10_001)) < 0.6


# --- bits per dimension -----------------------------------------------------------------------------------------------


def test_256_equally_probable_greys_cost_8_bits():
    """Uniform over 256 intervals of width 1/255, the density is 255/256. On [0, 1] alone it would give log₂ 255 bits.
    """
    uniform = 12 * math.log(255 / 256)
    assert bits_per_dimension(uniform, SquaredError(), SHAPE) == pytest.approx(8, rel=1e-14)
    assert bits_per_dimension(0.0, LogitLaplace(), SHAPE) == pytest.approx(math.log2(255), rel=1e-14)


@pytest.mark.parametrize("likelihood", ["discretized_logistic", "categorical"])
def test_the_probabilities_of_8_bit_values_are_their_code_lengths(likelihood):
    """Their bits add up to a code that wastes nothing: Σ 2^(−bits) is 1."""
    loss, greys = LIKELIHOODS[likelihood](), np.arange(256)[:, None] / 255
    output = np.random.default_rng(0).standard_normal((1, loss.outputs)) - 1
    nats = loss.negative_log_likelihood(output.repeat(256, axis=0), greys)
    bits = np.array([bits_per_dimension(-value, loss, (1, 1, 1)) for value in nats])
    assert (2.0 ** -bits).sum() == pytest.approx(1, abs=1e-12)


def test_a_density_costs_what_its_grey_levels_probabilities_do():
    """p(x)/255 at x = k/255 are probabilities that add up to 1, and their cross-entropy is the figure."""
    loss, greys = SquaredError(), np.arange(-3000, 3256)[:, None] / 255  # beyond black and white, as a Gaussian goes
    nats = loss.negative_log_likelihood(np.full_like(greys, 0.4), greys)
    probabilities = np.exp(-nats) / 255
    assert probabilities.sum() == pytest.approx(1, abs=1e-9)
    bits = [bits_per_dimension(-value, loss, (1, 1, 1)) for value in nats]
    np.testing.assert_allclose(bits, -np.log2(probabilities), rtol=1e-12)


def test_a_binary_pixel_of_which_nothing_is_known_costs_one_bit():
    assert bits_per_dimension(-12 * math.log(2), BernoulliFromLogits(), SHAPE) == pytest.approx(1, rel=1e-14)


# --- rate, distortion, active units -----------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("name", ["vae", "dvae"])
def test_rate_and_distortion_are_the_terms_of_the_loss(name, likelihood):
    model, x = new_model(name, dtype=np.float64, likelihood=likelihood), images(6).astype(np.float64)
    noise = model.bottleneck.draw_noise(6, np.random.default_rng(1))
    with model.evaluating():
        _, terms = model.loss(x, noise)
    kl, distortion = kl_and_distortion(model, x, noise)
    found = RateDistortion(kl, distortion)
    assert kl.shape == (6, {"vae": 32, "dvae": 16}[name]) and (kl >= 0).all() and model.training
    assert found.rate.mean() == pytest.approx(terms["kl"], rel=1e-12)
    constant = model.reconstruction.constant * x[0].size
    assert distortion.mean() - constant == pytest.approx(terms["reconstruction"], rel=1e-12)
    np.testing.assert_allclose(found.elbo, -(kl.sum(axis=1) + distortion))


def test_the_distortion_is_of_a_draw_and_not_of_the_mean():
    model, x = new_model("vae"), images(6)
    noise = model.bottleneck.draw_noise(6, np.random.default_rng(1))
    of_draw, of_mean = (kl_and_distortion(model, x, eps)[1] for eps in (noise, 0 * noise))
    of_reconstruction = model.reconstruction.negative_log_likelihood(model.reconstruct(x), x)
    np.testing.assert_allclose(of_mean, of_reconstruction, rtol=1e-5)
    assert np.abs(of_draw - of_mean).max() > 1e-2


@pytest.mark.parametrize("name, positions", [("vqvae", 16), ("vqvae2", 16 + 64)])
def test_a_certain_code_costs_log_k_a_position(name, positions):
    model, x = new_model(name), images(6)
    kl, distortion = kl_and_distortion(model, x, None)
    assert kl.shape == (6, positions)
    np.testing.assert_allclose(kl, math.log(64), rtol=1e-6)
    expected = model.reconstruction.negative_log_likelihood(model.reconstruct(x), x)
    np.testing.assert_allclose(distortion, expected, rtol=1e-6)
    with model.evaluating():
        q = posterior(model, x)
        assert isinstance(q, CertainPosterior)
        np.testing.assert_allclose(q.draw()[1], -positions * math.log(64), rtol=1e-6)


def test_the_code_of_an_ae_has_no_elbo():
    with pytest.raises(InputError, match="need a prior for the code"):
        kl_and_distortion(new_model("ae"), images(2), None)


def test_a_unit_is_active_whose_mean_varies_by_more_than_a_hundredth():
    rng = np.random.default_rng(0)
    signs = np.where(rng.permutation(100) < 50, 1.0, -1.0)[:, None]  # of variance 1
    means = 7 + signs * np.sqrt(ACTIVE * np.array([0.0, 0.98, 1.02, 100.0]))
    assert active_units(means.astype(np.float32)).tolist() == [False, False, True, True]


# --- the importance-weighted bound ------------------------------------------------------------------------------------


def linear_model(exact, rng):
    """(model, log p): p(x | z) = N(Wz + b, ½ I), with q its exact posterior or another one.

    The columns of W are orthogonal, so that the exact posterior's covariance (I + 2WᵀW)⁻¹ is diagonal, as q's is.
    """
    D = math.prod(SHAPE)
    W = np.linalg.qr(rng.standard_normal((D, Z)))[0] * np.array([0.5, 1.0, 1.5, 0.1])
    b = rng.standard_normal(D)
    bottleneck = GaussianBottleneck(SHAPE, Z, dtype=np.float64)
    model = Autoencoder(Sequential(), bottleneck, Sequential(), SquaredError(), {"reconstruction": 1.0, "kl": 1.0})
    variance = 1 / (1 + 2 * (W * W).sum(axis=0))
    bottleneck.expand.weight.value[...], bottleneck.expand.bias.value[...] = W.T, b
    bottleneck.mu.weight.value[...] = 2 * W * variance
    bottleneck.mu.bias.value[...] = -2 * b @ W * variance
    bottleneck.logvar.weight.value[...], bottleneck.logvar.bias.value[...] = 0, np.log(variance)
    if not exact:
        bottleneck.mu.bias.value += 0.3
        bottleneck.logvar.bias.value += 0.4

    def log_p(x):
        """log N(x; b, WWᵀ + ½ I)."""
        covariance = W @ W.T + 0.5 * np.eye(D)
        difference = bottleneck.flatten.forward(x) - b
        distance = (difference * np.linalg.solve(covariance, difference.T).T).sum(axis=1)
        return -0.5 * (distance + np.linalg.slogdet(2 * math.pi * covariance)[1])

    return model, log_p


def bound(model, x, samples, numbers=None):
    noises = endless_noise(model.bottleneck, range(len(x)) if numbers is None else numbers)
    return importance_weighted_bound(model, x, itertools.islice(noises, samples))


@pytest.mark.parametrize("samples", [1, 2, 7, 50])
def test_with_the_exact_posterior_the_bound_is_log_p_for_every_number_of_samples(samples):
    model, log_p = linear_model(True, np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((5, *SHAPE))
    np.testing.assert_allclose(bound(model, x, samples), log_p(x), rtol=1e-12)


def test_with_another_posterior_it_rises_to_log_p():
    model, log_p = linear_model(False, np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((200, *SHAPE))
    gaps = [float((log_p(x) - bound(model, x, samples)).mean()) for samples in (1, 3, 10, 100, 3000)]
    assert all(one > 1.5 * more for one, more in itertools.pairwise(gaps))
    assert gaps[0] > 0.2 and abs(gaps[-1]) < 2e-3


def test_the_gap_of_the_elbo_is_the_kl_from_q_to_the_true_posterior():
    """log p(x) − ELBO = KL(q ‖ p(z | x)): of two Gaussians whose means differ by 0.3, and variances by e^0.4."""
    rng = np.random.default_rng(0)
    (model, log_p), (right, _) = linear_model(False, np.random.default_rng(0)), linear_model(True, rng)
    x = rng.standard_normal((1, *SHAPE))
    variance = np.exp(right.bottleneck.logvar.bias.value)
    expected = 0.5 * (0.3**2 / variance + math.exp(0.4) - 1 - 0.4).sum()
    draws = 40_000
    noise = rng.standard_normal((draws, Z))
    kl, distortion = kl_and_distortion(model, np.repeat(x, draws, axis=0), noise)
    elbo = RateDistortion(kl, distortion).elbo
    assert abs(log_p(x)[0] - elbo.mean() - expected) < 5 * elbo.std() / math.sqrt(draws)


@pytest.mark.parametrize("name", ["vae", "dvae"])
def test_one_sample_s_bound_is_the_elbo_on_average(name):
    """One draw of log p(x | z) + log p(z) − log q(z | x), where the ELBO has the KL's closed form."""
    model, x = new_model(name, dtype=np.float64), images(3).astype(np.float64)
    if name == "dvae":
        model.bottleneck.project.weight.value *= 0.1  # logits near each other: every code is drawn
    draws, rng = 1000, np.random.default_rng(0)
    many = np.repeat(x, draws, axis=0)
    noise = model.bottleneck.draw_noise(len(many), rng)
    drawn = importance_weighted_bound(model, many, [noise]).reshape(3, draws)
    kl, distortion = kl_and_distortion(model, many, noise)
    elbo = RateDistortion(kl, distortion).elbo.reshape(3, draws)
    difference = drawn - elbo  # the distortions are the same: what is left is KL − its draw
    assert difference.std() > 1e-3
    assert (np.abs(difference.mean(axis=1)) < 5 * difference.std(axis=1) / math.sqrt(draws)).all()


@pytest.mark.parametrize("name", ["vae", "dvae"])
def test_more_samples_bound_a_trained_model_more_tightly_on_average(name):
    model = train(new_model(name, likelihood="bernoulli"), images(96), epochs=2)
    x = images(32, stream=1)
    means = [float(bound(model, x, samples).mean()) for samples in (1, 4, 16, 64)]
    assert means == sorted(means) and means[-1] > means[0] + 0.1


def test_the_first_samples_of_more_are_the_same_and_batches_do_not_matter():
    model = new_model("vae", dtype=np.float64)
    x = images(5).astype(np.float64)
    few, many = (list(itertools.islice(endless_noise(model.bottleneck, range(5)), K)) for K in (4, 8))
    np.testing.assert_array_equal(few, many[:4])
    assert len({noise.tobytes() for noise in many}) == 8 and len({row.tobytes() for row in many[0]}) == 5
    parts = [bound(model, x[n:m], 4, range(n, m)) for n, m in ((0, 2), (2, 5))]
    np.testing.assert_allclose(np.concatenate(parts), bound(model, x, 4), rtol=1e-12)


class FlatPosterior:
    """A posterior whose draws all have the same weight."""

    def draw(self, noise):
        return None, np.zeros(2, np.float32)


def test_the_sum_of_weights_neither_underflows_nor_stands_still(monkeypatch):
    """10,000 equal weights of e^−9000. In float32 a sum of some thousand weights would no longer grow."""
    monkeypatch.setattr(importance, "distortion", lambda model, z, x: np.full(len(x), 9000, np.float32))
    monkeypatch.setattr(importance, "posterior", lambda model, x: FlatPosterior())
    found = importance_weighted_bound(new_model("vae"), images(2), itertools.repeat(None, 10_000))
    np.testing.assert_allclose(found, -9000, atol=1e-6)


def test_memory_does_not_grow_with_the_number_of_samples():
    model, x, peaks = new_model("vae"), images(16), []
    for samples in (2, 2, 40):  # the first one warms up
        tracemalloc.start()
        bound(model, x, samples)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] - peaks[1] <= 2e4


# --- likeness ---------------------------------------------------------------------------------------------------------


def test_psnr_of_each_image():
    x = np.zeros((3, 4, 4, 1))
    found = psnr_of_each(x, np.array([0.1, 0.0, 1.0])[:, None, None, None] + x)
    np.testing.assert_allclose(found, [20, np.inf, 0], atol=1e-12)


def ssim_by_definition(a, b):
    """Wang et al.'s formula, one window of 11×11 after another, of one channel."""
    offsets = np.arange(-5, 6)
    w = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    w, found = w / w.sum(), []
    for i, j in np.ndindex(a.shape[0] - 10, a.shape[1] - 10):
        p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
        mu, nu = (w * p).sum(), (w * q).sum()
        pp, qq, pq = (w * (p - mu) ** 2).sum(), (w * (q - nu) ** 2).sum(), (w * (p - mu) * (q - nu)).sum()
        c1, c2 = 0.01**2, 0.03**2
        found.append((2 * mu * nu + c1) * (2 * pq + c2) / ((mu**2 + nu**2 + c1) * (pp + qq + c2)))
    return np.mean(found)


@pytest.mark.parametrize("side", [11, 14])
def test_ssim_is_that_of_its_paper(side):
    rng = np.random.default_rng(0)
    x = rng.random((2, side, side, 3))
    y = np.clip(x + 0.2 * rng.standard_normal(x.shape), 0, 1)
    expected = [
        np.mean([ssim_by_definition(a[..., c], b[..., c]) for c in range(3)]) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(ssim_of_each(x, y), expected, rtol=1e-10)
    np.testing.assert_allclose(ssim_of_each(x, x), 1, rtol=1e-12)


@pytest.mark.parametrize("kind, error", [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_ssim_is_scikit_images(kind, error):
    """Also on plain ground, where a variance is 0. scikit-image computes in the precision of the images: in float32 its
    variances are off by up to 1e-7, beside the constant of 9e-4."""
    rng, x = np.random.default_rng(1), images(6).astype(np.float64)
    y = np.clip(x + 0.1 * rng.standard_normal(x.shape), 0, 1)
    y[0], y[1] = 0.5, x[1] + 1 / 255
    x, y = x.astype(kind), y.astype(kind)
    settings = dict(data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2)
    expected = [structural_similarity(*pair, **settings) for pair in zip(x, y, strict=True)]
    np.testing.assert_allclose(ssim_of_each(x, y), expected, rtol=0, atol=error)


def test_psnr_and_ssim_see_different_faults():
    """For a shift of brightness and noise with the same squared error, SSIM is lower for the noise."""
    x = 0.25 + 0.5 * images(4).astype(np.float64)
    noise = np.random.default_rng(0).choice([-0.1, 0.1], x.shape)
    np.testing.assert_allclose(psnr_of_each(x, x + 0.1), psnr_of_each(x, x + noise), rtol=1e-12)
    assert (ssim_of_each(x, x + 0.1) > ssim_of_each(x, x + noise) + 0.1).all()


def test_where_there_is_no_ssim():
    with pytest.raises(InputError, match="11×11 pixels, and images of 10×12"):
        ssim_of_each(*np.zeros((2, 1, 10, 12, 3)))
