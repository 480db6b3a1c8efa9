"""The loss terms, written from the papers. Each is summed over an example and averaged over the batch."""

import torch
from torch import nn
from torch.distributions import Laplace, SigmoidTransform, TransformedDistribution
from torch.nn import functional as F


class SquaredError(nn.Module):
    """Σ (output − image)²; the output is the image."""

    outputs = 1

    def forward(self, output, images):
        return F.mse_loss(output, images, reduction="sum") / len(images)

    def mean(self, output):
        return output


class BernoulliFromLogits(nn.Module):
    """−log of the Bernoulli likelihood of the image; the output holds the logits of the pixels' means."""

    outputs = 1

    def forward(self, output, images):
        return F.binary_cross_entropy_with_logits(output, images, reduction="sum") / len(images)

    def mean(self, output):
        return torch.sigmoid(output)


class LogitLaplace(nn.Module):
    """−log of the density at φ(x) = (1 − 2ε) x + ε of a value whose logit is Laplace-distributed, ε = 0.1.

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


LIKELIHOODS = {"squared_error": SquaredError, "bernoulli": BernoulliFromLogits, "logit_laplace": LogitLaplace}


def gaussian_kl(mu, logvar):
    """KL(N(μ, σ²) ‖ N(0, I)) = −½ Σ (1 + log σ² − μ² − σ²): Kingma & Welling (arXiv:1312.6114), appendix B."""
    return -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / len(mu)


def kl_to_uniform(logits):
    """KL of the categorical distributions with these logits (N, K, H, W) to the uniform one over K."""
    log_p = F.log_softmax(logits, dim=1)
    uniform = torch.full_like(log_p, 1 / log_p.shape[1]).log()
    return F.kl_div(uniform, log_p, reduction="sum", log_target=True) / len(logits)


def vector_quantization(z, q):
    """(codebook, commitment): the last two terms of equation 3 of van den Oord et al. (arXiv:1711.00937), without β.

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
