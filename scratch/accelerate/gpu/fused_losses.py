"""The likelihoods of losses.py with one kernel a formula, and the weighted sum of a model's terms as one."""

import math

from scratch.accelerate.gpu.fused import fused
from scratch.arrays import array_module
from scratch.layers.activation import sigmoid
from scratch.losses import BernoulliFromLogits, Gaussian, LogitLaplace, SquaredError
from scratch.models.autoencoder import Autoencoder


@fused
def squared_difference(y, x):
    """((y − x)², y − x)"""
    difference = y - x
    return difference * difference, difference


class FusedSquaredError(SquaredError):
    """SquaredError, its elements one kernel."""

    def elements(self, y, x):
        self.check(y, x)
        squares, difference = squared_difference(y, x)
        self.save(difference)
        return squares


@fused
def gaussian(y, x, log_sigma):
    """(nats of each element, (y − x)/σ)."""
    deviation = (y - x) * array_module(y).exp(-log_sigma)
    return 0.5 * deviation * deviation + (log_sigma + 0.5 * math.log(2 * math.pi)), deviation


class FusedGaussian(Gaussian):
    """Gaussian, its elements one kernel, but for log σ."""

    def elements(self, y, x):
        self.check(y, x)
        log_sigma = self.clipped()
        nats, deviation = gaussian(y, x, log_sigma)
        self.save(deviation, log_sigma)
        return nats


@fused
def bernoulli(a, x):
    """Nats of each element, from logits a."""
    xp = array_module(a)
    return xp.maximum(a, 0) - a * x + xp.log1p(xp.exp(-xp.abs(a)))


@fused
def bernoulli_backward(a, x, scale):
    """(σ(a) − x) · scale."""
    return (sigmoid(a) - x) * scale


class FusedBernoulliFromLogits(BernoulliFromLogits):
    """BernoulliFromLogits, elements and backward one kernel each."""

    def elements(self, a, x):
        self.check(a, x)
        self.save(a, x)
        return bernoulli(a, x)

    def backward(self, dL=1.0):
        a, x = self.recall()
        return bernoulli_backward(a, x, dL / len(a))


@fused
def logit_laplace(mu, s, x):
    """(nats of each element, its deviation from μ in units of b, log b)."""
    xp, epsilon = array_module(x), LogitLaplace.EPSILON
    x = (1 - 2 * epsilon) * x + epsilon
    log_b = xp.logaddexp(s, LogitLaplace.LOG_LEAST_SCALE)
    deviation = (xp.log(x / (1 - x)) - mu) * xp.exp(-log_b)
    return math.log(2) + log_b + xp.log(x * (1 - x)) + xp.abs(deviation), deviation, log_b


@fused
def logit_laplace_backward(deviation, log_b, s, scale):
    """(∂L/∂μ, ∂L/∂s)."""
    xp = array_module(s)
    dmu = -xp.sign(deviation) * xp.exp(-log_b) * scale
    return dmu, (1 - xp.abs(deviation)) * xp.exp(s - log_b) * scale


class FusedLogitLaplace(LogitLaplace):
    """LogitLaplace, its elements one kernel, its backward one and the joining of both gradients."""

    def elements(self, output, x):
        self.check(output, x)
        mu, s = self.parts(output)
        nats, deviation, log_b = logit_laplace(mu, s, x)
        self.save(deviation, log_b, s)
        return nats

    def backward(self, dL=1.0):
        deviation, log_b, s = self.recall()
        gradients = logit_laplace_backward(deviation, log_b, s, dL / len(s))
        return array_module(s).concatenate(gradients, axis=-1)


@fused
def weighted_sum(*terms_and_weights):
    """Σ weight · term, given all terms and then all weights."""
    count = len(terms_and_weights) // 2
    terms, weights = terms_and_weights[:count], terms_and_weights[count:]
    return sum(weight * term for term, weight in zip(terms, weights, strict=True))


class FusedAutoencoder(Autoencoder):
    """Autoencoder, the sum of its weighted terms one kernel."""

    def loss(self, x, noise=None):
        output, terms = self.forward(x, noise)
        terms = {"reconstruction": self.reconstruction.loss(output, x), **terms}
        return weighted_sum(*terms.values(), *(self.weights[name] for name in terms)), terms


FORMS = {
    SquaredError: FusedSquaredError, Gaussian: FusedGaussian, BernoulliFromLogits: FusedBernoulliFromLogits,
    LogitLaplace: FusedLogitLaplace, Autoencoder: FusedAutoencoder,
}
