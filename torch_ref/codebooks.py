"""What keeps the codes of a VQ-VAE in use, as separate parts that quantizers.py puts together."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def nearest_codes(vectors, codebook):
    """(M,) indices of the codes (K, D) nearest to vectors (M, D).

    cdist multiplies out ‖v − e‖² where there are many. The mean of the codes, taken from both, changes no distance, and
    keeps what it multiplies near zero.
    """
    centre = codebook.mean(0)
    return torch.cdist(vectors - centre, codebook - centre).argmin(1)


class MovingAverages(nn.Module):
    """Codes as debiased exponential moving averages: van den Oord et al. (arXiv:1711.00937), appendix A.1, in the form
    of Sonnet's VectorQuantizerEMA (sonnet/src/nets/vqvae.py)."""

    def __init__(self, codebook, decay, epsilon=1e-5):
        super().__init__()
        self.decay, self.epsilon = decay, epsilon
        self.register_buffer("counts", codebook.new_zeros(len(codebook)))
        self.register_buffer("sums", torch.zeros_like(codebook))
        self.register_buffer("weight", codebook.new_zeros(1))  # 1 - decay ** (number of updates)

    def update(self, z, assignments):
        """z (M, D) and the one-hot assignments (M, K) of a batch; returns the new codebook."""
        self.counts.lerp_(assignments.sum(0), 1 - self.decay)
        self.sums.lerp_(assignments.T @ z, 1 - self.decay)
        self.weight.lerp_(torch.ones_like(self.weight), 1 - self.decay)
        counts, sums = self.counts / self.weight, self.sums / self.weight
        n = counts.sum()
        smoothed = n * (counts + self.epsilon) / (n + self.epsilon * len(counts))
        return sums / smoothed.unsqueeze(1)

    def begin(self, codebook, counts):
        """As if the codes had always been these, each with so many vectors a batch."""
        self.counts.copy_(counts)
        self.sums.copy_(codebook * counts.unsqueeze(1))
        self.weight.fill_(1.0)

    def restart(self, dead, fresh):
        """As if each of the codes with the indices `dead` had always had one vector a batch, the fresh one."""
        self.counts[dead] = self.weight
        self.sums[dead] = self.weight * fresh


class DeadCodes(nn.Module):
    """For how many steps in a row each code has not been chosen."""

    def __init__(self, codebook, patience):
        super().__init__()
        self.patience = patience
        self.register_buffer("idle", codebook.new_zeros(len(codebook)))

    def update(self, chosen, most):
        """Indices of the codes that have now waited long enough, the first `most` of them; these begin to wait again.

        chosen (K,) says which codes were just in use.
        """
        self.idle.add_(1).masked_fill_(chosen, 0)
        dead = (self.idle >= self.patience).nonzero().flatten()[:most]
        self.idle[dead] = 0
        return dead


def kmeans(vectors, centres, iterations):
    """Lloyd's algorithm from the given centres; (centres, number of vectors of each). Empty clusters stay."""
    for _ in range(iterations):
        members = F.one_hot(nearest_codes(vectors, centres), len(centres)).to(vectors)
        counts = members.sum(0)
        occupied = counts > 0
        centres = centres.clone()
        centres[occupied] = (members.T @ vectors)[occupied] / counts[occupied].unsqueeze(1)
    return centres, counts


def entropy_gap(z, codebook, temperature):
    """log K - H(mean over the batch of softmax(-|z - e|^2 / T)); z (M, D). Autograd does the rest."""
    distances = torch.cdist(z, codebook, compute_mode="donot_use_mm_for_euclid_dist").square()
    p = F.softmax(-distances / temperature, dim=1).mean(0)
    return math.log(len(codebook)) - torch.special.entr(p).sum()
