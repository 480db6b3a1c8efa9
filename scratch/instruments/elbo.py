"""Rate, distortion and their sum, the negative ELBO, of each image; bits per dimension; active units.

    rate        KL(q(z | x) ‖ p(z))          what the code costs; z is drawn from q(z | x)
    distortion  −log p(x | z)                what the image still costs, given the code
    ELBO        −(rate + distortion)         on average over z at most log p(x)

The mean rate over the images is I(x; z) + KL(q(z) ‖ p(z)), where q(z) is the mean of all q(z | x). So it is an upper
bound of I(x; z), the information of the code about the image. All are in nats; a nat is 1/log 2 = 1.44 bits. The KL
counts with weight 1, whatever its weight in training: a β-VAE is trained on another objective, and measured by this
one.
(Kingma & Welling 2014, arXiv:1312.6114; Alemi et al. 2018, arXiv:1711.00464; docs/reference/instruments.md)
"""

import math
from dataclasses import dataclass

import numpy as np

from scratch.instruments.posteriors import posterior
from scratch.training.held_out import HELD_OUT_SEED

ACTIVE = 0.01  # the variance of a posterior mean over images above which a unit counts as active


@dataclass
class RateDistortion:
    """Of N images: kl (N, Z) dimension by dimension, distortion (N,), rate (N,) and elbo (N,); NumPy, float64."""

    kl: np.ndarray
    distortion: np.ndarray

    @property
    def rate(self):
        return self.kl.sum(axis=1)

    @property
    def elbo(self):
        return -(self.rate + self.distortion)


def distortion(model, latents, x):
    """−log p(x | z) of each image, (N,), with the likelihood's constant, of a model in evaluation mode."""
    output = model.decoder.forward(model.bottleneck.decode(latents))
    return model.reconstruction.negative_log_likelihood(output, x)


def kl_and_distortion(model, x, noise):
    """[KL of each dimension (N, Z), distortion (N,)] of images x, with z drawn from the noise. Raises InputError for a
    model without a posterior."""
    with model.evaluating():
        return kl_and_distortion_of(model, posterior(model, x), x, noise)


def kl_and_distortion_of(model, q, x, noise):
    """The same from the posterior q of the images, of a model in evaluation mode."""
    latents, _ = q.draw(noise)
    return [q.kl(), distortion(model, latents, x)]


def rate_distortion(trained, images):
    """RateDistortion of stored held-out images, each with the noise of its held-out loss. Raises InputError for a model
    without a posterior."""
    rng, bottleneck = np.random.default_rng(HELD_OUT_SEED), trained.model.bottleneck
    found = trained.in_batches(lambda x, noise: kl_and_distortion(trained.model, x, noise), images,
                               lambda count: bottleneck.draw_noise(count, rng))
    return RateDistortion(*(array.astype(np.float64) for array in found))


def bits_per_dimension(log_likelihood, likelihood, image_shape):
    """The bits that each number of an image costs, from log p(x) in nats or a bound on it.

    Let D = H·W·C be the numbers in an image. A probability of values costs

        −log p(x) / (D log 2)

    bits, whether the values are two, as the Bernoulli's, or the 256 of the discretized logistic and the categorical
    likelihood. A density needs a precision of x first. Pixels are k/255 with k = 0 … 255, so each stands for an
    interval of width 1/255. Its probability is p(x)/255 for each of the D numbers, and costs

        −log p(x) / (D log 2) + log₂ 255

    bits. The literature's bits per dimension of 8-bit images mean the same: there pixels are k/256 and log₂ 256 bits
    are added, but the density is 256/255 times as large. 256 equally probable greys cost 8 bits in either. Without the
    second term the figure is that of a density on [0, 1]. It can be negative, and figures of pixels on different scales
    cannot be compared.

    The density is taken at k/255 instead of averaged over the interval. Where it hardly changes within a grey level,
    both are the same. A density with narrower spikes can make the figure arbitrarily small (Theis et al. 2016,
    arXiv:1511.01844).
    """
    bits = -log_likelihood / (math.prod(image_shape) * math.log(2))
    return bits + math.log2(255) if likelihood.is_density else bits


def active_units(means):
    """Is each of a VAE's units active? A unit j is active where its posterior mean has Var_x(μ_j(x)) > 0.01.

    Shapes: means (N, Z), the answer (Z,). A unit whose mean stands still is not active, but it may still say something
    about the image through its σ. (Burda et al. 2016, arXiv:1509.00519, section 5.2)
    """
    return means.var(axis=0, dtype=np.float64) > ACTIVE
