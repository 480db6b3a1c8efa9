"""Convolution and its transpose, each as one matrix product. conv_definition.py computes the same by loops."""

import math

import numpy as np

from scratch.arrays import column_sums
from scratch.layers.checks import check_input, size
from scratch.layers.linear import uniform_parameter
from scratch.layers.patches import Window, pair
from scratch.module import Module


class Conv2d(Module):
    """y[n, i, j, o] = b[o] + Σ_{u, v, c} x[n, i·SH + u·DH − PH, j·SW + v·DW − PW, c] · W[u, v, c, o].

    Shapes: x (N, H, W, C), W (KH, KW, C, O), b (O,), y (N, I, J, O) with
    I = ⌊(H + 2·PH − DH·(KH − 1) − 1) / SH⌋ + 1, and J likewise. Outside of x lie zeros.

    Let P have one row for each patch of x, and let W be flattened to (KH·KW·C, O). Then the layer is linear:

        P = im2col(x)      y = P W + b
        ∂L/∂W = Pᵀ ∂L/∂y      ∂L/∂b = Σ_{n, i, j} ∂L/∂y      ∂L/∂x = col2im(∂L/∂y Wᵀ)

    kernel_size (KH, KW), stride (SH, SW), padding (PH, PW) and dilation (DH, DW) are pairs (vertical, horizontal), or
    ints for both. PyTorch keeps W as (O, C, KH, KW); the state dict permutes.
    (LeCun et al. 1989, Backpropagation applied to handwritten zip code)
    """

    column_sums = staticmethod(column_sums)

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, *,
                 bias=True, dtype=np.float32, rng=None):
        in_channels, out_channels = size(in_channels, "in_channels"), size(out_channels, "out_channels")
        rng = rng or np.random.default_rng()
        self.window = Window(kernel_size, stride, padding, dilation)
        fan_in = in_channels * math.prod(self.window.kernel)
        shape = (*self.window.kernel, in_channels, out_channels)
        self.weight = uniform_parameter(shape, fan_in, dtype, rng, to_torch=(3, 2, 0, 1))
        self.bias = uniform_parameter((out_channels,), fan_in, dtype, rng) if bias else None

    def settings(self):
        *_, C, O = self.weight.value.shape
        return f"{C}, {O}, {self.window.settings()}" + ("" if self.bias else ", bias=False")

    def forward(self, x):
        KH, KW, C, O = self.weight.value.shape
        check_input(self, x, ("N", "H", "W", C), self.weight.value)
        N, H, W, _ = x.shape
        I, J = self.window.positions((H, W))
        P = self.window.im2col(x, (I, J)).reshape(N * I * J, KH * KW * C)
        y = P @ self.weight.value.reshape(KH * KW * C, O)
        if self.bias:
            y += self.bias.value
        self.save(P, (H, W))
        return y.reshape(N, I, J, O)

    def backward(self, dy):
        P, size = self.recall()
        KH, KW, C, O = self.weight.value.shape
        N, I, J, _ = dy.shape
        dy = dy.reshape(N * I * J, O)
        if self.bias:
            self.bias.accumulate(self.column_sums(dy))
        self.weight.accumulate((P.T @ dy).reshape(KH, KW, C, O))
        if not self.needs_input_gradient:
            return None
        dP = dy @ self.weight.value.reshape(KH * KW * C, O).T
        return self.window.col2im(dP.reshape(N, I, J, KH, KW, C), size)


class ConvTranspose2d(Module):
    """y[n, row, col, o] = b[o] + Σ x[n, i, j, c] · W[c, u, v, o], over all c and all i, j, u, v with
    row = i·SH + u·DH − PH and col = j·SW + v·DW − PW.

    Shapes: x (N, I, J, C), W (C, KH, KW, O), b (O,), y (N, H, W, O) with
    H = (I − 1)·SH − 2·PH + DH·(KH − 1) + 1 + output_padding, and W likewise.

    It is the transpose of a convolution that maps (N, H, W, O) to (N, I, J, C): its forward is that convolution's
    backward. With W flattened to (C, KH·KW·O) and x to rows (N·I·J, C):

        P = x W      y = col2im(P) + b
        ∂L/∂P = im2col(∂L/∂y)      ∂L/∂W = xᵀ ∂L/∂P      ∂L/∂b = Σ_{n, row, col} ∂L/∂y      ∂L/∂x = ∂L/∂P Wᵀ

    A convolution with a stride maps several sizes H to the same I. An output_padding below the stride says which of
    them y has. As in PyTorch it may also be below the dilation instead. From the stride on it picks no size: the
    convolution would map such an H to more than I rows. PyTorch keeps W as (C, O, KH, KW) and initialises it with
    fan_in = O·KH·KW, the number of outputs that one input reaches. (Zeiler et al. 2010, Deconvolutional networks)
    """

    column_sums = staticmethod(column_sums)

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, *,
                 dilation=1, bias=True, dtype=np.float32, rng=None):
        in_channels, out_channels = size(in_channels, "in_channels"), size(out_channels, "out_channels")
        rng = rng or np.random.default_rng()
        self.window = Window(kernel_size, stride, padding, dilation)
        self.output_padding = pair(output_padding, "output_padding", 0)
        if any(o >= max(s, d) for o, s, d in zip(
                self.output_padding, self.window.stride, self.window.dilation, strict=True)):
            raise ValueError(f"output_padding {self.output_padding} must be less than the stride "
                             f"{self.window.stride} or the dilation {self.window.dilation}")
        fan_in = out_channels * math.prod(self.window.kernel)
        shape = (in_channels, *self.window.kernel, out_channels)
        self.weight = uniform_parameter(shape, fan_in, dtype, rng, to_torch=(0, 3, 1, 2))
        self.bias = uniform_parameter((out_channels,), fan_in, dtype, rng) if bias else None

    def settings(self):
        C, *_, O = self.weight.value.shape
        more = f", output_padding={self.output_padding}" if any(self.output_padding) else ""
        return f"{C}, {O}, {self.window.settings()}{more}" + ("" if self.bias else ", bias=False")

    def forward(self, x):
        C, KH, KW, O = self.weight.value.shape
        check_input(self, x, ("N", "H", "W", C), self.weight.value)
        N, I, J, _ = x.shape
        size = self.window.image_size((I, J), self.output_padding)
        x = x.reshape(N * I * J, C)
        P = x @ self.weight.value.reshape(C, KH * KW * O)
        y = self.window.col2im(P.reshape(N, I, J, KH, KW, O), size)
        if self.bias:
            y += self.bias.value
        self.save(x, (I, J))
        return y

    def backward(self, dy):
        x, (I, J) = self.recall()
        C, KH, KW, O = self.weight.value.shape
        N, H, W, _ = dy.shape
        if self.bias:
            self.bias.accumulate(self.column_sums(dy.reshape(N * H * W, O)))
        dP = self.window.im2col(dy, (I, J)).reshape(N * I * J, KH * KW * O)
        self.weight.accumulate((x.T @ dP).reshape(C, KH, KW, O))
        dx = dP @ self.weight.value.reshape(C, KH * KW * O).T
        return dx.reshape(N, I, J, C) if self.needs_input_gradient else None
