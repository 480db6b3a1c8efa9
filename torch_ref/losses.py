"""The loss terms, written from the papers. Each is summed over an example and averaged over the batch."""

import math

import torch
from torch import nn
from torch.distributions import Laplace, Normal, SigmoidTransform, TransformedDistribution, kl_divergence
from torch.nn import functional as F


class Reconstruction(nn.Module):
    """A likelihood: forward(output, images) is its loss, mean(output) the image that an output stands for."""

    outputs = 1  # channels of the output for each channel of an image
    is_image = False  # True where the output is the image itself
    takes_data_variance = True  # False where the loss may not be divided by the variance of the data
    measured = {}  # what it has learned itself: {name: tensor of no dimension}

    def __init__(self, dtype=torch.float32):
        """dtype is that of the parameters; most likelihoods have none."""
        super().__init__()


class SquaredError(Reconstruction):
    """Σ (output − image)²; the output is the image."""

    is_image = True

    def forward(self, output, images):
        return F.mse_loss(output, images, reduction="sum") / len(images)

    def mean(self, output):
        return output


class Gaussian(Reconstruction):
    """−log N(image; output, σ²), with one learned σ for all pixels; the output is the image.

    Rybkin et al. (arXiv:2006.13202), with their softclip of log σ at −6.
    """

    is_image = True

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.log_sigma = nn.Parameter(torch.zeros(1, dtype=dtype))

    def sigma(self):
        return torch.exp(-6 + F.softplus(self.log_sigma + 6))

    def forward(self, output, images):
        return -Normal(output, self.sigma()).log_prob(images).sum() / len(images)

    def mean(self, output):
        return output

    @property
    def measured(self):
        return {"sigma": self.sigma().squeeze()}


class BernoulliFromLogits(Reconstruction):
    """−log of the Bernoulli likelihood of the image; the output holds the logits of the pixels' means."""

    def forward(self, output, images):
        return F.binary_cross_entropy_with_logits(output, images, reduction="sum") / len(images)

    def mean(self, output):
        return torch.sigmoid(output)


class LogitLaplace(Reconstruction):
    """−log of the density at x′ = (1 − 2·eps) x + eps of a value whose logit is Laplace-distributed, eps = 0.1.

    Ramesh et al. (arXiv:2102.12092), appendix A.3. The output (N, 2C, H, W) holds the location and then the logarithm
    of the scale, to which half a grey level, as a step of the logit at ½, is added.
    """

    outputs = 2
    least_scale = 0.5 * 0.8 / 255 / 0.25

    def forward(self, output, images):
        location, log_scale = output.chunk(2, dim=1)
        laplace = Laplace(location, log_scale.exp() + self.least_scale)
        density = TransformedDistribution(laplace, SigmoidTransform())
        return -density.log_prob(0.1 + 0.8 * images).sum() / len(images)

    def mean(self, output):
        location, _ = output.chunk(2, dim=1)
        return ((location.sigmoid() - 0.1) / 0.8).clamp(0, 1)


def grey_levels(images):
    """The values 0 … 255 of images in [0, 1]."""
    return images.mul(255).round().clamp(0, 255)


class DiscretizedLogistic(Reconstruction):
    """−log of the probability that a logistic distribution gives to each grey level.

    Kingma et al. (arXiv:1606.04934) and Salimans et al. (arXiv:1701.05517). With the deviation d of a grey level and
    half the width w of its bin, both in scales, the difference of the sigmoids is

        σ(d + w) − σ(d − w) = sinh w / (cosh d + cosh w),

    whose logarithm is taken by log-sum-exp. The output (N, 2C, H, W) holds the location and then the logarithm of the
    scale, to which the bound of Salimans et al.'s code is added, e⁻⁷ on their pixels in [−1, 1].
    """

    outputs = 2
    takes_data_variance = False
    least_scale = math.exp(-7) / 2

    def forward(self, output, images):
        location, log_scale = output.chunk(2, dim=1)
        least = torch.full_like(log_scale, math.log(self.least_scale))
        greys, per_scale = grey_levels(images), torch.logaddexp(log_scale, least).neg().exp()
        d, w = (greys / 255 - location) * per_scale, per_scale / 510
        twice_the_cosines = torch.stack([d, -d, w, -w]).logsumexp(0)
        between = w + torch.log(-torch.expm1(-2 * w)) - twice_the_cosines
        log_p = torch.where(greys == 0, F.logsigmoid(d + w), torch.where(greys == 255, F.logsigmoid(w - d), between))
        return -log_p.sum() / len(images)

    def mean(self, output):
        location, _ = output.chunk(2, dim=1)
        return location.clamp(0, 1)


class Categorical(Reconstruction):
    """−log of the probability of each grey level under a softmax over all 256: van den Oord et al. (arXiv:1601.06759).

    The output (N, 256 C, H, W) holds the logits of the first channel, then those of the next.
    """

    outputs = 256
    takes_data_variance = False

    def logits(self, output):
        """(N, 256, C, H, W): the classes where PyTorch expects them."""
        return output.unflatten(1, (-1, 256)).transpose(1, 2)

    def forward(self, output, images):
        return F.cross_entropy(self.logits(output), grey_levels(images).long(), reduction="sum") / len(images)

    def mean(self, output):
        greys = torch.linspace(0, 1, 256, dtype=output.dtype, device=output.device)
        return torch.tensordot(self.logits(output).softmax(1), greys, dims=([1], [0])).clamp(0, 1)


LIKELIHOODS = {
    "squared_error": SquaredError,
    "gaussian": Gaussian,
    "bernoulli": BernoulliFromLogits,
    "logit_laplace": LogitLaplace,
    "discretized_logistic": DiscretizedLogistic,
    "categorical": Categorical,
}


def gaussian_kl(mu, logvar):
    """KL(N(μ, σ²) ‖ N(0, 1)) = −½ Σ (1 + log σ² − μ² − σ²): Kingma & Welling (arXiv:1312.6114), appendix B."""
    return -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / len(mu)


def free_bits_kl(mu, logvar, nats):
    """Σⱼ max(nats, the batch's mean KL of dimension j): Kingma et al. (arXiv:1606.04934), appendix C.8."""
    posterior, prior = Normal(mu, torch.exp(logvar / 2)), Normal(torch.zeros_like(mu), torch.ones_like(mu))
    return kl_divergence(posterior, prior).mean(0).clamp(min=nats).sum()


def kl_to_uniform(logits):
    """KL of the categorical distributions with these logits (N, K, H, W) to the uniform one over K."""
    log_p = F.log_softmax(logits, dim=1)
    uniform = torch.full_like(log_p, 1 / log_p.shape[1]).log()
    return F.kl_div(uniform, log_p, reduction="sum", log_target=True) / len(logits)


def vector_quantization(z, q):
    """(codebook, commitment): the last two terms of equation 3 of van den Oord et al. (arXiv:1711.00937), without their
    weights.

    z is the encoder's output, q the chosen codes *before* the straight-through step: after it, q's gradient would go
    to z and the codebook would learn nothing.
    """
    codebook = F.mse_loss(q, z.detach(), reduction="sum") / len(z)
    commitment = F.mse_loss(z, q.detach(), reduction="sum") / len(z)
    return codebook, commitment


def perplexity(counts):
    """exp of the entropy of the code frequencies, from how often each code was chosen (K,)."""
    frequencies = counts.double() / counts.sum()
    return torch.special.entr(frequencies).sum().exp()
