"""What "equal" means between two ways of computing the same."""

import numpy as np


def assert_close(ours, theirs, bound, name=""):
    """max |ours − theirs| ≤ bound · max |theirs|, of one shape and one dtype; a NaN is never close."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, f"{name}: shape {ours.shape}, expected {theirs.shape}"
    assert ours.dtype == theirs.dtype, f"{name}: {ours.dtype}, expected {theirs.dtype}"
    difference, scale = np.abs(ours - theirs).max(), np.abs(theirs).max()
    assert difference <= bound * scale, f"{name}: differs by {difference:.2e} where the largest is {scale:.2e}"


def assert_all_close(ours, theirs, bound):
    """assert_close by name of two dicts with the same names."""
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert_close(ours[name], value, bound, name)
