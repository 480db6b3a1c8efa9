"""The instruments against torch.distributions, and against torch_ref's terms."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.distributions import (
    AffineTransform,
    Bernoulli,
    Categorical,
    Laplace,
    Normal,
    SigmoidTransform,
    TransformedDistribution,
    kl_divergence,
)

from scratch.instruments.elbo import kl_and_distortion
from scratch.instruments.importance import endless_noise, importance_weighted_bound
from scratch.instruments.posteriors import posterior
from scratch.instruments.probe import loss_and_gradient
from scratch.losses import LIKELIHOODS
from tests.support.beside_torch import TINY, discretized_logistic_log_prob, torch_twin
from tests.support.closeness import assert_close
from tests.support.models import build

SHAPE = (8, 8, 2)


def logit_laplace(output):
    """The distribution of x itself: a Laplace variable, then a sigmoid, then φ⁻¹."""
    mu, s = output.chunk(2, dim=-1)
    shrunk = TransformedDistribution(Laplace(mu, s.exp() + 1.6 / 255), SigmoidTransform())
    return TransformedDistribution(shrunk, AffineTransform(-0.125, 1.25))


class DiscretizedLogistic:
    """torch.distributions has no bins."""

    def __init__(self, output):
        self.output = output

    def log_prob(self, x):
        return discretized_logistic_log_prob(self.output, x)


class GreyLevels:
    """256 logits for each number of an image."""

    def __init__(self, output):
        self.values = Categorical(logits=output.unflatten(-1, (-1, 256)))

    def log_prob(self, x):
        return self.values.log_prob(torch.round(255 * x))


DISTRIBUTIONS = {
    "squared_error": lambda y: Normal(y, 0.5**0.5),
    "gaussian": lambda y: Normal(y, 1 + math.exp(-6)),  # its σ before any training
    "bernoulli": lambda a: Bernoulli(logits=a, validate_args=False),  # of greys too, as the loss takes them
    "logit_laplace": logit_laplace, "discretized_logistic": DiscretizedLogistic, "categorical": GreyLevels,
}
each_likelihood = pytest.mark.parametrize("likelihood", DISTRIBUTIONS)
each_model = pytest.mark.parametrize("name", ["vae", "dvae"])


def tensor(array):
    return torch.tensor(np.asarray(array))


def new_model(name, likelihood="squared_error"):
    options = {**TINY, "likelihood": likelihood}
    model = build(name, SHAPE, options, dtype=np.float64, rng=np.random.default_rng(0))
    return model, torch_twin(model, name, SHAPE, options)


def distributions(model, x):
    """(q(z | x), p(z)) of torch.distributions, a factor for each dimension or position."""
    with model.evaluating():
        q = posterior(model, x)
    if hasattr(q, "mu"):
        sigma = tensor(q.logvar).exp().sqrt()
        return Normal(tensor(q.mu), sigma), Normal(torch.zeros_like(sigma), torch.ones_like(sigma))
    logits = tensor(q.a).flatten(1, 2)
    return Categorical(logits=logits), Categorical(logits=torch.zeros_like(logits))


@each_likelihood
def test_negative_log_likelihood(likelihood):
    """The figure of each example, with all constants."""
    rng, ours = np.random.default_rng(0), LIKELIHOODS[likelihood](np.float64)
    x, output = rng.random((4, 5, 3, 2)), 2 * rng.standard_normal((4, 5, 3, 2 * ours.outputs))
    expected = -DISTRIBUTIONS[likelihood](tensor(output)).log_prob(tensor(x)).sum((1, 2, 3))
    assert_close(ours.negative_log_likelihood(output, x), expected.numpy(), 1e-12)


@each_model
def test_the_kl_of_each_dimension(name):
    model, _ = new_model(name)
    x = np.random.default_rng(1).random((5, *SHAPE))
    kl, _ = kl_and_distortion(model, x, model.bottleneck.draw_noise(5, np.random.default_rng(2)))
    assert_close(kl, kl_divergence(*distributions(model, x)).numpy(), 1e-12)


@each_likelihood
@each_model
def test_rate_and_distortion_are_torch_ref_s_terms(name, likelihood):
    """With the same noise, the batch mean of each is the oracle's term plus the constant."""
    model, twin = new_model(name, likelihood)
    rng = np.random.default_rng(1)
    x, noise = rng.random((5, *SHAPE)), model.bottleneck.draw_noise(5, rng)
    kl, distortion = kl_and_distortion(model, x, noise)
    channels_first = noise if name == "vae" else noise.transpose(0, 3, 1, 2)
    with twin.evaluating(), torch.no_grad():
        _, terms = twin.loss(tensor(x.transpose(0, 3, 1, 2)), tensor(np.ascontiguousarray(channels_first)))
    assert kl.sum(axis=1).mean() == pytest.approx(terms["kl"].item(), rel=1e-12)
    constant = model.reconstruction.constant * x[0].size
    assert distortion.mean() == pytest.approx(terms["reconstruction"].item() + constant, rel=1e-12)


@each_likelihood
@each_model
def test_the_importance_weighted_bound(name, likelihood):
    """log-sum-exp over log p(x | z) + log p(z) − log q(z | x) by torch.distributions, z drawn with the same noise."""
    model, _ = new_model(name, likelihood)
    x, samples, log_w = np.random.default_rng(1).random((3, *SHAPE)), 6, []
    noises = list(itertools.islice(endless_noise(model.bottleneck, range(3)), samples))
    q, p = distributions(model, x)
    for noise in noises:
        with model.evaluating():
            z = model.bottleneck.draw(model.encoder.forward(x), noise)
            output = model.decoder.forward(model.bottleneck.decode(z))
        likelihoods = DISTRIBUTIONS[likelihood](tensor(output)).log_prob(tensor(x)).sum((1, 2, 3))
        z = tensor(z).reshape(3, -1)
        log_w.append(likelihoods + (p.log_prob(z) - q.log_prob(z)).sum(1))
    for count in (1, samples):
        expected = torch.stack(log_w[:count]).logsumexp(0) - np.log(count)
        assert_close(importance_weighted_bound(model, x, noises[:count]), expected.numpy(), 1e-12)


def test_the_linear_probe_s_loss_and_gradient():
    rng = np.random.default_rng(0)
    x, y, weights = rng.standard_normal((20, 5)), rng.integers(0, 3, 20), rng.standard_normal((6, 3))
    loss, gradient = loss_and_gradient(weights, x, y, 0.3)
    theirs = torch.tensor(weights, requires_grad=True)
    logits = torch.tensor(x) @ theirs[:-1] + theirs[-1]
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(y)) + 0.15 * (theirs[:-1] ** 2).sum()
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=1e-10, atol=1e-14)
