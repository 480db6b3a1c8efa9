"""The loops of conv_definition.py, which define convolution, against the fast layers in conv.py."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scratch.layers import Conv2d, ConvTranspose2d, conv_definition

small, pair = st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3))

TWINS = [
    (Conv2d, conv_definition.conv2d, conv_definition.conv2d_backward),
    (ConvTranspose2d, conv_definition.conv_transpose2d, conv_definition.conv_transpose2d_backward),
]


@pytest.mark.parametrize("layer_class, forward, backward", TWINS, ids=["Conv2d", "ConvTranspose2d"])
@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    N=small, size=st.tuples(st.integers(1, 5), st.integers(1, 5)), C=small, O=small, kernel=pair, stride=pair,
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)), seed=st.integers(0, 2**32 - 1),
)
def test_the_layer_computes_its_definition(
        layer_class, forward, backward, N, size, C, O, kernel, stride, padding, seed):
    if layer_class is Conv2d:
        assume(all(n + 2 * p >= k for n, k, p in zip(size, kernel, padding, strict=True)))
    else:
        geometry = zip(size, kernel, stride, padding, strict=True)
        assume(all((n - 1) * s - 2 * p + k >= 1 for n, k, s, p in geometry))
    rng = np.random.default_rng(seed)
    layer = layer_class(C, O, kernel, stride, padding, dtype=np.float64, rng=rng)
    x, w, b = rng.standard_normal((N, *size, C)), layer.weight.value, layer.bias.value
    y = layer.forward(x)
    np.testing.assert_allclose(y, forward(x, w, b, stride, padding), rtol=1e-12, atol=1e-13)
    dy = rng.standard_normal(y.shape)
    dx, dw, db = backward(dy, x, w, stride, padding)
    np.testing.assert_allclose(layer.backward(dy), dx, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(layer.weight.grad, dw, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.bias.grad, db, rtol=1e-12, atol=1e-12)
