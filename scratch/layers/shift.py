"""A constant added to every number."""

from scratch.layers.checks import check_floating
from scratch.module import Module


class Shift(Module):
    """y = x + offset.       ∂L/∂x = ∂L/∂y

    Any shape. With an offset of −½ before a network, images in [0, 1] are centred on 0. The zeros with which its
    convolutions pad then mean grey; without the shift they would mean black.
    """

    def __init__(self, offset):
        self.offset = offset

    def settings(self):
        return f"{self.offset:g}"

    def forward(self, x):
        check_floating(self, x)
        self.save()
        return x + self.offset

    def backward(self, dy):
        self.recall()
        return dy
