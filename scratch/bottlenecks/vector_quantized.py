"""The VQ-VAE's bottleneck: a grid of codes, the nearest ones to the encoder's features."""

import math

import numpy as np

from scratch.arrays import array_module
from scratch.bottlenecks.bottleneck import Bottleneck
from scratch.bottlenecks.codebook.health import CURES, check_cures, quantizer_for
from scratch.bottlenecks.grouped_quantizer import check_groups, choices_of, update_each
from scratch.bottlenecks.posterior import Posterior
from scratch.bottlenecks.vector_quantizer import (
    CODE_DIM,
    CODE_GROUPS,
    CODEBOOK_INIT,
    CODES,
    COMMITMENT,
    VectorQuantizer,
)
from scratch.layers import Conv2d
from scratch.module import Sequential
from scratch.options.option import Option, Real

DATA_VARIANCE = Option("data_variance", Real(0, included=False), 1.0,
                       "variance of the images, by which their mean squared error is divided")


class CertainPosterior(Posterior):
    """q is 1 at the code that was chosen and 0 elsewhere, and the prior is uniform, so klⱼ = log K.

    Nothing is random, and the rate is the same for every image: the cost of sending log₂ K bits for each position. With
    two levels the positions of both count. With G groups of codes each position counts G times.
    (van den Oord et al. 2017, arXiv:1711.00937, section 3.1)
    """

    varies = False

    def __init__(self, bottleneck, h):
        self.latents = bottleneck.encode(h)
        positions = sum(math.prod(grid.shape[1:]) for grid in bottleneck.by_level(self.latents).values())
        self.divergence = array_module(h).full((len(h), positions), math.log(bottleneck.codes), dtype=h.dtype)

    def kl(self):
        return self.divergence

    def draw(self, noise=None):
        return self.latents, -self.divergence.sum(axis=1)


class QuantizedBottleneck(Bottleneck):
    """What the VQ-VAE and the VQ-VAE-2 have in common: `quantizers`, one for each grid of codes, all of one kind."""

    options = (CODES, CODE_DIM, CODE_GROUPS, CODEBOOK_INIT, COMMITMENT, DATA_VARIANCE, *CURES)
    posterior_kind = CertainPosterior
    priors = ("code_frequencies",)
    needs_grid = True

    @classmethod
    def check(cls, options, given):
        check_cures(options, given)
        check_groups(options["code_groups"], options["code_dim"])

    @property
    def codes(self):
        return self.quantizers[0].codes

    @property
    def decodes_latents(self):
        return self.quantizers[0].decodes_latents

    @property
    def moves(self):
        return self.quantizers[0].moves

    @property
    def chooses(self):
        return self.quantizers[0].chooses

    @property
    def prepared_from(self):
        return self.quantizers[0].prepared_from

    def posterior(self, h):
        return CertainPosterior(self, h)

    def vectors(self, latent):
        grids = self.by_level(latent).values()
        found = [quantizer.lookup(k).reshape(len(k), -1) for quantizer, k in zip(self.quantizers, grids, strict=True)]
        return array_module(found[0]).concatenate(found, axis=1)

    def prepare(self, features, rng):
        for _, quantizer, latents in self.stages():
            quantizer.prepare([latents(h) for h in features], rng)

    def draw_choices(self, rng):
        return choices_of(self.quantizers, rng)

    def update(self, choices=None):
        update_each(self.quantizers, choices)


def reconstruction_weight(image_shape, options):
    """{"reconstruction": weight}. It turns the squared error of an image into a mean over its elements, divided by the
    variance of the data. A model that returns the mean image for every image then has a loss of 1.

    The VQ-VAE's recipes average each term over elements; the weights here and in `code_weights` do the same.
    """
    return {"reconstruction": 1 / (math.prod(image_shape) * options["data_variance"])}


def code_weights(positions, options):
    """{term: weight} of a quantizer with this number of positions in its grid."""
    latent_elements = positions * options["code_dim"]
    weights = {"commitment": options["commitment"] / latent_elements}
    if options["codebook_update"] == "gradient":
        weights["codebook"] = 1 / latent_elements
    if options["entropy_weight"]:
        weights["entropy_gap"] = options["entropy_weight"]
    return weights


class VectorQuantizedBottleneck(QuantizedBottleneck, system="vqvae"):
    """z = 1×1 convolution of h to D channels,   q = VectorQuantizer(z),   y = 1×1 convolution of q back to C channels.

    Shapes: h, y (N, H, W, C), z, q (N, H, W, D), indices (N, H, W): an image is a grid of H·W codes.
    With G codebooks (grouped_quantizer.py) indices are (N, H, W, G): an image has H·W·G codes.
    The terms and the straight-through gradient ∂L/∂z are those of VectorQuantizer. `quantizer` makes the quantizer: it
    is that class, or one with cures for unused codes (codebook/health.py).
    With expand=False y is q itself, (N, H, W, D), for a decoder that takes the code vectors.
    (van den Oord et al. 2017, arXiv:1711.00937)
    """

    gives_codes = True

    def __init__(self, feature_shape, codes, code_dim, init="uniform", quantizer=VectorQuantizer, *, expand=True,
                 dtype=np.float32, rng=None):
        H, W, C = feature_shape
        self.positions = H * W
        self.project = Conv2d(C, code_dim, 1, dtype=dtype, rng=rng)
        self.quantizer = quantizer(codes, code_dim, init, dtype=dtype, rng=rng)
        self.expand = Conv2d(code_dim, C, 1, dtype=dtype, rng=rng) if expand else Sequential()

    @classmethod
    def build(cls, around, options, *, dtype, rng):
        return cls(around.shape, options["codes"], options["code_dim"], options["codebook_init"],
                   quantizer_for(options), expand=not around.takes_codes, dtype=dtype, rng=rng)

    def weights(self, image_shape, options):
        return {**reconstruction_weight(image_shape, options), **code_weights(self.positions, options)}

    @property
    def quantizers(self):
        return (self.quantizer,)

    @property
    def indices(self):
        return self.quantizer.indices

    def stages(self):
        return [(self.project, self.quantizer, self.project.forward)]

    def forward(self, h, noise=None):
        z = self.project.forward(h)
        q, terms = self.quantizer.forward(z)
        return self.expand.forward(q), terms

    def backward(self, dy, dterms):
        dq = self.expand.backward(dy)
        dz = self.quantizer.backward(dq, dterms)
        return self.project.backward(dz)

    def encode(self, h):
        return self.quantizer.nearest(self.project.forward(h))

    def decode(self, indices):
        return self.expand.forward(self.quantizer.lookup(indices))

    def mix(self, a, b, t):
        return self.quantizer.mix(a, b, t)
