"""Vectors at unit length: the nearest code is then the one at the smallest angle."""

from scratch.arrays import array_module
from scratch.layers.checks import check_floating
from scratch.module import Module, elementwise
from scratch.options.option import Choice, Option

CODE_METRIC = Option("code_metric", Choice(("euclidean", "cosine")), "euclidean",
                     "the distance to the codes; cosine: between vectors of unit length", source="arXiv:2110.04627")

SHORTEST = 1e-12  # a vector shorter than this is divided by it, so that zero stays zero


def divided(x, squared_norm):
    """x / max(‖x‖, eps), with eps = SHORTEST."""
    xp = array_module(x)
    return x / xp.maximum(xp.sqrt(squared_norm), SHORTEST)


def divided_backward(dy, y, squared_norm, along_y):
    """∂L/∂x from ∂L/∂y and ⟨y, ∂L/∂y⟩."""
    xp = array_module(y)
    norm = xp.sqrt(squared_norm)
    return (dy - y * (along_y * (norm >= SHORTEST))) / xp.maximum(norm, SHORTEST)


class UnitLength(Module):
    """y = x / max(‖x‖, eps) over the last axis, with eps = 10⁻¹².

    Shapes: x, y (..., D).

        ∂L/∂x = (∂L/∂y − y ⟨y, ∂L/∂y⟩) / ‖x‖         a change of x along y does not change y
        ∂L/∂x = ∂L/∂y / eps         where ‖x‖ < eps: there y = x / eps

    Between unit vectors ‖ẑ − ê‖² = 2 − 2 cos(z, e). So the nearest code is the one with the largest cosine, and the
    length of a code does not matter. (Yu et al. 2022, arXiv:2110.04627, section 3.2)
    """

    divided, divided_backward = elementwise(divided), elementwise(divided_backward)

    def forward(self, x):
        check_floating(self, x)
        squared_norm = (x * x).sum(axis=-1, keepdims=True)
        y = self.divided(x, squared_norm)
        self.save(y, squared_norm)
        return y

    def backward(self, dy):
        y, squared_norm = self.recall()
        return self.divided_backward(dy, y, squared_norm, (y * dy).sum(axis=-1, keepdims=True))
