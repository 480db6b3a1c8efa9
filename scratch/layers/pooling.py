"""Pooling and upsampling: layers without weights that change the size of a feature map."""

from scratch.arrays import array_module
from scratch.layers.checks import check_floating, check_shape
from scratch.layers.patches import Window, pair
from scratch.module import Module


def pooling_window(kernel_size, stride, padding, dilation=1):
    """The window of a pooling layer. As in PyTorch, the stride defaults to the kernel's size, and a padding of more
    than half of the kernel raises ValueError."""
    window = Window(kernel_size, kernel_size if stride is None else stride, padding, dilation)
    if any(p > k // 2 for p, k in zip(window.padding, window.kernel, strict=True)):
        raise ValueError(f"padding {window.padding} must be at most half of the kernel {window.kernel}")
    return window


class MaxPool2d(Module):
    """y[n, i, j, c] = max_{u, v} x[n, i·SH + u·DH − PH, j·SW + v·DW − PW, c].

    Shapes: x (N, H, W, C), y (N, I, J, C). Outside of x lies −∞. The stride defaults to the kernel's size.

        ∂L/∂x = col2im(∂L/∂y at each window's maximum, 0 elsewhere)

    Of several equal maxima the first receives the gradient, counting row by row.
    """

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1):
        self.window = pooling_window(kernel_size, stride, padding, dilation)

    def settings(self):
        return self.window.settings()

    def forward(self, x):
        check_floating(self, x)
        check_shape(self, x, ("N", "H", "W", "C"))
        N, H, W, C = x.shape
        I, J = self.window.positions((H, W))
        KH, KW = self.window.kernel
        patches = self.window.im2col(x, (I, J), pad_value=-float("inf")).reshape(N, I, J, KH * KW, C)
        y, winner = patches.max(axis=3), patches.argmax(axis=3)
        if any(self.window.padding):  # in a window of −∞ alone, a pixel of x wins, not the padding
            xp = array_module(x)
            inside = self.window.im2col(xp.ones((1, H, W, 1), x.dtype), (I, J)).reshape(1, I, J, KH * KW, 1)
            winner = xp.where(y == -xp.inf, inside.argmax(axis=3), winner)
        self.save(winner, (H, W))
        return y

    def backward(self, dy):
        winner, size = self.recall()
        N, I, J, C = dy.shape
        KH, KW = self.window.kernel
        tap = array_module(dy).arange(KH * KW)[:, None]
        patches = (winner[:, :, :, None] == tap) * dy[:, :, :, None]
        return self.window.col2im(patches.reshape(N, I, J, KH, KW, C), size)


class AvgPool2d(Module):
    """y[n, i, j, c] = 1/(KH·KW) · Σ_{u, v} x[n, i·SH + u − PH, j·SW + v − PW, c].

    Shapes: x (N, H, W, C), y (N, I, J, C). Outside of x lie zeros, which count in the average. With
    count_include_pad=False they do not: each window divides by the number of its pixels inside x.

        ∂L/∂x = col2im(∂L/∂y / count, the same for every pixel of a window)
    """

    def __init__(self, kernel_size, stride=None, padding=0, *, count_include_pad=True):
        self.window = pooling_window(kernel_size, stride, padding)
        self.count_include_pad = count_include_pad

    def settings(self):
        return self.window.settings()

    def forward(self, x):
        check_floating(self, x)
        check_shape(self, x, ("N", "H", "W", "C"))
        N, H, W, C = x.shape
        positions = self.window.positions((H, W))
        total = self.window.im2col(x, positions).sum(axis=(3, 4))
        if self.count_include_pad:
            count = self.window.kernel[0] * self.window.kernel[1]
        else:
            inside = array_module(x).ones((1, H, W, 1), x.dtype)
            count = self.window.im2col(inside, positions).sum(axis=(3, 4))
        self.save(count, (H, W))
        return total / count

    def backward(self, dy):
        count, size = self.recall()
        N, I, J, C = dy.shape
        patches = (dy / count)[:, :, :, None, None]
        return self.window.col2im(array_module(dy).broadcast_to(patches, (N, I, J, *self.window.kernel, C)), size)


class Upsample(Module):
    """Nearest-neighbour upsampling by whole factors: y[n, row, col, c] = x[n, ⌊row / FH⌋, ⌊col / FW⌋, c].

    Shapes: x (N, I, J, C), y (N, FH·I, FW·J, C); scale_factor (FH, FW) is a pair, or an int for both.

        ∂L/∂x[n, i, j, c] = Σ of ∂L/∂y over the FH × FW pixels that copied x[n, i, j, c]
    """

    def __init__(self, *, scale_factor):
        self.factor = pair(scale_factor, "scale_factor", 1)

    def settings(self):
        return f"scale_factor={self.factor}"

    def forward(self, x):
        check_floating(self, x)
        check_shape(self, x, ("N", "H", "W", "C"))
        self.save(x.shape)
        return x.repeat(self.factor[0], axis=1).repeat(self.factor[1], axis=2)

    def backward(self, dy):
        ((N, H, W, C),) = self.recall()
        FH, FW = self.factor
        return dy.reshape(N, H, FH, W, FW, C).sum(axis=(2, 4))
