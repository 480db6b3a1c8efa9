"""The convolutions as loops, which a learner reads first, are equal to PyTorch and to the fast layers."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from scratch.layers import Conv2d, ConvTranspose2d, conv_definition
from tests.support.beside_torch import assert_close, to_numpy, to_torch

drawn = settings(max_examples=30, deadline=None, derandomize=True)


@st.composite
def cases(draw):
    """(kernel, stride, padding, an input size that suits both convolutions), each vertical and horizontal."""
    axes = []
    for _ in range(2):
        k, s, p = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(0, 1))
        axes.append((k, s, p, max(1, k - 2 * p) + p + draw(st.integers(1, 3))))
    return tuple(zip(*axes, strict=True))


def check(case, seed, layer_class, forward, backward, torch_function):
    kernel, stride, padding, size = case
    rng = np.random.default_rng(seed)
    layer = layer_class(2, 3, kernel, stride, padding, dtype=np.float64, rng=rng)
    w, b = layer.weight.value, layer.bias.value
    x = rng.standard_normal((2, *size, 2))
    y = forward(x, w, b, stride, padding)
    dy = rng.standard_normal(y.shape)
    dx, dw, db = backward(dy, x, w, stride, padding)

    assert_close(layer.forward(x), y, 1e-12, "layer: output")
    assert_close(layer.backward(dy), dx, 1e-12, "layer: input gradient")
    assert_close(layer.weight.grad, dw, 1e-12, "layer: weight gradient")
    assert_close(layer.bias.grad, db, 1e-12, "layer: bias gradient")

    x_torch, b_torch = to_torch(x), to_torch(b)
    w_torch = torch.tensor(layer.weight.in_torch_layout(w), requires_grad=True)
    y_torch = torch_function(x_torch, w_torch, b_torch, stride=stride, padding=padding)
    y_torch.backward(to_torch(dy))
    assert_close(y, to_numpy(y_torch), 1e-12, "torch: output")
    assert_close(dx, to_numpy(x_torch.grad), 1e-12, "torch: input gradient")
    assert_close(dw, layer.weight.in_own_layout(w_torch.grad.numpy()), 1e-12, "torch: weight gradient")
    assert_close(db, b_torch.grad.numpy(), 1e-12, "torch: bias gradient")


@drawn
@given(cases(), st.integers(0, 2**32 - 1))
def test_convolution(case, seed):
    check(case, seed, Conv2d, conv_definition.conv2d, conv_definition.conv2d_backward, F.conv2d)


@drawn
@given(cases(), st.integers(0, 2**32 - 1))
def test_transposed_convolution(case, seed):
    check(case, seed, ConvTranspose2d, conv_definition.conv_transpose2d, conv_definition.conv_transpose2d_backward,
          F.conv_transpose2d)
