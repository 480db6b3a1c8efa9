"""The variational autoencoder's bottleneck: a Gaussian for each image, and a sample of it for the decoder."""

import math

import numpy as np

from scratch.arrays import array_module
from scratch.bottlenecks.bottleneck import Bottleneck
from scratch.bottlenecks.dense import LATENT_DIM
from scratch.bottlenecks.posterior import Posterior
from scratch.layers import Flatten, Linear, Unflatten
from scratch.layers.checks import check_floating
from scratch.losses import batch_mean_of_sums
from scratch.module import Module, elementwise
from scratch.options.option import Option, Scheduled


def reparameterize(mu, logvar, eps):
    """(z, σ·ε) with z = μ + σ·ε."""
    sigma_eps = array_module(logvar).exp(0.5 * logvar) * eps
    return mu + sigma_eps, sigma_eps


def reparameterize_backward(dz, sigma_eps):
    """∂L/∂logvar = ∂L/∂z · ½ σ ε."""
    return dz * (0.5 * sigma_eps)


class Reparameterize(Module):
    """z = μ + σ·ε with σ = exp(½ logvar) and ε ~ N(0, 1): a sample of N(μ, σ²) that can be differentiated.

    The randomness ε is an input, so this z is a smooth function of μ and logvar. A z drawn from N(μ, σ²) in another way
    has the same distribution, but it is no function of them.
    Shapes: mu, logvar, eps, z (N, Z).

        ∂L/∂μ = ∂L/∂z       ∂L/∂logvar = ∂L/∂z · ½ σ ε

    (Kingma & Welling 2014, arXiv:1312.6114, section 2.4)
    """

    formula, derivative = elementwise(reparameterize), elementwise(reparameterize_backward)

    def check(self, mu, logvar, eps):
        check_floating(self, mu)
        for name, given in (("logvar", logvar), ("eps", eps)):  # NumPy would broadcast one row of noise to all
            if given.shape != mu.shape or given.dtype != mu.dtype:
                raise ValueError(f"Reparameterize takes mu, logvar and eps of one shape and dtype, got mu {mu.shape} "
                                 f"{mu.dtype} and {name} {given.shape} {given.dtype}")

    def forward(self, mu, logvar, eps):
        self.check(mu, logvar, eps)
        z, sigma_eps = self.formula(mu, logvar, eps)
        self.save(sigma_eps)
        return z

    def backward(self, dz):
        (sigma_eps,) = self.recall()
        return dz, self.derivative(dz, sigma_eps)


def exp_above_tangent(x):
    """eˣ − 1 − x ≥ 0: how far the exponential lies above its tangent at 0.

    Near 0 the three terms cancel. There it is computed as x² (1/2! + x/3! + … + x⁴/6!), with a relative error of 4e-14.
    """
    xp = array_module(x)
    near, series = xp.clip(x, -0.01, 0.01), 1 / math.factorial(6)
    for n in (5, 4, 3, 2):
        series = series * near + 1 / math.factorial(n)
    return xp.where(xp.abs(x) < 0.01, near * near * series, xp.expm1(x) - x)


def gaussian_kl(mu, logvar):
    """½ (μ² + σ² − 1 − log σ²) ≥ 0: KL(N(μ, σ²) ‖ N(0, 1)) in nats, elementwise."""
    return 0.5 * (mu * mu + exp_above_tangent(logvar))


def gaussian_kl_backward(mu, logvar, scale):
    """(μ, ½ (σ² − 1)) · scale."""
    return mu * scale, 0.5 * array_module(logvar).expm1(logvar) * scale


class GaussianKL(Module):
    """KL(N(μ, σ²) ‖ N(0, 1)) = ½ Σ (μ² + σ² − 1 − log σ²), in nats, summed over Z and averaged over the batch.

    Shapes: mu, logvar (N, Z), kl a scalar.

        ∂kl/∂μ = μ / N       ∂kl/∂logvar = ½ (σ² − 1) / N

    (Kingma & Welling 2014, arXiv:1312.6114, appendix B; docs/lessons/4_vae.md derives it)
    """

    formula, derivative = elementwise(gaussian_kl), elementwise(gaussian_kl_backward)

    def forward(self, mu, logvar):
        check_floating(self, mu, logvar)
        self.save(mu, logvar)
        return batch_mean_of_sums(self.formula(mu, logvar))

    def backward(self, dkl=1.0):
        mu, logvar = self.recall()
        return self.derivative(mu, logvar, dkl / len(mu))


class GaussianPosterior(Posterior):
    """q = N(μ, σ²) with logvar = log σ², and p = N(0, 1), in each of the Z dimensions.

        klⱼ = ½ (μⱼ² + σⱼ² − 1 − log σⱼ²)
        log p(z) − log q(z | x) = ½ Σⱼ (εⱼ² + log σⱼ² − zⱼ²)    with z = μ + σ·ε
    """

    gaussian = True

    def __init__(self, reparameterize, mu, logvar):
        self.reparameterize, self.mu, self.logvar = reparameterize, mu, logvar

    def kl(self):
        return gaussian_kl(self.mu, self.logvar)

    def draw(self, eps):
        z = self.reparameterize.forward(self.mu, self.logvar, eps)
        return z, 0.5 * (eps * eps + self.logvar - z * z).sum(axis=1)


class GaussianBottleneck(Bottleneck, system="vae"):
    """μ = h W_μ + b_μ,   logvar = h W_σ + b_σ,   z = μ + exp(½ logvar)·ε,   y = z W + b,   and the term kl.

    Shapes: h, y (N, H, W, C), flattened in between; mu, logvar, eps, z (N, Z).

        ∂L/∂z = ∂L/∂y Wᵀ       ∂L/∂h = ∂L/∂μ W_μᵀ + ∂L/∂logvar W_σᵀ

    ∂L/∂μ and ∂L/∂logvar are sums of two parts, one from z (Reparameterize) and one from kl (GaussianKL).
    The weight of kl in the loss is β. β = 1 gives the negative ELBO (Kingma & Welling 2014, arXiv:1312.6114), and β > 1
    the β-VAE (Higgins et al., ICLR 2017).
    """

    options = (
        LATENT_DIM,
        Option("beta", Scheduled(0), 0.1, "weight β of the KL term; 1 gives the ELBO",
               source="Higgins et al., ICLR 2017"),
    )
    posterior_kind = GaussianPosterior
    priors = ("standard_normal",)
    random = True

    def __init__(self, feature_shape, latent_dim, *, dtype=np.float32, rng=None):
        H, W, C = feature_shape
        features = math.prod(feature_shape)
        self.rng = rng or np.random.default_rng()
        self.latent_dim, self.dtype = latent_dim, dtype
        self.flatten = Flatten()
        self.mu = Linear(features, latent_dim, dtype=dtype, rng=self.rng)
        self.logvar = Linear(features, latent_dim, dtype=dtype, rng=self.rng)
        self.reparameterize = Reparameterize()
        self.kl = GaussianKL()
        self.expand = Linear(latent_dim, features, dtype=dtype, rng=self.rng)
        self.unflatten = Unflatten(1, (C, H, W))

    @classmethod
    def build(cls, around, options, *, dtype, rng):
        return cls(around.shape, options["latent_dim"], dtype=dtype, rng=rng)

    def weights(self, image_shape, options):
        return {"reconstruction": 1.0, "kl": options["beta"]}

    def draw_noise(self, count, rng):
        return rng.standard_normal((count, self.latent_dim), dtype=self.dtype)

    def forward(self, h, noise=None):
        if noise is None:
            noise = array_module(h).asarray(self.draw_noise(len(h), self.rng))
        mu, logvar = self.parameters_of(h)
        terms = self.rate(mu, logvar)
        z = self.reparameterize.forward(mu, logvar, noise)
        return self.decode(z), terms

    def backward(self, dy, dterms):
        dz = self.expand.backward(self.unflatten.backward(dy))
        dmu, dlogvar = self.reparameterize.backward(dz)
        dmu_kl, dlogvar_kl = self.rate_backward(dterms)
        dh = self.logvar.backward(dlogvar + dlogvar_kl)
        dh += self.mu.backward(dmu + dmu_kl)
        return self.flatten.backward(dh)

    def rate(self, mu, logvar):
        """{name: loss term} of the code. The variants in free_bits.py and capacity.py have other terms."""
        return {"kl": self.kl.forward(mu, logvar)}

    def rate_backward(self, dterms):
        """(∂L/∂μ, ∂L/∂logvar) of those terms."""
        return self.kl.backward(dterms["kl"])

    def parameters_of(self, h):
        """(μ, logvar) of q(z | h)."""
        h = self.flatten.forward(h)
        return self.mu.forward(h), self.logvar.forward(h)

    def posterior(self, h):
        return GaussianPosterior(self.reparameterize, *self.parameters_of(h))

    def encode(self, h):
        return self.parameters_of(h)[0]

    def draw(self, h, noise):
        return self.reparameterize.forward(*self.parameters_of(h), noise)

    def decode(self, z):
        return self.unflatten.forward(self.expand.forward(z))
