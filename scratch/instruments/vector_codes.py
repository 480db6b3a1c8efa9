"""The vector codes of an AE or a VAE, z or μ (N, Z), as a space: its scale, its directions, ways and sums in it."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from scratch.arrays import unwarned
from scratch.bottlenecks.gaussian import gaussian_kl
from scratch.instruments.posteriors import gaussian_posteriors, is_gaussian
from scratch.options.errors import InputError


@dataclass(frozen=True)
class CodeSpace:
    """Codes (N, Z) of images, and of each dimension (Z,) its importance, and where 0 and 1 are in it: centre, scale.

    Of a VAE importance is the mean KL in nats, and a dimension is measured in the prior's units: centre 0, scale 1.
    An AE has no prior: importance is the variance of the codes, and a dimension is measured in its codes' standard
    deviations from their mean. `unit` is how a picture writes an importance.
    """

    codes: np.ndarray
    importance: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    unit: str
    has_prior: bool

    @property
    def units(self):
        """What a dimension is measured in, in words."""
        return "of the prior's units" if self.has_prior else "standard deviations of its codes"

    def most_important(self, count):
        """The numbers of the `count` most important dimensions, the most important first; all where there are fewer."""
        return np.argsort(-self.importance, kind="stable")[:count]


def check_vector_code(trained, what):
    """Raises InputError where a model's code is a grid of indices, of which there are no sums."""
    trained.needs_images(what)
    if trained.codes:
        raise InputError(f"{what} needs a code that is a vector, and that of a {trained.options['model']} is a grid of "
                         f"indices: name a run of ae or vae.")


def code_space(trained, images):
    """CodeSpace of images (uint8). Raises InputError for a model whose code is no vector."""
    check_vector_code(trained, "a direction")
    if is_gaussian(trained.model):
        mu, logvar = gaussian_posteriors(trained, images)
        with unwarned():
            kl = gaussian_kl(mu, logvar).mean(axis=0, dtype=np.float64)
        trained.check_finite(kl)
        Z = mu.shape[1]
        return CodeSpace(mu, kl, np.zeros(Z), np.ones(Z), "KL {:.2f}", True)
    z = trained.encode(images)
    mean, variance = z.mean(axis=0, dtype=np.float64), z.var(axis=0, dtype=np.float64)
    return CodeSpace(z, variance, mean, np.sqrt(variance), "var {:.2g}", False)


def traversal(code, space, dimension, span, steps):
    """(steps, Z): the code (Z,) of an image with one dimension led from −span to span in its units, all others kept."""
    codes = np.repeat(code[None], steps, axis=0)
    codes[:, dimension] = space.centre[dimension] + space.scale[dimension] * np.linspace(-span, span, steps)
    return codes


def grid_of_codes(space, steps=16):
    """(steps, steps, 2): codes of two numbers at evenly spaced quantiles of the prior, or of a Gaussian fitted to an
    AE's codes; upwards and to the right."""
    quantiles = [NormalDist().inv_cdf((step + 0.5) / steps) for step in range(steps)]
    return space.centre + space.scale * np.stack(np.meshgrid(quantiles, quantiles[::-1]), axis=-1)


def bilinear(corners, steps):
    """(steps, steps, Z): codes between those (4, Z) of four corners, top left, top right, bottom left, bottom right.

        z(s, t) = (1 − s) ((1 − t) z₀ + t z₁) + s ((1 − t) z₂ + t z₃)        0 ≤ s, t ≤ 1, s down and t to the right
    """
    t = np.linspace(0, 1, steps, dtype=corners.dtype)
    across = np.stack([1 - t, t])  # (2, steps)
    return np.einsum("ai,bj,abz->ijz", across, across, corners.reshape(2, 2, -1))


def mean_difference(codes, values, start, end):
    """(Z,): the mean code of the images (N,) whose value is `end` minus that of those where it is `start`.

    Added to the code of an image of `start` it should make it one of `end`, if the decoder takes sums as it takes
    codes: nothing in training asks for that. (Mikolov et al. 2013, arXiv:1310.4546, of words; Larsen et al. 2016,
    arXiv:1512.09300, of images)
    """
    return codes[values == end].mean(axis=0) - codes[values == start].mean(axis=0)
