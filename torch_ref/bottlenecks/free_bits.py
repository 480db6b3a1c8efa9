"""The VAE's bottleneck with free bits."""

from torch_ref.bottlenecks.gaussian import GaussianBottleneck
from torch_ref.losses import free_bits_kl
from torch_ref.options import number


class FreeBitsBottleneck(GaussianBottleneck, variant=True):
    """GaussianBottleneck in which `free_bits` nats of each dimension cost nothing: beta weighs kl_free, and the KL
    itself is only reported."""

    options = {"free_bits": number(0.0)}

    def __init__(self, feature_shape, latent_dim, free_bits, dtype):
        super().__init__(feature_shape, latent_dim, dtype)
        self.free_bits = free_bits

    def weights(self, options, image_shape):
        return {"reconstruction": 1.0, "kl": 0.0, "kl_free": options["beta"]}

    def rate(self, mu, logvar):
        return {**super().rate(mu, logvar), "kl_free": free_bits_kl(mu, logvar, self.free_bits)}
