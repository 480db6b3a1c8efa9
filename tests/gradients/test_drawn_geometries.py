"""Gradients over randomly drawn shapes, strides, paddings and dilations."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scratch.gradcheck.cases import Case, case, gaussian, gumbel_softmax, layers, losses, vector_quantized
from scratch.gradcheck.differences import check

drawn = settings(derandomize=True, deadline=None, max_examples=40)

small = st.integers(1, 3)
seeds = st.integers(0, 2**32 - 1)


def pairs(least, most):
    return st.tuples(st.integers(least, most), st.integers(least, most))


def assert_gradients(make, name, arguments, shape, seed):
    rng = np.random.default_rng(seed)
    operation = Case(name, arguments, tuple(shape), make).build(rng)
    for tensor, difference in check(operation, rng).items():
        assert difference <= 1e-7, tensor


def fits(size, kernel, padding=(0, 0), dilation=(1, 1)):
    return all(n + 2 * p >= d * (k - 1) + 1 for n, k, p, d in zip(size, kernel, padding, dilation, strict=True))


@drawn
@given(small, pairs(1, 8), small, small, pairs(1, 4), pairs(1, 3), pairs(0, 3), pairs(1, 3), st.booleans(), seeds)
def test_conv2d(N, size, C, O, kernel, stride, padding, dilation, bias, seed):
    assume(fits(size, kernel, padding, dilation))
    arguments = dict(in_channels=C, out_channels=O, kernel_size=kernel, stride=stride, padding=padding,
                     dilation=dilation, bias=bias)
    assert_gradients(layers.layer, "Conv2d", arguments, (N, *size, C), seed)


@drawn
@given(small, pairs(1, 5), small, small, pairs(1, 4), pairs(1, 3), pairs(0, 3), pairs(1, 3), st.data(), seeds)
def test_conv_transpose2d(N, size, C, O, kernel, stride, padding, dilation, data, seed):
    extra = tuple(data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    geometry = zip(size, kernel, stride, padding, dilation, extra, strict=True)
    assume(all((n - 1) * s - 2 * p + d * (k - 1) + 1 + e >= 1 for n, k, s, p, d, e in geometry))
    arguments = dict(in_channels=C, out_channels=O, kernel_size=kernel, stride=stride, padding=padding,
                     dilation=dilation, output_padding=extra, bias=data.draw(st.booleans()))
    assert_gradients(layers.layer, "ConvTranspose2d", arguments, (N, *size, C), seed)


@drawn
@given(small, pairs(1, 8), small, pairs(1, 3), pairs(1, 3), pairs(1, 2), st.data(), seeds)
def test_max_pooling(N, size, C, kernel, stride, dilation, data, seed):
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    assume(fits(size, kernel, padding, dilation))
    # A window of two dilated taps can miss a thin image on both sides; its maximum is −∞, without a derivative.
    assume(all(k != 2 or p == 0 or n > d - 1 for n, k, p, d in zip(size, kernel, padding, dilation, strict=True)))
    arguments = dict(kernel_size=kernel, stride=stride, padding=padding, dilation=dilation)
    assert_gradients(layers.layer, "MaxPool2d", arguments, (N, *size, C), seed)


@drawn
@given(small, pairs(1, 8), small, pairs(1, 3), pairs(1, 3), st.data(), seeds)
def test_average_pooling(N, size, C, kernel, stride, data, seed):
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    assume(fits(size, kernel, padding))
    arguments = dict(kernel_size=kernel, stride=stride, padding=padding, count_include_pad=data.draw(st.booleans()))
    assert_gradients(layers.layer, "AvgPool2d", arguments, (N, *size, C), seed)


@drawn
@given(small, pairs(1, 5), small, pairs(1, 4), seeds)
def test_upsample(N, size, C, factor, seed):
    assert_gradients(layers.layer, "Upsample", dict(scale_factor=factor), (N, *size, C), seed)


@drawn
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.booleans(), seeds)
def test_linear(N, I, O, bias, seed):
    assert_gradients(layers.layer, "Linear", dict(in_features=I, out_features=O, bias=bias), (N, I), seed)


@drawn
@given(
    st.sampled_from(["ReLU", "LeakyReLU", "Sigmoid", "Tanh", "SiLU"]),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    seeds,
)
def test_activations(name, shape, seed):
    assert_gradients(layers.layer, name, {}, shape, seed)


@drawn
@given(small, pairs(1, 4), small, seeds)
def test_flatten_and_unflatten(N, size, C, seed):
    H, W = size
    assert_gradients(layers.layer, "Flatten", {}, (N, H, W, C), seed)
    assert_gradients(layers.layer, "Unflatten", dict(dim=1, unflattened_size=(C, H, W)), (N, C * H * W), seed)


@drawn
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 6), st.integers(1, 5), seeds)
def test_vector_quantizer(positions, codes, code_dim, seed):
    arguments = dict(codes=codes, code_dim=code_dim, init="normal")
    assert_gradients(vector_quantized.vector_quantizer, "VectorQuantizer", arguments, (*positions, code_dim), seed)


@drawn
@given(st.integers(1, 6), st.integers(1, 6), seeds)
def test_gaussian(N, Z, seed):
    assert_gradients(gaussian.reparameterize, "Reparameterize", {}, (N, Z), seed)
    assert_gradients(gaussian.gaussian_kl, "GaussianKL", {}, (N, Z), seed)


@drawn
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(2, 6), st.floats(0.3, 2), st.booleans(), seeds)
def test_gumbel_softmax(positions, codes, temperature, hard, seed):
    shape = (*positions, codes)  # of one code alone, no logit has a gradient
    make, name = gumbel_softmax.gumbel_softmax, "GumbelSoftmax"
    soft = Case(name, dict(temperature=temperature, hard=False), shape, make).build(np.random.default_rng(seed))
    # Where every draw is all but certain, ‖g‖ ~ 1e-5 and the rounding of y ~ 1, divided by it and by the step, is 1e-7.
    assume(soft.forward()["y"].max(axis=-1).min() < 0.999)
    assert_gradients(make, name, dict(temperature=temperature, hard=hard), shape, seed)
    assert_gradients(gumbel_softmax.categorical_kl, "CategoricalKL", {}, shape, seed)
    assert_gradients(
        gumbel_softmax.code_mixture, "CodeMixture", dict(codes=codes, code_dim=3, init="normal"), shape, seed)


@drawn
@given(small, pairs(1, 3), small, st.integers(2, 4), seeds)
def test_bottlenecks(N, size, C, Z, seed):
    # Z ≥ 2: the gradient of a single bias is one sum, which can cancel to nearly nothing, and its norm with it.
    features = (*size, C)
    for name in ("DenseBottleneck", "GaussianBottleneck"):
        arguments = dict(feature_shape=features, latent_dim=Z)
        assert_gradients(case.bottleneck, name, arguments, (N, *features), seed)
    arguments = dict(feature_shape=features, codes=4, code_dim=Z, init="normal")
    assert_gradients(case.bottleneck, "VectorQuantizedBottleneck", arguments, (N, *features), seed)
    for hard in (False, True):
        arguments |= dict(temperature=0.7, hard=hard)
        assert_gradients(
            gumbel_softmax.gumbel_softmax_bottleneck, "GumbelSoftmaxBottleneck", arguments, (N, *features), seed)


@drawn
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), seeds)
def test_losses(shape, seed):
    for name in ("SquaredError", "BernoulliFromLogits"):
        assert_gradients(losses.loss, name, {}, shape, seed)
    assert_gradients(losses.logit_laplace, "LogitLaplace", {}, shape, seed)
    assert_gradients(losses.discretized_logistic, "DiscretizedLogistic", {}, shape, seed)
    assert_gradients(losses.categorical, "Categorical", {}, shape, seed)
