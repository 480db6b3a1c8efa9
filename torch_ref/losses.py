"""The loss terms, written from the papers. Each is summed over an example and averaged over the batch."""

import torch
from torch import nn
from torch.nn import functional as F


class SquaredError(nn.Module):
    """Σ (output − image)²; the output is the image."""

    def forward(self, output, images):
        return F.mse_loss(output, images, reduction="sum") / len(images)

    def mean(self, output):
        return output


class BernoulliFromLogits(nn.Module):
    """−log of the Bernoulli likelihood of the image; the output holds the logits of the pixels' means."""

    def forward(self, output, images):
        return F.binary_cross_entropy_with_logits(output, images, reduction="sum") / len(images)

    def mean(self, output):
        return torch.sigmoid(output)


LIKELIHOODS = {"squared_error": SquaredError, "bernoulli": BernoulliFromLogits}


def gaussian_kl(mu, logvar):
    """KL(N(μ, σ²) ‖ N(0, I)) = −½ Σ (1 + log σ² − μ² − σ²): Kingma & Welling (arXiv:1312.6114), appendix B."""
    return -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / len(mu)


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
