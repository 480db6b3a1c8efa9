"""Summed over a wrong axis, not summed, or a mean in place of a sum."""

import numpy as np

from scratch.gradcheck.diagnosis.comparison import Finding, axes_in_words, shape_in_words, subsets


def not_summed(c):
    """It has axes that should have been summed over."""
    if c.claimed.size <= c.expected.size:
        return
    for axes in subsets(range(c.claimed.ndim)):
        for words, reduce in (("summed", np.sum), ("averaged", np.mean)):
            total = reduce(c.claimed, axis=axes)
            if total.size == c.expected.size and c.expected.size and np.allclose(
                    total.reshape(c.expected.shape), c.expected, rtol=0, atol=c.precision * np.abs(c.expected).max()):
                yield Finding("sum", f"the right gradient before it is {words} over {axes_in_words(axes)}",
                              f"its shape is {shape_in_words(c.claimed.shape)}, that of the tensor "
                              f"{shape_in_words(c.expected.shape)}; {words} over {axes_in_words(axes)} it is right",
                              0.1 * len(axes) + (words == "averaged"))


def summed_too_far(c):
    """The sum or the mean of the right gradient over some axes, in its own shape or repeated to the right one."""
    for axes in subsets(range(c.expected.ndim)):
        if all(c.expected.shape[axis] == 1 for axis in axes):
            continue
        for words, reduce in (("sum", np.sum), ("mean", np.mean)):
            total = reduce(c.expected, axis=axes, keepdims=True)
            if c.same_shape:
                candidate = np.broadcast_to(total, c.claimed.shape)
            elif total.size == c.claimed.size:
                candidate = total.reshape(c.claimed.shape)
            else:
                continue
            if c.fits(candidate):
                yield Finding("sum", f"the {words} of the right gradient over {axes_in_words(axes)}",
                              "every coordinate along it has the same number" if c.same_shape else
                              f"its shape is {shape_in_words(c.claimed.shape)}, that of the tensor "
                              f"{shape_in_words(c.expected.shape)}", 0.1 * len(axes))


def of_upstream(c):
    """The upstream gradient itself, or its sum over axes that are not the right ones."""
    if any(True for _ in not_summed(c)):
        return
    for name, u in c.upstream.items():
        u = np.asarray(u)
        if u.ndim == 0 or u.ndim > 5:
            continue
        if c.same_shape and c.fits(u):
            yield Finding("upstream", f"the upstream gradient ∂L/∂{name} itself: the operation's own derivative is "
                          f"left out", f"every coordinate is that of ∂L/∂{name}")
        if c.same_shape and c.fits(-u):
            yield Finding("upstream", f"the upstream gradient ∂L/∂{name} with the opposite sign: the operation's own "
                          f"derivative is left out", f"every coordinate is minus that of ∂L/∂{name}")
        for axes in subsets(range(u.ndim)):
            if all(u.shape[axis] == 1 for axis in axes):
                continue
            for words, reduce in (("sum", np.sum), ("mean", np.mean), ("maximum", np.max), ("minimum", np.min)):
                total = reduce(u, axis=axes)
                if c.fits(total) or (total.size == c.claimed.size and c.fits(total.reshape(c.claimed.shape))):
                    shape = "" if c.same_shape else f"; its shape is {shape_in_words(c.claimed.shape)}, that of the " \
                                                    f"tensor {shape_in_words(c.expected.shape)}"
                    instead = ("in place of a sum" if words in ("maximum", "minimum") else
                               "which are not the right axes" if len(axes) > 1 else "which is not the right axis")
                    yield Finding("sum", f"the {words} of ∂L/∂{name} over {axes_in_words(axes)}, {instead}",
                                  f"every number of it is that {words}{shape}", 0.1 * len(axes))
