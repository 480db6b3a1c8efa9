"""The VQ-VAE-2's bottleneck: Razavi et al. (arXiv:1906.00446)."""

import math

import numpy as np
import torch
from torch import nn

from torch_ref.bottlenecks.bottleneck import Bottleneck
from torch_ref.bottlenecks.grouped_quantizer import quantizer_for
from torch_ref.bottlenecks.vector_quantized import mean_squared_error_weight
from torch_ref.bottlenecks.vector_quantizer import VectorQuantizer
from torch_ref.options import number


class TwoLevelBottleneck(Bottleneck, system="vqvae2"):
    """The top's codes on a grid of half the side, and the bottom's, which are chosen given the top's.

    A latent is the list [top (N, H/2, W/2), bottom (N, H, W)]. Terms have the level's name behind their own.
    Each level has a quantizer of its own. Raises ValueError where the grid has an odd side.
    """

    halvings_inside = 1
    needs_grid = has_codes = True
    options = {"data_variance": number(1.0, above=True)}

    def __init__(self, feature_shape, top_channels, codes, code_dim, init, quantizer=VectorQuantizer, *, dtype):
        super().__init__()
        channels, *self.grid = feature_shape
        if any(side % 2 for side in self.grid):
            raise ValueError(f"two levels of codes halve the encoder's grid once more, and its "
                             f"{self.grid[0]}×{self.grid[1]} cannot be halved")
        self.top_encoder = nn.Sequential(
            nn.Conv2d(channels, top_channels, 4, stride=2, padding=1, dtype=dtype),
            nn.ReLU(),
            nn.Conv2d(top_channels, code_dim, 1, dtype=dtype),
        )
        self.top_quantizer = quantizer(codes, code_dim, init, dtype)
        self.top_decoder = nn.ConvTranspose2d(code_dim, code_dim, 4, stride=2, padding=1, dtype=dtype)
        self.project = nn.Conv2d(channels + code_dim, code_dim, 1, dtype=dtype)
        self.bottom_quantizer = quantizer(codes, code_dim, init, dtype)
        self.upsample = nn.ConvTranspose2d(code_dim, code_dim, 4, stride=2, padding=1, dtype=dtype)
        self.expand = nn.Conv2d(2 * code_dim, channels, 1, dtype=dtype)

    @classmethod
    def declared(cls):
        return super().declared() | VectorQuantizer.declared()

    @classmethod
    def from_options(cls, options, ends, dtype):
        return cls(ends.feature_shape, ends.next_channels, options["codes"], options["code_dim"],
                   options["codebook_init"], quantizer_for(options), dtype=dtype)

    def weights(self, options, image_shape):
        weights, positions = mean_squared_error_weight(options, image_shape), math.prod(self.grid)
        for level, quantizer, count in (
            ("top", self.top_quantizer, positions // 4), ("bottom", self.bottom_quantizer, positions),
        ):
            weights |= {f"{name}_{level}": weight for name, weight in quantizer.weights(options, count).items()}
        return weights

    @property
    def indices(self):
        return [self.top_quantizer.indices, self.bottom_quantizer.indices]

    @property
    def codes(self):
        return self.top_quantizer.codes

    @property
    def prepared_from(self):
        return self.top_quantizer.prepared_from

    def prepare(self, features, rng):
        self.top_quantizer.prepare([self.top_encoder(h) for h in features], rng)
        tops = [self.top_quantizer.lookup(self.top_quantizer.nearest(self.top_encoder(h))) for h in features]
        self.bottom_quantizer.prepare([self.bottom_latents(h, top) for h, top in zip(features, tops, strict=True)], rng)

    def draw_choices(self, rng):
        top, bottom = self.top_quantizer.draw_choices(rng), self.bottom_quantizer.draw_choices(rng)
        return None if top is None else np.concatenate([top, bottom])

    def update(self, choices=None):
        sizes = [indices.numel() for indices in self.indices]
        of_top, of_bottom = (None, None) if choices is None else choices.split(sizes)
        self.top_quantizer.update(of_top)
        self.bottom_quantizer.update(of_bottom)

    def by_level(self, codes):
        top, bottom = codes
        return {"top": top, "bottom": bottom}

    def forward(self, h, noise=None):
        top, top_terms = self.top_quantizer(self.top_encoder(h))
        bottom, bottom_terms = self.bottom_quantizer(self.bottom_latents(h, top))
        terms = {f"{name}_top": term for name, term in top_terms.items()}
        terms |= {f"{name}_bottom": term for name, term in bottom_terms.items()}
        return self.features(top, bottom), terms

    def bottom_latents(self, h, top):
        return self.project(torch.cat([h, self.top_decoder(top)], dim=1))

    def features(self, top, bottom):
        return self.expand(torch.cat([bottom, self.upsample(top)], dim=1))

    def encode(self, h):
        top = self.top_quantizer.nearest(self.top_encoder(h))
        return [top, self.bottom_quantizer.nearest(self.bottom_latents(h, self.top_quantizer.lookup(top)))]

    def decode(self, codes):
        top, bottom = codes
        return self.features(self.top_quantizer.lookup(top), self.bottom_quantizer.lookup(bottom))

    def mix(self, a, b, t):
        return [self.top_quantizer.mix(a[0], b[0], t), self.bottom_quantizer.mix(a[1], b[1], t)]
