"""Vectors at unit length: what makes the nearest code that of the smallest angle."""

from scratch.arrays import array_module
from scratch.module import Module
from scratch.options.option import Choice, Option

CODE_METRIC = Option("code_metric", Choice(("euclidean", "cosine")), "euclidean",
                     "what the nearest code is nearest by; cosine: both at unit length", source="arXiv:2110.04627")

SHORTEST = 1e-12  # a vector shorter than this is divided by it, so that zero stays zero


def lengths(x):
    """‖x‖ over the last axis, which stays, with SHORTEST as the least value."""
    xp = array_module(x)
    return xp.maximum(xp.sqrt((x * x).sum(axis=-1, keepdims=True)), SHORTEST)


class UnitLength(Module):
    """y = x / ‖x‖ over the last axis.

    Between unit vectors ‖ẑ − ê‖² = 2 − 2 cos(z, e): the nearest code is the one of the largest cosine, and no code is
    out of reach for being long. (Yu et al. 2022, arXiv:2110.04627, section 3.2)
    Shapes: x, y (..., D).

        ∂L/∂x = (∂L/∂y − y ⟨y, ∂L/∂y⟩) / ‖x‖         what points along y changes no direction
    """

    def forward(self, x):
        length = lengths(x)
        y = x / length
        self.save(y, length)
        return y

    def backward(self, dy):
        y, length = self.recall()
        return (dy - y * (y * dy).sum(axis=-1, keepdims=True)) / length
