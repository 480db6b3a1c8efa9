"""The parts of bottlenecks/ with one kernel a formula, or one for each stretch of it between two sums."""

import math

import numpy as np

from scratch.accelerate.blocks import HELD_ON_GPU
from scratch.accelerate.gpu.fused import fused
from scratch.accelerate.gpu.fused_losses import squared_difference
from scratch.arrays import array_module
from scratch.bottlenecks import CuredVectorQuantizer, UnitLength, VectorQuantizer
from scratch.bottlenecks.codebook.unit_length import divided as plain_divided
from scratch.bottlenecks.codebook.unit_length import divided_backward as plain_divided_backward
from scratch.bottlenecks.gaussian import GaussianKL, Reparameterize
from scratch.bottlenecks.gumbel_softmax import CategoricalKL, GumbelSoftmax, GumbelSoftmaxBottleneck, perturbed
from scratch.bottlenecks.vector_quantizer import nearest_codes
from scratch.bottlenecks.vector_quantizer import offsets as plain_offsets
from scratch.losses import batch_mean_of_sums

# --- the VAE's --------------------------------------------------------------------------------------------------------


@fused
def reparameterize(mu, logvar, eps):
    """(z, σ·ε) with z = μ + σ·ε."""
    sigma_eps = array_module(logvar).exp(0.5 * logvar) * eps
    return mu + sigma_eps, sigma_eps


@fused
def reparameterize_backward(dz, sigma_eps):
    """∂L/∂logvar = ∂L/∂z · ½ σ ε."""
    return dz * (0.5 * sigma_eps)


class FusedReparameterize(Reparameterize):
    """Reparameterize, forward and backward one kernel each."""

    def forward(self, mu, logvar, eps):
        self.check(mu, logvar, eps)
        z, sigma_eps = reparameterize(mu, logvar, eps)
        self.save(sigma_eps)
        return z

    def backward(self, dz):
        (sigma_eps,) = self.recall()
        return dz, reparameterize_backward(dz, sigma_eps)


@fused
def gaussian_kl(mu, logvar):
    """(what the KL sums, σ²): ½ (μ² + σ² − 1 − log σ²)."""
    variance = array_module(logvar).exp(logvar)
    return 0.5 * (mu * mu + variance - 1 - logvar), variance


@fused
def gaussian_kl_backward(mu, variance, scale):
    """(μ, ½ (σ² − 1)) · scale."""
    return mu * scale, 0.5 * (variance - 1) * scale


class FusedGaussianKL(GaussianKL):
    """GaussianKL, what it sums one kernel and its backward one."""

    def forward(self, mu, logvar):
        summands, variance = gaussian_kl(mu, logvar)
        self.save(mu, variance)
        return batch_mean_of_sums(summands)

    def backward(self, dkl=1.0):
        mu, variance = self.recall()
        return gaussian_kl_backward(mu, variance, dkl / len(mu))


# --- the VQ-VAE's -----------------------------------------------------------------------------------------------------


offsets = fused(plain_offsets)


@fused
def straight_through(dq, residual, weight):
    """∂L/∂q + weight · (z − q)."""
    return dq + residual * weight


class FusedVectorQuantizer(VectorQuantizer):
    """VectorQuantizer, z − q with its square one kernel, ∂L/∂z another; in the search, what is squared of the codes."""

    held = HELD_ON_GPU

    def search(self, z, e):
        return nearest_codes(z.reshape(-1, e.shape[1]), e, self.held, offsets).reshape(z.shape[:-1])

    def quantize(self, z, e, k):
        q = e[k]
        squares, residual = squared_difference(z, q)
        self.save(residual, k)
        distance = batch_mean_of_sums(squares)
        return q, {"codebook": distance, "commitment": distance}

    def gradients(self, dq, dterms):
        residual, k = self.recall()
        scale = 2 / len(residual)
        de = self.scatter(residual * (-scale * dterms["codebook"]), k) if "codebook" in dterms else None
        return straight_through(dq, residual, scale * dterms["commitment"]), de


divided, divided_backward = fused(plain_divided), fused(plain_divided_backward)


class FusedUnitLength(UnitLength):
    """UnitLength, one kernel beside its sum forward and one backward."""

    divided, divided_backward = staticmethod(divided), staticmethod(divided_backward)


class FusedCuredVectorQuantizer(CuredVectorQuantizer, FusedVectorQuantizer):
    """CuredVectorQuantizer, what it takes from VectorQuantizer in that one's fused form."""


# --- the dVAE's -------------------------------------------------------------------------------------------------------


@fused
def shifted(a, largest, coldness):
    """(a/τ − max a/τ, its exponential), with coldness 1/τ, by which the largest is multiplied too."""
    shifted = a * coldness - largest * coldness
    return shifted, array_module(a).exp(shifted)


def softmax_parts(a, coldness=1.0):
    """(a/τ − max a/τ, Σ of its exponentials) over the last axis: what softmax and log-softmax of a/τ begin with."""
    a, exponentials = shifted(a, a.max(axis=-1, keepdims=True), coldness)
    return a, exponentials.sum(axis=-1, keepdims=True)


@fused
def softmax(a, total):
    """exp(a − log Σ exp a), from a and the sum."""
    xp = array_module(a)
    return xp.exp(a - xp.log(total))


@fused
def gumbel_softmax_backward(dy, y, mean, coldness):
    """(∂L/∂y − Σ y ∂L/∂y) · y / τ, from that sum and 1/τ."""
    return (dy - mean) * y * coldness


class FusedGumbelSoftmax(GumbelSoftmax):
    """GumbelSoftmax, one kernel for each stretch between two sums."""

    def forward(self, a, g, temperature):
        y = softmax(*softmax_parts(perturbed(a, g), 1 / temperature))
        self.save(y, temperature)
        if not self.hard:
            return y
        return (array_module(a).arange(y.shape[-1]) == y.argmax(axis=-1)[..., None]).astype(y.dtype)

    def backward(self, dy):
        y, temperature = self.recall()
        return gumbel_softmax_backward(dy, y, (y * dy).sum(axis=-1, keepdims=True), 1 / temperature)


@fused
def categorical_kl(a, total, log_codes):
    """(p · ratio, p, ratio) with p = softmax(a) and ratio = log p + log K."""
    xp = array_module(a)
    log_p = a - xp.log(total)
    p, ratio = xp.exp(log_p), log_p + log_codes
    return p * ratio, p, ratio


@fused
def categorical_kl_backward(p, ratio, divergence, scale):
    """(ratio − divergence) · p · scale."""
    return (ratio - divergence) * p * scale


class FusedCategoricalKL(CategoricalKL):
    """CategoricalKL, one kernel for each stretch between two sums."""

    def forward(self, a):
        summands, p, ratio = categorical_kl(*softmax_parts(a), math.log(a.shape[-1]))
        divergence = summands.sum(axis=-1, keepdims=True)
        self.save(p, ratio, divergence)
        return batch_mean_of_sums(divergence)

    def backward(self, dkl=1.0):
        p, ratio, divergence = self.recall()
        return categorical_kl_backward(p, ratio, divergence, dkl / len(p))


@fused
def gumbel(u, least, largest):
    """−log(−log u), u kept between two numbers."""
    xp = array_module(u)
    return -xp.log(-xp.log(xp.clip(u, least, largest)))


class FusedGumbelSoftmaxBottleneck(GumbelSoftmaxBottleneck):
    """GumbelSoftmaxBottleneck, its uniform noise made Gumbel's in one kernel."""

    def draw_noise(self, count, rng):
        u, limits = rng.random((count, *self.noise_shape), dtype=self.dtype), np.finfo(self.dtype)
        return gumbel(u, float(limits.tiny), 1 - float(limits.epsneg))


FORMS = {
    Reparameterize: FusedReparameterize, GaussianKL: FusedGaussianKL,
    VectorQuantizer: FusedVectorQuantizer, CuredVectorQuantizer: FusedCuredVectorQuantizer,
    UnitLength: FusedUnitLength,
    GumbelSoftmax: FusedGumbelSoftmax, CategoricalKL: FusedCategoricalKL,
    GumbelSoftmaxBottleneck: FusedGumbelSoftmaxBottleneck,
}
