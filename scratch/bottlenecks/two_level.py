"""The VQ-VAE-2's bottleneck: a coarse grid of codes for the image as a whole, and a finer one that depends on it."""

import numpy as np

from scratch.bottlenecks.bottleneck import level_name
from scratch.bottlenecks.codebook.health import quantizer_for
from scratch.bottlenecks.vector_quantized import QuantizedBottleneck, code_weights, reconstruction_weight
from scratch.bottlenecks.vector_quantizer import VectorQuantizer
from scratch.layers import Concatenate, Conv2d, ConvTranspose2d, ReLU
from scratch.module import Sequential
from scratch.options.errors import InputError


class TwoLevelBottleneck(QuantizedBottleneck, system="vqvae2"):
    """Two grids of codes, the bottom one conditioned on the top one.       (Razavi et al. 2019, arXiv:1906.00446)

        z_top = 1×1 conv(relu(conv(h)))               half as many rows and columns as h
        q_top = VectorQuantizer(z_top)
        z_bottom = 1×1 conv([h, up(q_top)])           the bottom codes what the top leaves out
        q_bottom = VectorQuantizer(z_bottom)
        y = 1×1 conv([q_bottom, up′(q_top)])

    up and up′ are transposed convolutions with weights of their own, [·, ·] joins channels. conv halves the grid and up
    and up′ double it, with kernel 4 and stride 2.
    Shapes: h, y (N, H, W, C) with even H and W, top (N, H/2, W/2), bottom (N, H, W). A latent is [top, bottom], a list.
    Each level has its own codebook (K, D) and its own terms: codebook_top, commitment_top, codebook_bottom and
    commitment_bottom. `quantizer` makes the quantizer of a level.

    q_top and h are each used twice, so each of their gradients is a sum of two:

        ∂L/∂q_top = up′.backward(∂L/∂up′) + up.backward(∂L/∂up)
        ∂L/∂h = (first channels of ∂L/∂[h, up]) + ∂L/∂z_top through the top encoder

    Each quantizer's straight-through estimator passes ∂L/∂q on to ∂L/∂z.
    """

    levels = ("top", "bottom")
    halvings_inside = 1

    def __init__(self, feature_shape, top_channels, codes, code_dim, init="uniform", quantizer=VectorQuantizer, *,
                 dtype=np.float32, rng=None):
        H, W, C = feature_shape
        if H % 2 or W % 2:
            raise InputError(f"two levels of codes halve the encoder's grid once more, but its sides {H}×{W} are not "
                             f"both even: choose another image size.")
        self.positions = (H // 2 * (W // 2), H * W)
        settings = dict(dtype=dtype, rng=rng)
        halving = dict(kernel_size=4, stride=2, padding=1, **settings)

        def new_quantizer():
            return quantizer(codes, code_dim, init, **settings)

        self.top_encoder = Sequential(
            Conv2d(C, top_channels, **halving), ReLU(), Conv2d(top_channels, code_dim, 1, **settings))
        self.top_quantizer = new_quantizer()
        self.top_decoder = ConvTranspose2d(code_dim, code_dim, **halving)
        self.join_top = Concatenate()
        self.project = Conv2d(C + code_dim, code_dim, 1, **settings)
        self.bottom_quantizer = new_quantizer()
        self.upsample = ConvTranspose2d(code_dim, code_dim, **halving)
        self.join_levels = Concatenate()
        self.expand = Conv2d(2 * code_dim, C, 1, **settings)

    @classmethod
    def build(cls, around, options, *, dtype, rng):
        return cls(around.shape, around.next_channels, options["codes"], options["code_dim"], options["codebook_init"],
                   quantizer_for(options), dtype=dtype, rng=rng)

    def weights(self, image_shape, options):
        weights = reconstruction_weight(image_shape, options)
        for level, positions in zip(self.levels, self.positions, strict=True):
            weights |= {level_name(name, level): weight for name, weight in code_weights(positions, options).items()}
        return weights

    @property
    def quantizers(self):
        """(top, bottom)"""
        return self.top_quantizer, self.bottom_quantizer

    @property
    def indices(self):
        return [quantizer.indices for quantizer in self.quantizers]

    def stages(self):
        def bottom_latents(h):
            top = self.top_quantizer.nearest(self.top_encoder.forward(h))
            return self.bottom_latents(h, self.top_quantizer.lookup(top))

        return [(self.top_encoder.layers[-1], self.top_quantizer, self.top_encoder.forward),
                (self.project, self.bottom_quantizer, bottom_latents)]

    def by_level(self, codes):
        return dict(zip(self.levels, codes, strict=True))

    def forward(self, h, noise=None):
        z_top = self.top_encoder.forward(h)
        q_top, top_terms = self.top_quantizer.forward(z_top)
        z_bottom = self.bottom_latents(h, q_top)
        q_bottom, bottom_terms = self.bottom_quantizer.forward(z_bottom)
        y = self.features(q_top, q_bottom)
        terms = {level_name(name, "top"): term for name, term in top_terms.items()}
        return y, terms | {level_name(name, "bottom"): term for name, term in bottom_terms.items()}

    def backward(self, dy, dterms):
        top, bottom = ({name.removesuffix(f"_{level}"): d for name, d in dterms.items()} for level in self.levels)
        dq_bottom, dupsampled = self.join_levels.backward(self.expand.backward(dy))
        dq_top = self.upsample.backward(dupsampled)
        dz_bottom = self.bottom_quantizer.backward(dq_bottom, bottom)
        dh, ddecoded = self.join_top.backward(self.project.backward(dz_bottom))
        dq_top += self.top_decoder.backward(ddecoded)
        dz_top = self.top_quantizer.backward(dq_top, top)
        return dh + self.top_encoder.backward(dz_top)

    def bottom_latents(self, h, q_top):
        """z_bottom from h and q_top."""
        return self.project.forward(self.join_top.forward(h, self.top_decoder.forward(q_top)))

    def features(self, q_top, q_bottom):
        """y from the code vectors of both levels."""
        return self.expand.forward(self.join_levels.forward(q_bottom, self.upsample.forward(q_top)))

    def encode(self, h):
        top = self.top_quantizer.nearest(self.top_encoder.forward(h))
        return [top, self.bottom_quantizer.nearest(self.bottom_latents(h, self.top_quantizer.lookup(top)))]

    def decode(self, codes):
        return self.features(*(quantizer.lookup(k) for quantizer, k in zip(self.quantizers, codes, strict=True)))

    def mix(self, a, b, t):
        return [quantizer.mix(*ends, t) for quantizer, *ends in zip(self.quantizers, a, b, strict=True)]
