"""The VAE's bottleneck with a target for its KL."""

import torch

from torch_ref.bottlenecks.gaussian import GaussianBottleneck
from torch_ref.options import optional, schedule
from torch_ref.schedules import scheduled


class CapacityBottleneck(GaussianBottleneck, variant=True):
    """GaussianBottleneck whose KL is to be near `capacity`, a number or a schedule in nats: beta weighs
    kl_gap = |KL − capacity| of the batch's mean KL, and the KL itself is only reported.

    Burgess et al. (arXiv:1804.03599).
    """

    options = {"capacity": optional(schedule(0.0))}

    def __init__(self, feature_shape, latent_dim, capacity, dtype):
        super().__init__(feature_shape, latent_dim, dtype)
        self.schedule = capacity
        self.at_step(0)

    def weights(self, options, image_shape):
        return {"reconstruction": 1.0, "kl": 0.0, "kl_gap": options["beta"]}

    def at_step(self, step):
        self.capacity = scheduled(self.schedule, step)

    def rate(self, mu, logvar):
        terms = super().rate(mu, logvar)
        return {**terms, "kl_gap": torch.abs(terms["kl"] - self.capacity)}
