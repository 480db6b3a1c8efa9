"""A term that asks for all codes to be used."""

import math

import torch
from torch.nn import functional as F


def entropy_gap(z, codebook, temperature):
    """log K - H(mean over the batch of softmax(-|z - e|^2 / T)); z (M, D). Autograd does the rest."""
    distances = torch.cdist(z, codebook, compute_mode="donot_use_mm_for_euclid_dist").square()
    p = F.softmax(-distances / temperature, dim=1).mean(0)
    return math.log(len(codebook)) - torch.special.entr(p).sum()
