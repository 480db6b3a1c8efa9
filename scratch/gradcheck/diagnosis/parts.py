"""Right in one part of the coordinates, and zero, or a multiple of the right gradient, in the rest."""

import math
from itertools import chain, combinations

import numpy as np

from scratch.gradcheck.diagnosis.comparison import Finding, axes_in_words, in_words
from scratch.gradcheck.diagnosis.factors import PLAIN, best_factor

LEAST = 3  # coordinates on each side of the border between right and wrong, unless the border is a plain one


def places(mask, c):
    """The words for the coordinates where the mask is true; none where there is no pattern."""
    for axis, length in enumerate(mask.shape):
        line = np.moveaxis(mask, axis, 0).reshape(length, -1)
        if length > 1 and (line.all(axis=1) | ~line.any(axis=1)).all():
            chosen = np.flatnonzero(line[:, 0])
            if len(chosen) == 1:
                index = {0: "the first index", length - 1: "the last index"}.get(chosen[0], f"index {chosen[0]}")
                yield f"at {index} of axis {axis}"
            elif len(chosen) == length - 1:
                left = np.flatnonzero(~line[:, 0])[0]
                index = {0: "the first index", length - 1: "the last index"}.get(left, f"index {left}")
                yield f"everywhere but at {index} of axis {axis}"
            else:
                yield f"at the indices {', '.join(map(str, chosen[:8]))} of axis {axis}"
    if words := border(mask):
        yield words
    for name, q in chain(c.like_claimed(c.arrays).items(),
                         c.like_claimed({f"∂L/∂{n}": u for n, u in c.upstream.items()}).items(),
                         [("the right gradient", c.expected)]):
        q = np.broadcast_to(q, mask.shape)
        for words, where in (("> 0", q > 0), ("< 0", q < 0), ("= 0", q == 0), ("≠ 0", q != 0), ("≥ 0", q >= 0),
                             ("≤ 0", q <= 0)):
            relevant = np.abs(c.expected) + np.abs(c.claimed) > c.close
            if where[relevant].any() and not where[relevant].all() and (where == mask)[relevant].all():
                yield f"where {name} {words}"


def border(mask):
    """The words for a mask that is the rim of some axes, or all but the rim."""
    for axes in chain.from_iterable(combinations(range(mask.ndim), n) for n in (2, 3)):
        for ends, words in (((0,), "at the first indices of"), ((-1,), "at the last indices of"),
                            ((0, -1), "at both ends of")):
            rim = np.zeros(mask.shape, bool)
            for axis in axes:
                if mask.shape[axis] < 3:
                    break
                np.moveaxis(rim, axis, 0)[list(ends)] = True
            else:
                if (rim == mask).all():
                    return f"{words} {axes_in_words(axes)}"
                if (rim == ~mask).all():
                    return f"everywhere but {words} {axes_in_words(axes)}"
    return ""


def right_in_a_part(c):
    """Right at some coordinates; at the others zero, or times one number, or not zero where it should be."""
    if not c.same_shape or c.claimed.size < 4:
        return
    right = np.abs(c.claimed - c.expected) <= c.close
    wrong, shown = ~right, right & (np.abs(c.expected) > c.close)
    count = int(wrong.sum())
    if not shown.any() or not count:
        return
    found = list(places(wrong, c))
    if not found and min(count, shown.sum()) < LEAST:
        return
    for at, words in enumerate(found or [""]):
        yield from in_a_part(c, right, words, 0.01 * at if found else 0.5)


def in_a_part(c, right, words, rank):
    """The same, with the words for where the wrong coordinates are; "" where there are none."""
    wrong, plain = ~right, bool(words)
    count = int(wrong.sum())
    evidence = f"{count} of {c.claimed.size} coordinates are wrong, the others right"
    if (np.abs(c.claimed[wrong]) <= c.close).all():
        yield Finding("part", f"the right gradient with zeros {words}" if plain else
                      "the right gradient with zeros in a part of it", f"{count} of {c.claimed.size} coordinates are "
                      f"zero and should not be, the others are right", rank)
        return
    expected, claimed = c.expected[wrong], c.claimed[wrong]
    factor = best_factor(claimed, expected)
    fits = np.abs(factor * expected - claimed).max() <= c.close
    if fits and (count >= 2 or plain) and np.abs(expected).max() > c.close:
        known = next((w for number, w in PLAIN.items() if math.isclose(factor, number, rel_tol=1e-5)), "")
        what = {"the opposite of": "with the opposite sign"}.get(known, f"times {in_words(factor)}")
        yield Finding("part", f"the right gradient, but {what} {words or 'in a part of it'}",
                      f"{evidence}; the ratio there is {in_words(factor)}", rank)
    elif (np.abs(expected) <= c.close).all():
        where = f" {words}" if plain else ""
        yield Finding("part", f"the right gradient, but not zero where it should be{where}",
                      f"at {count} of {c.claimed.size} coordinates the right one is zero and the claimed one is not, "
                      f"the others are right", rank)


def wrong_signs(c):
    """The right sizes with other signs, or the right signs with one size, or sizes that are cut off."""
    if not c.same_shape or c.claimed.size < 6:
        return
    size = np.abs(c.expected)
    if np.abs(np.abs(c.claimed) - size).max() <= c.close:
        count = int((np.abs(c.claimed - c.expected) > c.close).sum())
        if count >= LEAST and (c.claimed >= -c.close).all():
            yield Finding("sign", "the absolute value of the right gradient",
                          f"no coordinate is negative; {count} of {c.claimed.size} should be", 0)
        if count >= LEAST:
            yield Finding("sign", "the right gradient with the opposite sign at some coordinates",
                          f"every size is right; at {count} of {c.claimed.size} coordinates the sign is not", 1)
    clear = size > 100 * c.close
    height = np.abs(c.claimed[clear])
    if clear.sum() >= 6 and np.ptp(height) <= c.close < 0.01 * height.max() and np.ptp(size[clear]) > 0.1 * size.max():
        if len(set(np.sign(c.claimed[clear] * c.expected[clear]))) == 1 and len(set(np.sign(c.expected[clear]))) == 2:
            yield Finding("sign", "the sign of the right gradient times one number",
                          f"every coordinate is ± {in_words(float(height.max()))}", 0)
    top = float(np.abs(c.claimed).max())
    if LEAST <= (size > top + c.close).sum() < c.claimed.size and c.fits(np.clip(c.expected, -top, top)):
        yield Finding("sign", f"the right gradient clipped to ± {in_words(top)}",
                      f"{int((size > top + c.close).sum())} of {c.claimed.size} coordinates are cut off", 0)


def right_in_a_slab(c):
    """Right at some indices of an axis and wrong at the others, in no way that is known."""
    if not c.same_shape or c.claimed.size < 6:
        return
    wrong = np.abs(c.claimed - c.expected) > c.close
    shown = ~wrong & (np.abs(c.expected) > c.close)
    if not LEAST <= wrong.sum() <= wrong.size - LEAST or shown.sum() < LEAST:
        return
    for at, words in enumerate(places(wrong, c)):
        yield Finding("part", f"a gradient that is wrong {words}", f"{int(wrong.sum())} of {wrong.size} "
                      f"coordinates are wrong, the others are right", 0.01 * at)
