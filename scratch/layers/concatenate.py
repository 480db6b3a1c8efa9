"""Two feature maps joined to one."""

from scratch.arrays import array_module
from scratch.layers.checks import check_floating
from scratch.module import Module


class Concatenate(Module):
    """y = [a, b]: the channels of a, then those of b.

    Shapes: a (..., A), b (..., B), y (..., A + B). Here a and b are feature maps, and A and B count their channels.

        ∂L/∂a = the first A channels of ∂L/∂y       ∂L/∂b = the last B channels of ∂L/∂y
    """

    def forward(self, a, b):
        check_floating(self, a, b)
        self.save(a.shape[-1])
        return array_module(a).concatenate([a, b], axis=-1)

    def backward(self, dy):
        (A,) = self.recall()
        return dy[..., :A], dy[..., A:]
