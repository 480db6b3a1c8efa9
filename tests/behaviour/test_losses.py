"""Losses: values known beforehand, extreme logits, and independence of the batch size."""

import math

import numpy as np
import pytest

from scratch.layers.activation import sigmoid
from scratch.losses import LIKELIHOODS, BernoulliFromLogits, SquaredError
from scratch.models import build

OPTIONS = dict(channels=(4, 6), latent_dim=5, beta=0.5, codes=9, code_dim=3, codebook_init="normal", commitment=0.25)


def test_squared_error_sums_inside_an_example_and_averages_over_the_batch():
    x = np.zeros((2, 1, 1, 3))
    y = np.array([1.0, 2.0, 3.0, 0.0, 0.0, 4.0]).reshape(2, 1, 1, 3)
    assert SquaredError().loss(y, x) == (1 + 4 + 9 + 16) / 2


def test_bernoulli_at_the_logit_zero_costs_log_two_a_pixel():
    x = np.random.default_rng(0).random((4, 3, 3, 1))
    assert BernoulliFromLogits().loss(np.zeros_like(x), x) == pytest.approx(9 * math.log(2), rel=1e-14)


def test_bernoulli_is_the_cross_entropy_of_the_probability():
    rng = np.random.default_rng(0)
    a, x = rng.standard_normal((5, 7)), rng.random((5, 7))
    p = 1 / (1 + np.exp(-a))
    expected = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum() / 5
    assert BernoulliFromLogits().loss(a, x) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bernoulli_is_finite_and_teaches_at_extreme_logits(dtype):
    """From clipped probabilities the loss is NaN at 1 and the gradient zero beyond the clip (trap 9)."""
    a = np.array([[40, -40, 1e4, -1e4, 1e4, -1e4, 88, -750]], dtype)
    x = np.array([[0.5, 0.5, 0, 1, 1, 0, 0.25, 1]], dtype)
    loss = BernoulliFromLogits()
    value, gradient = loss.loss(a, x), loss.backward()
    assert value == pytest.approx(20 + 20 + 1e4 + 1e4 + 0 + 0 + 66 + 750, rel=1e-6)
    np.testing.assert_allclose(gradient, [[0.5, -0.5, 1, -1, 0, 0, 0.75, -1]], atol=1e-6)


def test_sigmoid_keeps_both_tails():
    x = np.array([-745.0, -40.0, 0.0, 40.0, 1e4])
    np.testing.assert_allclose(sigmoid(x), [5e-324, math.exp(-40) / (1 + math.exp(-40)), 0.5, 1, 1], rtol=1e-15)


@pytest.mark.parametrize("name, mean", [("squared_error", 2.0), ("bernoulli", 1 / (1 + math.exp(-2)))])
def test_a_likelihood_knows_what_the_output_means(name, mean):
    assert LIKELIHOODS[name]().mean(np.array([2.0]))[0] == pytest.approx(mean, rel=1e-15)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("name", ["ae", "vae", "vqvae", "vqvae2"])
def test_the_loss_and_its_gradient_do_not_depend_on_the_batch_size(name, likelihood):
    """A batch-summed term among batch means would double its weight with the batch (trap 5)."""
    rng = np.random.default_rng(0)
    model = build(name, (8, 8, 2), {**OPTIONS, "likelihood": likelihood}, dtype=np.float64, rng=rng)
    x = rng.random((3, 8, 8, 2))
    noise = model.bottleneck.draw_noise(3, rng)

    def loss_terms_and_gradients(times):
        model.zero_grad()
        repeated = None if noise is None else np.concatenate([noise] * times)
        loss, terms = model.loss(np.concatenate([x] * times), repeated)
        model.backward()
        return {"loss": loss, **terms, **model.grad_dict()}

    once, twice = loss_terms_and_gradients(1), loss_terms_and_gradients(2)
    for key, value in once.items():
        np.testing.assert_allclose(twice[key], value, rtol=1e-11, atol=1e-13 * np.abs(value).max())


@pytest.mark.parametrize("name, weights", [
    ("ae", {"reconstruction": 1.0}),
    ("vae", {"reconstruction": 1.0, "kl": 0.5}),
    ("vqvae", {"reconstruction": 1 / 128, "codebook": 1 / 12, "commitment": 0.25 / 12}),
    ("vqvae2", {
        "reconstruction": 1 / 128,
        "codebook_top": 1 / 12, "commitment_top": 0.25 / 12, "codebook_bottom": 1 / 48, "commitment_bottom": 0.25 / 48,
    }),
])
def test_the_loss_is_the_weighted_sum_of_its_terms(name, weights):
    """The VQ-VAE's are means over elements: 8·8·2 in the image, 2·2·3 in the latents, 4·4·3 in the bottom ones."""
    rng = np.random.default_rng(0)
    model = build(name, (8, 8, 2), {**OPTIONS, "likelihood": "squared_error"}, dtype=np.float64, rng=rng)
    loss, terms = model.loss(rng.random((3, 8, 8, 2)))
    assert terms.keys() == weights.keys()
    assert loss == pytest.approx(sum(weights[key] * terms[key] for key in weights), rel=1e-14)
