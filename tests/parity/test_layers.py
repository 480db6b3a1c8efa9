"""Every layer against torch.nn in float64, over drawn shapes and arguments."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from scratch import layers
from tests.support.beside_torch import check_layer
from torch_ref.layers import ResidualBlock

drawn = settings(max_examples=60, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
float64 = torch.float64


def pairs(least, most):
    """An int, or a pair of ints that usually differ."""
    return st.integers(least, most) | st.tuples(st.integers(least, most), st.integers(least, most))


def both(value):
    return value if isinstance(value, tuple) else (value, value)


@st.composite
def windows(draw):
    """Arguments of a convolution, and an image size into which its kernel fits."""
    window = dict(kernel_size=draw(pairs(1, 4)), stride=draw(pairs(1, 3)), padding=draw(pairs(0, 3)),
                  dilation=draw(pairs(1, 3)))
    size = [
        max(1, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 5))
        for k, p, d in zip(*map(both, (window["kernel_size"], window["padding"], window["dilation"])), strict=True)
    ]
    return window, size


@st.composite
def transposed_windows(draw):
    """Arguments of a transposed convolution that leave an image of at least one pixel, and an input size."""
    window, _ = draw(windows())
    s, p, d, k = (both(window[name]) for name in ("stride", "padding", "dilation", "kernel_size"))
    window["output_padding"] = tuple(draw(st.integers(0, max(s[i], d[i]) - 1)) for i in (0, 1))
    size = []
    for i in (0, 1):
        beside = d[i] * (k[i] - 1) + 1 + window["output_padding"][i] - 2 * p[i]
        least = 1 if beside >= 1 else 1 + -(-(1 - beside) // s[i])
        size.append(least + draw(st.integers(0, 3)))
    return window, size


@drawn
@given(windows(), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.booleans(), seeds)
def test_conv2d(drawn_window, n, channels, out, bias, seed):
    window, size = drawn_window
    rng = np.random.default_rng(seed)
    ours = layers.Conv2d(channels, out, **window, bias=bias, dtype=np.float64, rng=rng)
    theirs = nn.Conv2d(channels, out, **window, bias=bias, dtype=float64)
    check_layer(ours, theirs, rng.standard_normal((n, *size, channels)), rng)


@drawn
@given(transposed_windows(), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.booleans(), seeds)
def test_conv_transpose2d(drawn_window, n, channels, out, bias, seed):
    window, size = drawn_window
    rng = np.random.default_rng(seed)
    ours = layers.ConvTranspose2d(channels, out, **window, bias=bias, dtype=np.float64, rng=rng)
    theirs = nn.ConvTranspose2d(channels, out, **window, bias=bias, dtype=float64)
    check_layer(ours, theirs, rng.standard_normal((n, *size, channels)), rng)


def shape_or_refusal(make, shape, library):
    """The shape of the output for ones of this shape, or None if the layer or its forward refuses them.

    An output without pixels counts as a refusal. PyTorch 2.11 still returns one; later versions refuse.
    """
    try:
        ones = torch.ones(shape) if library is torch else np.ones(shape, np.float32)
        output = tuple(make().forward(ones).shape)
    except (ValueError, RuntimeError):
        return None
    return None if 0 in output else output


def check_refusals(name, *arguments, size, channels=2, **named):
    """Both sides accept the arguments for an image of this size and give the same shape, or both refuse."""
    ours = shape_or_refusal(lambda: getattr(layers, name)(*arguments, **named), (1, *size, channels), np)
    theirs = shape_or_refusal(lambda: getattr(nn, name)(*arguments, **named), (1, channels, *size), torch)
    assert ours == (theirs and (theirs[0], *theirs[2:], theirs[1]))


sizes = st.tuples(st.integers(1, 6), st.integers(1, 6))
anything = dict(kernel_size=pairs(1, 4), stride=pairs(0, 3), padding=pairs(-1, 3), dilation=pairs(0, 3))
often = settings(drawn, max_examples=150)


@often
@given(st.fixed_dictionaries(anything), sizes)
def test_conv2d_takes_and_refuses_what_pytorch_does(window, size):
    check_refusals("Conv2d", 2, 3, **window, size=size)


@often
@given(st.fixed_dictionaries({**anything, "output_padding": pairs(0, 3)}), sizes)
def test_conv_transpose2d_takes_and_refuses_what_pytorch_does(window, size):
    check_refusals("ConvTranspose2d", 2, 3, **window, size=size)


@often
@given(pairs(1, 4), st.none() | pairs(1, 3), pairs(0, 3), pairs(1, 3), sizes)
def test_pooling_takes_and_refuses_what_pytorch_does(kernel, stride, padding, dilation, size):
    check_refusals("MaxPool2d", kernel, stride, padding, dilation, size=size)
    check_refusals("AvgPool2d", kernel, stride, padding, size=size)


def test_every_size_that_a_strided_convolution_maps_to_one_can_be_returned_to():
    """Stride 3 maps three heights to one; output_padding says which of them the transpose returns."""
    for height in (7, 8, 9):
        x = np.ones((1, height, 7, 2), np.float32)
        y = layers.Conv2d(2, 3, 4, 3).forward(x)
        assert y.shape == (1, 2, 2, 3)
        back = layers.ConvTranspose2d(3, 2, 4, 3, output_padding=(height - 7, 0)).forward(y)
        assert back.shape == x.shape


@drawn
@given(windows(), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), seeds)
def test_the_two_convolutions_are_adjoint(drawn_window, n, channels, out, seed):
    """⟨A x, y⟩ = ⟨x, Aᵀ y⟩ with the same weight; the output padding is the remainder that the stride left."""
    window, (H, W) = drawn_window
    rng = np.random.default_rng(seed)
    conv = layers.Conv2d(channels, out, **window, bias=False, dtype=np.float64, rng=rng)
    x = rng.standard_normal((n, H, W, channels))
    Ax = conv.forward(x)
    y = rng.standard_normal(Ax.shape)
    k, s, p, d = (both(window[name]) for name in ("kernel_size", "stride", "padding", "dilation"))
    left_over = tuple((size + 2 * p[i] - d[i] * (k[i] - 1) - 1) % s[i] for i, size in enumerate((H, W)))
    transposed = layers.ConvTranspose2d(out, channels, **window, output_padding=left_over, bias=False,
                                        dtype=np.float64, rng=rng)
    transposed.load_state_dict(conv.state_dict())  # PyTorch keeps both as (O, C, KH, KW) of the convolution
    ATy = transposed.forward(y)
    assert ATy.shape == x.shape
    products = (Ax * y).sum(), (x * ATy).sum()
    assert abs(products[0] - products[1]) <= 1e-12 * np.abs(Ax * y).sum()


@drawn
@given(st.integers(1, 6), st.integers(1, 7), st.integers(1, 7), st.booleans(), seeds)
def test_linear(n, inputs, outputs, bias, seed):
    rng = np.random.default_rng(seed)
    ours = layers.Linear(inputs, outputs, bias, dtype=np.float64, rng=rng)
    theirs = nn.Linear(inputs, outputs, bias, dtype=float64)
    check_layer(ours, theirs, rng.standard_normal((n, inputs)), rng)


ACTIVATIONS = [("ReLU", ()), ("LeakyReLU", ()), ("LeakyReLU", (0.3,)), ("Sigmoid", ()), ("Tanh", ()), ("SiLU", ())]


@pytest.mark.parametrize("name, arguments", ACTIVATIONS)
@settings(drawn, max_examples=15)
@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4), scale=st.sampled_from([1, 30]), seed=seeds)
def test_activations(name, arguments, shape, scale, seed):
    rng = np.random.default_rng(seed)
    x = scale * rng.standard_normal(shape)
    x.flat[0] = 0.5  # somewhere it is not saturated, so that the gradient has a scale
    check_layer(getattr(layers, name)(*arguments), getattr(nn, name)(*arguments), x, rng)


@pytest.mark.parametrize("name, arguments", ACTIVATIONS)
def test_activations_at_the_kink_and_far_out(name, arguments):
    """At 0 the derivative is the one that PyTorch chooses. Far from 0 nothing overflows or warns."""
    x = np.array([-0.0, 0.0, 1e-300, -1e-300, 800.0, -800.0, 36.0, -36.0])
    check_layer(getattr(layers, name)(*arguments), getattr(nn, name)(*arguments), x, np.random.default_rng(0))


@st.composite
def pooling_windows(draw, dilations):
    """A pooling window, its padding at most half of the kernel, and an image size into which it fits."""
    kernel = both(draw(pairs(1, 4)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    stride = draw(st.none() | pairs(1, 3))
    dilation = both(draw(dilations))
    # at least one tap of every window lies inside the image: PyTorch defines no gradient where none does
    size = [d * (k - 1) + 1 + draw(st.integers(0, 4)) for k, d in zip(kernel, dilation, strict=True)]
    return dict(kernel_size=kernel, stride=stride, padding=padding), dilation, size


@pytest.mark.parametrize("tied", [False, True])
@drawn
@given(drawn_window=pooling_windows(pairs(1, 3)), n=st.integers(1, 3), channels=st.integers(1, 3), seed=seeds)
def test_max_pool(tied, drawn_window, n, channels, seed):
    """If a window has several maxima, the gradient goes to the first, as in PyTorch."""
    window, dilation, size = drawn_window
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, *size, channels))
    if tied:
        x = np.round(x) + 0.0  # + 0.0: no negative zeros
    check_layer(layers.MaxPool2d(**window, dilation=dilation), nn.MaxPool2d(**window, dilation=dilation), x, rng)


@drawn
@given(pooling_windows(st.just(1)), st.integers(1, 3), st.integers(1, 3), st.booleans(), seeds)
def test_avg_pool(drawn_window, n, channels, count_include_pad, seed):
    window, _, size = drawn_window
    window["count_include_pad"] = count_include_pad
    rng = np.random.default_rng(seed)
    check_layer(layers.AvgPool2d(**window), nn.AvgPool2d(**window), rng.standard_normal((n, *size, channels)), rng)


@drawn
@given(pairs(1, 4), st.lists(st.integers(1, 4), min_size=4, max_size=4), seeds)
def test_upsample(factor, shape, seed):
    rng = np.random.default_rng(seed)
    ours, theirs = layers.Upsample(scale_factor=factor), nn.Upsample(scale_factor=factor, mode="nearest")
    check_layer(ours, theirs, rng.standard_normal(shape), rng)


@settings(drawn, max_examples=30)
@given(st.lists(st.integers(1, 5), min_size=4, max_size=4), st.integers(1, 4), seeds)
def test_residual_block(shape, hidden, seed):
    rng = np.random.default_rng(seed)
    ours = layers.ResidualBlock(shape[-1], hidden, dtype=np.float64, rng=rng)
    theirs = ResidualBlock(shape[-1], hidden, dtype=float64)
    x = rng.standard_normal(shape)
    before = x.copy()
    check_layer(ours, theirs, x, rng)
    np.testing.assert_array_equal(x, before)  # no ReLU works in place: what is added is x itself


@settings(drawn, max_examples=15)
@given(st.lists(st.integers(1, 4), min_size=4, max_size=4), seeds)
def test_flatten_and_unflatten(shape, seed):
    rng = np.random.default_rng(seed)
    N, H, W, C = shape
    check_layer(layers.Flatten(), nn.Flatten(), rng.standard_normal(shape), rng)
    size = (C, H, W)
    check_layer(layers.Unflatten(1, size), nn.Unflatten(1, size), rng.standard_normal((N, C * H * W)), rng)


@pytest.mark.parametrize("name, arguments, shape", [
    ("Linear", (30, 20), (8, 30)),
    ("Conv2d", (8, 12, 4, 2, 1), (4, 8, 8, 8)),
    ("ConvTranspose2d", (8, 12, 4, 2, 1), (4, 4, 4, 8)),
    ("SiLU", (), (4, 4, 4, 8)),
    ("AvgPool2d", (2,), (4, 4, 4, 8)),
])
def test_float32(name, arguments, shape):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    theirs = getattr(nn, name)(*arguments)
    ours = getattr(layers, name)(*arguments, **({"rng": rng} if hasattr(theirs, "weight") else {}))
    check_layer(ours, theirs, x, rng, bound=1e-4)
