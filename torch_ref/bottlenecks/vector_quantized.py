"""The VQ-VAE's bottleneck: van den Oord et al. (arXiv:1711.00937)."""

import math

from torch import nn

from torch_ref.bottlenecks.bottleneck import Bottleneck
from torch_ref.bottlenecks.grouped_quantizer import quantizer_for
from torch_ref.bottlenecks.vector_quantizer import VectorQuantizer
from torch_ref.options import number


def mean_squared_error_weight(options, image_shape):
    """Of the sum over an image: a mean over elements, divided by the variance of the data."""
    return {"reconstruction": 1 / math.prod(image_shape) / options["data_variance"]}


class VectorQuantizedBottleneck(Bottleneck, system="vqvae"):
    """1×1 convolution to code_dim channels, VectorQuantizer, 1×1 convolution back. A latent is a grid of indices.

    Without `expand` the code vectors go to the decoder as they are.
    """

    needs_grid = has_codes = True
    options = {"data_variance": number(1.0, above=True)}

    def __init__(self, feature_shape, codes, code_dim, init, quantizer=VectorQuantizer, *, expand=True, dtype):
        super().__init__()
        channels, *self.grid = feature_shape
        self.project = nn.Conv2d(channels, code_dim, 1, dtype=dtype)
        self.quantizer = quantizer(codes, code_dim, init, dtype)
        self.expand = nn.Conv2d(code_dim, channels, 1, dtype=dtype) if expand else nn.Identity()

    @classmethod
    def declared(cls):
        return super().declared() | VectorQuantizer.declared()

    @classmethod
    def code_channels(cls, options):
        return options["code_dim"]

    @classmethod
    def from_options(cls, options, ends, dtype):
        return cls(ends.feature_shape, options["codes"], options["code_dim"], options["codebook_init"],
                   quantizer_for(options), expand=not ends.takes_codes, dtype=dtype)

    def weights(self, options, image_shape):
        of_codes = self.quantizer.weights(options, math.prod(self.grid))
        return mean_squared_error_weight(options, image_shape) | of_codes

    @property
    def indices(self):
        return self.quantizer.indices

    @property
    def codes(self):
        return self.quantizer.codes

    @property
    def prepared_from(self):
        return self.quantizer.prepared_from

    def prepare(self, features, rng):
        self.quantizer.prepare([self.project(h) for h in features], rng)

    def draw_choices(self, rng):
        return self.quantizer.draw_choices(rng)

    def update(self, choices=None):
        self.quantizer.update(choices)

    def forward(self, h, noise=None):
        q, terms = self.quantizer(self.project(h))
        return self.expand(q), terms

    def encode(self, h):
        return self.quantizer.nearest(self.project(h))

    def decode(self, indices):
        return self.expand(self.quantizer.lookup(indices))

    def mix(self, a, b, t):
        return self.quantizer.mix(a, b, t)
