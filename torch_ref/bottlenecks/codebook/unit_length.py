"""Vectors compared by their direction."""

from torch.nn import functional as F


def unit_length(vectors, dim):
    """x / ‖x‖ along one dimension."""
    return F.normalize(vectors, dim=dim)
