"""The VAE's bottleneck."""

import math

import torch
from torch import nn

from torch_ref.bottlenecks.bottleneck import Bottleneck
from torch_ref.losses import gaussian_kl
from torch_ref.options import schedule, whole


class GaussianBottleneck(Bottleneck, system="vae"):
    """A sample z of N(μ(h), σ²(h)), reparameterized, and its KL to N(0, 1). Shapes: mu, logvar, z (N, latent_dim)."""

    options = {"latent_dim": whole(128), "beta": schedule(0.1)}

    def __init__(self, feature_shape, latent_dim, dtype):
        super().__init__()
        features = math.prod(feature_shape)
        self.mu = nn.Linear(features, latent_dim, dtype=dtype)
        self.logvar = nn.Linear(features, latent_dim, dtype=dtype)
        self.expand = nn.Linear(latent_dim, features, dtype=dtype)
        self.unflatten = nn.Unflatten(1, feature_shape)

    def weights(self, options, image_shape):
        return {"reconstruction": 1.0, "kl": options["beta"]}

    def draw_noise(self, count, rng, dtype):
        return rng.standard_normal((count, self.mu.out_features), dtype=dtype)

    def posterior(self, h):
        """(μ, σ, log σ²) of q(z | h)."""
        h = h.flatten(1)
        logvar = self.logvar(h)
        return self.mu(h), torch.exp(logvar / 2), logvar

    def draw(self, h, noise):
        """A latent drawn from q(z | h)."""
        mu, sigma, _ = self.posterior(h)
        return mu + sigma * noise

    def rate(self, mu, logvar):
        """The terms that q(z | h) costs."""
        return {"kl": gaussian_kl(mu, logvar)}

    def forward(self, h, noise=None):
        mu, sigma, logvar = self.posterior(h)
        eps = torch.randn_like(mu) if noise is None else noise
        return self.decode(torch.addcmul(mu, sigma, eps)), self.rate(mu, logvar)

    def encode(self, h):
        return self.mu(h.flatten(1))

    def decode(self, z):
        return self.unflatten(self.expand(z))
