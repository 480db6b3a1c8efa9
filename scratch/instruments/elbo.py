"""Rate, distortion and their sum, the negative ELBO, of each image; bits per dimension; active units.

    rate        KL(q(z | x) ‖ p(z))          what the code says of the image
    distortion  −log p(x | z)                what is then left to say; z is drawn from q(z | x), never its mean
    ELBO        −(rate + distortion) ≤ log p(x) on average over z

All in nats, and whatever weight the KL had in training: a β-VAE is trained on another objective, and judged by this
one. (Kingma & Welling 2014, arXiv:1312.6114; Alemi et al. 2018, arXiv:1711.00464; docs/instruments.md)
"""

import math
from dataclasses import dataclass

import numpy as np

from scratch.arrays import to_device
from scratch.instruments.posteriors import posterior
from scratch.training.held_out import HELD_OUT_SEED

ACTIVE = 0.01  # the variance of a posterior mean over images above which a unit counts as active


@dataclass
class RateDistortion:
    """Of N images: kl (N, D) dimension by dimension, distortion (N,), rate (N,) and elbo (N,); NumPy, float64."""

    kl: np.ndarray
    distortion: np.ndarray

    @property
    def rate(self):
        return self.kl.sum(axis=1)

    @property
    def elbo(self):
        return -(self.rate + self.distortion)


def distortion(model, latents, x):
    """−log p(x | z) of each image, (N,), with the likelihood's constant. For a model in evaluation mode."""
    output = model.decoder.forward(model.bottleneck.decode(latents))
    return model.reconstruction.negative_log_likelihood(output, x)


def kl_and_distortion(model, x, noise):
    """[KL of each dimension (N, D), distortion (N,)] of images x, with z drawn by means of the noise."""
    with model.evaluating():
        q = posterior(model, x)
        latents, _ = q.draw(noise)
        return [q.kl(), distortion(model, latents, x)]


def rate_distortion(trained, images):
    """RateDistortion of held-out images (uint8), each with the noise that its held-out loss is computed with."""
    rng, bottleneck = np.random.default_rng(HELD_OUT_SEED), trained.model.bottleneck

    def of_batch(x):
        noise = bottleneck.draw_noise(len(x), rng)
        return kl_and_distortion(trained.model, x, None if noise is None else to_device(noise, trained.device))

    kl, distortions = trained.in_batches(of_batch, images)
    return RateDistortion(kl.astype(np.float64), distortions.astype(np.float64))


def bits_per_dimension(log_likelihood, likelihood, image_shape):
    """What each number of an image costs in bits, by log p(x) in nats or a bound on it.

    Let D be the numbers in an image, H·W·C. A probability of binary pixels, the Bernoulli's, costs

        −log p(x) / (D log 2)

    bits. A density has to say first how finely x is to be told. Pixels are k/255 with k = 0 … 255, so that each stands
    for an interval of width 1/255, whose probability is p(x)/255 for each of the D numbers, and costs

        −log p(x) / (D log 2) + log₂ 255

    bits. This is what the literature gives as bits per dimension of 8-bit images, where pixels are k/256 and log₂ 256
    bits are added: in that unit the density is 256/255 times as large, and 256 equally probable greys cost 8 bits in
    either. Without the second term the figure is that of a density on [0, 1]; it can be negative, and has no meaning
    beside one of pixels on another scale.

    The density is taken at k/255 instead of averaged over the interval. Where it hardly changes within a grey level
    that is the same; a density with spikes narrower than that can be flattered without end (Theis et al. 2016,
    arXiv:1511.01844).
    """
    bits = -log_likelihood / (math.prod(image_shape) * math.log(2))
    return bits + math.log2(255) if likelihood.is_density else bits


def active_units(means):
    """Which of a VAE's units are active: whose posterior mean μ_j(x) varies over images by Var_x(μ_j) > 0.01.

    Shapes: means (N, Z), the answer (Z,). (Burda et al. 2016, arXiv:1509.00519, section 5.2)
    """
    return means.var(axis=0, dtype=np.float64) > ACTIVE
