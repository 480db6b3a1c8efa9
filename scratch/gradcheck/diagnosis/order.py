"""The right numbers in other places: axes permuted, flipped, shifted, reshaped in another order."""

from itertools import chain, combinations, permutations

import numpy as np

from scratch.gradcheck.diagnosis.comparison import Finding, axes_in_words, largest, shape_in_words, subsets

MOST_AXES = 5  # of an array whose permutations are tried


def flipped(c):
    """Axes reversed, such as those of a kernel."""
    if not c.same_shape or c.claimed.size < 2:
        return
    for axes in subsets([axis for axis, length in enumerate(c.claimed.shape) if length > 1]):
        if c.fits(np.flip(c.expected, axes)):
            yield Finding("order", f"the right gradient flipped along {axes_in_words(axes)}",
                          "each coordinate has the right number of the opposite end", 0.1 * len(axes))


def transposed(c):
    """Axes permuted, with or without a flip."""
    ndim = c.expected.ndim
    if not 2 <= ndim <= MOST_AXES or c.claimed.ndim != ndim:
        return
    for order in permutations(range(ndim)):
        if order == tuple(range(ndim)) or tuple(c.expected.shape[a] for a in order) != c.claimed.shape:
            continue
        candidate = c.expected.transpose(order)
        what = f"the right gradient {'transposed' if ndim == 2 else f'with its axes in the order {order}'}"
        shapes = "" if c.same_shape else f"; its shape is {shape_in_words(c.claimed.shape)}, that of the tensor " \
                                         f"{shape_in_words(c.expected.shape)}"
        if c.fits(candidate):
            moved = sum(a != b for a, b in zip(order, range(ndim), strict=True))
            yield Finding("order", what, f"transposing it back gives every number in its place{shapes}", 0.1 * moved)
        elif c.same_shape:
            for axes in subsets([axis for axis, length in enumerate(candidate.shape) if length > 1]):
                if c.fits(np.flip(candidate, axes)):
                    yield Finding("order", f"{what} and flipped along {axes_in_words(axes)}",
                                  "undoing both gives every number in its place", 1)


def overlap(array, shifts):
    """The part of an array that stays inside when it is moved by these shifts, an axis each."""
    return array[tuple(slice(max(0, -s), array.shape[a] - max(0, s)) for a, s in enumerate(shifts))]


def shifted(c):
    """Moved along one axis, or along two by the same number, with anything in what becomes free."""
    if not c.same_shape or c.claimed.size < 6:
        return
    axes = [axis for axis, length in enumerate(c.claimed.shape) if length > 2]
    moves = [{axis: s} for axis in axes for s in chain(*((n, -n) for n in range(1, c.claimed.shape[axis] // 2 + 1)))]
    moves += [{a: s, b: s * sign} for a, b in combinations(axes, 2) for s in (1, -1, 2, -2) for sign in (1, -1)
              if 2 * abs(s) <= min(c.claimed.shape[a], c.claimed.shape[b])]
    for move in moves:
        shifts = [move.get(axis, 0) for axis in range(c.claimed.ndim)]
        claimed, expected = overlap(c.claimed, [-s for s in shifts]), overlap(c.expected, shifts)
        before = overlap(c.expected, [-s for s in shifts])
        if claimed.size < max(4, c.claimed.size // 4) or largest(expected) <= c.close:
            continue
        if largest(claimed - expected) <= c.close and largest(before - expected) > 100 * c.close:
            by = " and ".join(f"{abs(s)} along axis {axis}" for axis, s in move.items())
            yield Finding("order", f"the right gradient shifted by {by}",
                          f"{claimed.size} of {c.claimed.size} coordinates have the right number of another place",
                          0.5 * len(move))


def reshaped(c):
    """Numbers read in another order of the axes, as by a reshape in place of a transpose."""
    shape, ndim = c.expected.shape, c.expected.ndim
    if c.claimed.size != c.expected.size:
        return
    if not c.same_shape and c.fits(c.expected.reshape(c.claimed.shape)):
        yield Finding("shape", f"the right numbers in the shape {shape_in_words(c.claimed.shape)}",
                      f"the tensor has the shape {shape_in_words(shape)}")
    if not c.same_shape or not 2 <= ndim <= MOST_AXES:
        return
    for order in permutations(range(ndim)):
        if order == tuple(range(ndim)):
            continue
        inverse = np.argsort(order)
        if (c.fits(c.expected.transpose(order).reshape(shape))
                or c.fits(c.expected.reshape([shape[a] for a in order]).transpose(inverse))):
            yield Finding("order", "the right numbers read in another order of the axes, as by a reshape without its "
                          "transpose", "reading them in the other order gives every number its place", 1)
            return


def exchanged(c):
    """The gradient of another tensor of the same shape."""
    for name, gradient in c.others.items():
        if largest(gradient) and c.fits(gradient):
            yield Finding("exchanged", f"the gradient of {name}, not of {c.own or 'this tensor'}",
                          f"every coordinate is that of {name}'s gradient")


def rearranged(c):
    """The right numbers, each once, in other places."""
    if not c.same_shape or c.claimed.size < 6:
        return
    claimed, expected = np.sort(c.claimed, axis=None), np.sort(c.expected, axis=None)
    distinct = np.count_nonzero(np.diff(expected) > c.close)
    if distinct >= 5 and largest(claimed - expected) <= c.close:
        moved = int((np.abs(c.claimed - c.expected) > c.close).sum())
        yield Finding("order", "the right numbers in the wrong places",
                      f"sorted, both gradients are equal; {moved} of {c.claimed.size} stand elsewhere")
