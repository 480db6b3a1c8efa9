"""q(z | x) beside the prior p(z), system by system: the KL of each of its dimensions, and draws with what they weigh.

`posterior(model, x)` has, for a model in evaluation mode and images x (N, H, W, C):

    kl()         (N, D)           KL(q(z_j | x) ‖ p(z_j)) of each dimension j, in nats; their sum is the rate
    draw(noise)  latents, (N,)    z ~ q(z | x) as the decoder takes it, and log p(z) − log q(z | x) of that z

A dimension is a number of the VAE's z, or a position in a grid of codes. docs/instruments.md says what the KL tells.
"""

import math

from scratch.arrays import array_module, to_host
from scratch.bottlenecks import (
    GaussianBottleneck,
    GumbelSoftmaxBottleneck,
    TwoLevelBottleneck,
    VectorQuantizedBottleneck,
)
from scratch.bottlenecks.gaussian import gaussian_kl
from scratch.bottlenecks.gumbel_softmax import LEAST_LOG_RATIO, above_uniform, log_ratio, perturbed
from scratch.options.errors import InputError


class Gaussian:
    """The VAE's: q = N(μ, σ²) with logvar = log σ², and p = N(0, I).

        KL_j = ½ (μ_j² + σ_j² − 1 − log σ_j²)
        log p(z) − log q(z | x) = ½ Σ_j (ε_j² + log σ_j² − z_j²)    with z = μ + σε, in which both ½ log 2π cancel
    """

    def __init__(self, bottleneck, h):
        self.reparameterize = bottleneck.reparameterize
        self.mu, self.logvar = bottleneck.posterior(h)

    def kl(self):
        return gaussian_kl(self.mu, self.logvar)

    def draw(self, eps):
        z = self.reparameterize.forward(self.mu, self.logvar, eps)
        return z, 0.5 * (eps * eps + self.logvar - z * z).sum(axis=1)


class Categorical:
    """The dVAE's: at each of the D positions q = softmax(a) over K codes, and p the uniform distribution.

        KL_j = Σₖ q_jk (log q_jk + log K)        log p(z) − log q(z | x) = −Σ_j (log q_j,z_j + log K)

    A draw is the code of argmaxₖ (a + g) with Gumbel noise g.
    """

    def __init__(self, bottleneck, h):
        self.a = bottleneck.project.forward(h)
        self.log_ratio = log_ratio(self.a)

    def kl(self):
        ratio = array_module(self.a).maximum(self.log_ratio, LEAST_LOG_RATIO)
        return above_uniform(ratio).mean(axis=-1).reshape(len(ratio), -1)

    def draw(self, g):
        xp, indices = array_module(self.a), perturbed(self.a, g).argmax(axis=-1)
        drawn = xp.take_along_axis(self.log_ratio, indices[..., None], axis=-1)
        return indices, -drawn.reshape(len(drawn), -1).sum(axis=1)


class Certain:
    """The VQ-VAE's: q is 1 at the code that was chosen and 0 elsewhere, and p is uniform, so that KL_j = log K.

    (van den Oord et al. 2017, arXiv:1711.00937, section 3.1.) Nothing is drawn, and the rate is the same for every
    image: the ELBO is that of a code sent with log₂ K bits a position. Of two levels the positions of both count.
    """

    def __init__(self, bottleneck, h):
        self.latents = bottleneck.encode(h)
        positions = sum(math.prod(grid.shape[1:]) for grid in bottleneck.by_level(self.latents).values())
        self.divergence = array_module(h).full((len(h), positions), math.log(bottleneck.codes), dtype=h.dtype)

    def kl(self):
        return self.divergence

    def draw(self, noise=None):
        return self.latents, -self.divergence.sum(axis=1)


NONE = "the code of an ae is no random variable with a prior, so that it has neither a rate nor an ELBO."

POSTERIORS = {
    GaussianBottleneck: Gaussian,
    GumbelSoftmaxBottleneck: Categorical,
    VectorQuantizedBottleneck: Certain,
    TwoLevelBottleneck: Certain,
}


def posterior_class(model):
    """The class above of a model's posterior; None of a model that has none, as the AE."""
    fitting = (found for bottleneck, found in POSTERIORS.items() if isinstance(model.bottleneck, bottleneck))
    return next(fitting, None)


def posterior(model, x):
    """q(z | x) of images x. Raises InputError where the model has no such thing."""
    if (found := posterior_class(model)) is None:
        raise InputError(NONE)
    return found(model.bottleneck, model.encoder.forward(x))


def gaussian_posteriors(trained, images):
    """(μ, logvar), each (N, Z), of a VAE's posteriors of all images (uint8, or floats in [0, 1]), on the host.

    The means alone are trained.encode(images).
    """

    def of_batch(x):
        with trained.model.evaluating():
            q = posterior(trained.model, x)
            return [to_host(q.mu), to_host(q.logvar)]

    return tuple(trained.in_batches(of_batch, images))
