"""The AE's bottleneck."""

import math

from torch import nn

from torch_ref.bottlenecks.bottleneck import Bottleneck
from torch_ref.options import whole


class DenseBottleneck(Bottleneck, system="ae"):
    """A vector of latent_dim numbers. Shapes: h (N, C, H, W), z (N, latent_dim)."""

    options = {"latent_dim": whole(128)}

    def __init__(self, feature_shape, latent_dim, dtype):
        super().__init__()
        features = math.prod(feature_shape)
        self.reduce = nn.Linear(features, latent_dim, dtype=dtype)
        self.expand = nn.Linear(latent_dim, features, dtype=dtype)
        self.unflatten = nn.Unflatten(1, feature_shape)

    def forward(self, h, noise=None):
        return self.decode(self.encode(h)), {}

    def encode(self, h):
        return self.reduce(h.flatten(1))

    def decode(self, z):
        return self.unflatten(self.expand(z))
