"""A lower bound on log p(x) that rises with the number of samples, by importance weighting.

    L_M = log( (1/M) Σₘ ρₘ ),    ρₘ = p(x | zₘ) p(zₘ) / q(zₘ | x),    zₘ ~ q(z | x)

On average L_1 is the ELBO, L_M ≤ L_{M+1} ≤ log p(x), and L_M → log p(x) as M → ∞ where the weights ρ are bounded. The
better q fits the true posterior, the sooner. (Burda et al. 2016, arXiv:1509.00519)

The weights are as small as e^−1000 and less, so the program holds their logarithms, and of these only the logarithm of
the sum so far: memory does not grow with M. The sum is kept in float64. There a weight of a thousandth of the sum still
changes a logarithm in the thousands.
"""

import itertools
import math

import numpy as np

from scratch.arrays import array_module, generator, to_device, to_host
from scratch.instruments.elbo import distortion
from scratch.instruments.posteriors import posterior
from scratch.training.held_out import HELD_OUT_SEED


def importance_weighted_bound(model, x, noises):
    """L_M of each image, (N,) float64, for M draws of noise, one after the other, each for all images.

    Raises InputError for a model without a posterior.
    """
    xp, total, count = array_module(x), None, 0
    with model.evaluating():
        q = posterior(model, x)
        for noise in noises:
            latents, log_ratio = q.draw(noise)
            log_rho = log_ratio.astype(xp.float64) - distortion(model, latents, x)
            total = log_rho if total is None else xp.logaddexp(total, log_rho)
            count += 1
    return total - math.log(count)


def endless_noise(bottleneck, numbers):
    """Yields noise (N, …) for one draw of each held-out image of these numbers, without end.

    Each image has its own stream. So its draws do not depend on its batch, and the first M draws of 2M are those of M.
    """
    streams = [generator(np, HELD_OUT_SEED, number) for number in numbers]
    while True:
        yield np.concatenate([bottleneck.draw_noise(1, stream) for stream in streams])


def importance_weighted_bounds(trained, images, samples):
    """L_M of each of the stored held-out images, (N,), with M = samples."""
    def of_batch(inputs):
        x, numbers = inputs
        noises = endless_noise(trained.model.bottleneck, to_host(numbers))
        on_device = (to_device(noise, trained.device) for noise in itertools.islice(noises, samples))
        return importance_weighted_bound(trained.model, x, on_device)

    return trained.in_batches(of_batch, [images, np.arange(len(images))])
