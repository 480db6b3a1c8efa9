"""A codebook that moving averages move."""

import torch
from torch import nn


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
