"""The accelerated forms against the plain ones that define them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scratch.layers import patches
from tests.parity.helpers import assert_close

pairs = {least: st.tuples(st.integers(least, 4), st.integers(least, 4)) for least in (0, 1)}


@settings(derandomize=True, deadline=None, max_examples=100)
@given(pairs[1], pairs[1], pairs[0], pairs[0], pairs[1], st.integers(1, 3))
def test_col2im_by_blocks_is_col2im(kernel, stride, padding, beyond, positions, channels):
    """Also where some rows and columns of the image are reached by no patch."""
    window = patches.Window(kernel, stride, padding)
    extra = tuple(min(b, s - 1) for b, s in zip(beyond, stride, strict=True))
    try:
        size = window.image_size(positions, extra)
    except ValueError:
        return  # all of the image would be padding
    p = np.random.default_rng(0).standard_normal((2, *positions, *kernel, channels))
    assert_close(patches.col2im(p, window, size), patches.col2im_by_taps(p, window, size), 1e-14)
