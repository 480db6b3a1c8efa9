"""Sums in which a term is missing, doubled or has another weight; differences that have a simple form."""

import math

import numpy as np

from scratch.gradcheck.diagnosis.comparison import Finding, axes_in_words, in_words, largest, subsets
from scratch.gradcheck.diagnosis.factors import best_factor, derived, names_of


def coefficients(c, shares):
    """The number in front of each share for which their sum is the claimed gradient; None if there are no such."""
    columns = np.stack([share.ravel() for share in shares.values()], axis=1)
    norms = np.linalg.norm(columns, axis=0)
    if columns.shape[0] < columns.shape[1] or (norms <= c.close).any():
        return None
    unit = columns / norms
    if np.linalg.svd(unit, compute_uv=False).min() < 1e-3:  # shares too much alike to be told apart
        return None
    found = np.linalg.lstsq(unit, c.claimed.ravel(), rcond=None)[0] / norms
    return found if c.fits((columns @ found).reshape(c.claimed.shape)) else None


def weight_in_words(factor, name, c):
    """What is wrong with the share of a term, given the number in front of it; "" if nothing is."""
    if abs(factor) < 1e-5:
        return f"without the share of {name}"
    for number, words in ((2, "with the share of {} doubled"), (-1, "with the share of {} of the opposite sign"),
                          (0.5, "with half of the share of {}")):
        if math.isclose(factor, number, rel_tol=1e-5):
            return words.format(name)
    u = np.asarray(c.upstream.get(name, np.nan))
    if u.ndim == 0 and math.isclose(factor * u, 1, rel_tol=1e-5):
        return f"with the share of {name} without its upstream gradient"
    if u.ndim == 0:
        for other, v in c.upstream.items():
            if other != name and np.ndim(v) == 0 and math.isclose(factor * u, v, rel_tol=1e-5):
                return f"with the share of {name} under the upstream gradient of {other}"
    names = [words for words, level in names_of(factor, c.constants) if level == 0]
    return f"with the share of {name} times {names[0] if names else in_words(factor)}"


def of_terms(c):
    """The sum of the terms' shares, one of them missing, doubled, or of another weight."""
    shares = {name: share for name, share in c.terms.items() if largest(share) > c.close}
    if not c.same_shape or len(shares) < 2:
        return
    found = coefficients(c, shares)
    if found is None:
        return
    wrong = [weight_in_words(factor, name, c) for factor, name in zip(found, shares, strict=True)
             if not math.isclose(factor, 1, rel_tol=1e-5)]
    if not wrong or (len(wrong) == len(shares) > 1 and np.ptp(found) < 1e-5):
        return
    rounded = np.where(np.abs(found) < 1e-6, 0.0, found)
    numbers = ", ".join(f"{in_words(factor)} · {name}" for factor, name in zip(rounded, shares, strict=True))
    yield Finding("terms", f"the right gradient {' and '.join(wrong)}",
                  f"it is the sum of {numbers} at every coordinate", 0.2 * (len(wrong) - 1))


def plus_upstream(c):
    """The right gradient and the upstream gradient beside it, or without a part of it that passes by addition."""
    if not c.same_shape:
        return
    for name, u in c.like_claimed(c.upstream).items():
        if u.shape != c.claimed.shape or c.fits(np.zeros(1)):
            continue
        if c.fits(c.expected - u):
            yield Finding("terms", f"the right gradient without ∂L/∂{name} itself, the share that passes by addition",
                          f"the difference is ∂L/∂{name} at every coordinate")
        if c.fits(c.expected + u):
            yield Finding("terms", f"the right gradient plus ∂L/∂{name} itself",
                          f"the difference is ∂L/∂{name} at every coordinate")


def of_difference(c):
    """The difference is one number, or one for each place along some axes, or such numbers times a known array."""
    if not c.same_shape or c.claimed.size < 6:
        return
    d = c.claimed - c.expected
    if largest(d) <= 100 * c.close:
        return
    axes_of = [axes for axes in subsets(range(d.ndim)) if np.prod([d.shape[a] for a in axes]) >= 3]
    for axes in axes_of[::-1]:  # all axes first
        mean = d.mean(axis=axes, keepdims=True)
        if largest(d - mean) <= c.close:
            if len(axes) == d.ndim:
                yield Finding("difference", "the right gradient plus one number: a constant summand is missing or too "
                              "many", f"the difference is {in_words(float(mean.ravel()[0]))} at every coordinate", 0)
            else:
                yield Finding("difference", f"the right gradient with a sum or mean over {axes_in_words(axes)} missing "
                              f"or too many", f"the difference is the same along {axes_in_words(axes)}", 1)
            return
    scalars = [float(u) for u in c.upstream.values() if np.ndim(u) == 0]
    known = c.like_claimed(derived(c.like_claimed(c.arrays)) | {f"∂L/∂{n}": u for n, u in c.upstream.items()})
    for name, q in known.items():
        factor = best_factor(d, np.broadcast_to(q, d.shape))
        if largest(factor * q - d) <= c.close and abs(factor) > 1e-9:
            weights = names_of(factor, c.constants) if not scalars else []
            shown = in_words(factor) if not weights else weights[0][0]
            yield Finding("difference", f"the right gradient with a multiple of {name} missing or too many",
                          f"the difference is {shown} · {name} at every coordinate", 1 + (name not in c.arrays))
    for axes in axes_of[::-1]:
        if len(axes) == d.ndim or np.prod([d.shape[a] for a in axes]) < 5:
            continue
        for name, q in c.like_claimed(c.arrays).items():
            if q.shape == d.shape and (found := along_a_line(d, q, axes, c.close)):
                yield Finding("difference", f"the right gradient with sums or means over {axes_in_words(axes)} missing "
                              f"or wrong", f"the difference is {found} {name}, with numbers a and b that are the same "
                              f"along {axes_in_words(axes)}", 2)
                return
    for axes in axes_of[::-1]:
        if len(axes) == d.ndim:
            continue
        for name, q in c.like_claimed(c.arrays).items():
            if np.prod([d.shape[a] for a in axes]) < 4:
                continue
            q = np.broadcast_to(q, d.shape)
            squares = (q * q).sum(axis=axes, keepdims=True)
            factor = (d * q).sum(axis=axes, keepdims=True) / np.where(squares > 0, squares, 1)
            if largest(factor * q - d) <= c.close:
                yield Finding("difference", f"the right gradient with {name} times a sum over {axes_in_words(axes)} "
                              f"missing or wrong", f"the difference is {name} times a number that is the same along "
                              f"{axes_in_words(axes)}", 3)
                return


def along_a_line(d, q, axes, close):
    """ "a + b ·" if the difference is a + b q with a and b the same along the axes; "" if it is not."""
    centred = q - q.mean(axis=axes, keepdims=True)
    squares = (centred * centred).sum(axis=axes, keepdims=True)
    slope = (d * centred).sum(axis=axes, keepdims=True) / np.where(squares > 0, squares, 1)
    rest = d - slope * centred
    return "a + b ·" if largest(rest - rest.mean(axis=axes, keepdims=True)) <= close else ""
