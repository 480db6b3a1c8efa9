"""The plain autoencoder's bottleneck: a vector with fewer numbers than the image."""

import math

import numpy as np

from scratch.bottlenecks.bottleneck import Bottleneck
from scratch.layers import Flatten, Linear, Unflatten
from scratch.options.option import Option, Whole

LATENT_DIM = Option("latent_dim", Whole(1), 128, "numbers in the code of an image")


class DenseBottleneck(Bottleneck, system="ae"):
    """z = h W₁ + b₁,       y = z W₂ + b₂.       (Hinton & Salakhutdinov 2006, doi:10.1126/science.1127647)

    Shapes: h, y (N, H, W, C), flattened in between; z (N, Z). It adds no loss terms.

        ∂L/∂z = ∂L/∂y W₂ᵀ       ∂L/∂h = ∂L/∂z W₁ᵀ
    """

    options = (LATENT_DIM,)
    priors = ("standard_normal", "fitted_gaussian")

    def __init__(self, feature_shape, latent_dim, *, dtype=np.float32, rng=None):
        H, W, C = feature_shape
        self.latent_dim = latent_dim
        features = math.prod(feature_shape)
        self.flatten = Flatten()
        self.reduce = Linear(features, latent_dim, dtype=dtype, rng=rng)
        self.expand = Linear(latent_dim, features, dtype=dtype, rng=rng)
        self.unflatten = Unflatten(1, (C, H, W))

    @classmethod
    def build(cls, around, options, *, dtype, rng):
        return cls(around.shape, options["latent_dim"], dtype=dtype, rng=rng)

    def forward(self, h, noise=None):
        return self.decode(self.encode(h)), {}

    def backward(self, dy, dterms):
        dz = self.expand.backward(self.unflatten.backward(dy))
        return self.flatten.backward(self.reduce.backward(dz))

    def encode(self, h):
        return self.reduce.forward(self.flatten.forward(h))

    def decode(self, z):
        return self.unflatten.forward(self.expand.forward(z))
