"""One number or array of the student's beside the right one: the mark that it gets."""

import math
from dataclasses import dataclass, field

import numpy as np

EXACT, APPROXIMATE, WRONG, SHAPE = "exact", "approximate", "wrong", "shape"
TO_DO, LEFT_OUT, NOT_REACHED = "to do", "left out", "not reached"
RIGHT = (EXACT, APPROXIMATE)
ROUNDING = 1e-12  # of the largest number of an array: what the order of sums and products changes in float64
SEVERITY = (EXACT, APPROXIMATE, LEFT_OUT, NOT_REACHED, TO_DO, WRONG, SHAPE)  # the worst last
LEFT, UNREACHED = object(), object()  # a variable that a function does not have, or did not come to


@dataclass
class Row:
    """How a variable compares.

    function     in which it was computed
    mark         exact: bit for bit. approximate: within `allowed`. wrong, shape: not. to do: still `...`. left out:
                 there is no such variable. not reached: the function stopped before it
    difference   the largest difference of two numbers; None where there is nothing to subtract
    allowed      up to which difference rounding explains it
    shape        the right shape
    returned     is it part of what the function returns? Those decide whether the exercise is done.
    note         what is wrong in words, after its name: "has the shape (4,), expected (5,)"
    gradient     is it the derivative of something? In other exercises it is a value.
    finding      what the wrong numbers look like: "looks like …"
    advice       a sentence about the student's code
    line         of the student's file, where it was last assigned; None where that is unknown
    right_for    the inputs for which it is right although it is not for others
    follows      the first wrong variable from which this one was computed
    number       of the case in which it was compared
    """

    function: str
    name: str
    mark: str
    difference: float | None
    allowed: float
    shape: tuple
    returned: bool
    gradient: bool = True
    note: str = ""
    finding: str = ""
    advice: str = ""
    line: int | None = None
    right_for: str = ""
    follows: str = ""
    number: int = 0
    claimed: object = field(default=None, repr=False)
    expected: object = field(default=None, repr=False)

    @property
    def right(self):
        return self.mark in RIGHT

    @property
    def wrong(self):
        return self.mark in (WRONG, SHAPE)


def compare(function, name, claimed, expected, scale, rounding=ROUNDING, returned=False):
    """The Row of a variable. `scale` is the largest number among all that the function computes: where the right
    gradient is zero, or nearly, rounding is as large as elsewhere."""
    expected = np.asarray(expected)
    size = largest(expected)
    row = Row(function, name, WRONG, None, rounding * max(size, 1e-3 * scale), expected.shape, returned,
              claimed=claimed, expected=expected)
    for stands_for, mark in ((LEFT, LEFT_OUT), (UNREACHED, NOT_REACHED), (..., TO_DO)):
        if claimed is stands_for:
            row.mark = mark
            return row
    row.note = kind_of(claimed, expected)
    if row.note:
        return row
    row.claimed = claimed = np.asarray(claimed)
    if claimed.shape != expected.shape:
        row.mark, row.note = SHAPE, f"has the shape {claimed.shape}, expected {expected.shape}"
        return row
    if expected.dtype.kind in "iu":
        differing, row.allowed = int(np.sum(claimed != expected)), 0.0
        row.mark = WRONG if differing else EXACT
        row.note = f"differs at {differing} of {expected.size} places" if differing else ""
        return row
    bad = ~np.isfinite(claimed)
    if np.any(bad):
        place = np.argwhere(bad)[0].tolist()
        where = f", the first at {place}" if claimed.ndim else ""
        row.note = f"is NaN or infinite at {int(np.sum(bad))} of {claimed.size} places{where}"
        return row
    row.difference = largest(claimed - expected)
    row.mark = EXACT if row.difference == 0 else APPROXIMATE if row.difference <= row.allowed else WRONG
    if row.mark == WRONG and row.difference < 1e-3 * size:
        digits, left = -math.log10(row.difference / size), -math.log10(rounding)
        row.note = f"is right to about {digits:.0f} digits only, and rounding leaves at least {left:.0f}"
    return row


def kind_of(claimed, expected):
    """In words: why the value cannot be compared. "" if it can."""
    numbers = isinstance(claimed, np.ndarray | np.generic | float) or (
        expected.ndim == 0 and isinstance(claimed, int) and not isinstance(claimed, bool))
    wanted = f"a NumPy array of shape {expected.shape}" if expected.ndim else "a number"
    if not numbers:
        return f"is {'None' if claimed is None else an(type(claimed).__name__)}, expected {wanted}"
    dtype = np.asarray(claimed).dtype
    if expected.dtype.kind in "iu":
        return "" if dtype.kind in "iu" else f"has the dtype {dtype}, expected integers"
    if dtype == np.float64 or (isinstance(claimed, int) and expected.ndim == 0):
        return ""
    why = {"i": "whole numbers cannot hold a gradient: np.zeros_like of an array of integers makes integers",
           "u": "whole numbers cannot hold a gradient",
           "b": "True and False are a mask; multiply it by the gradient",
           "f": "the inputs are float64, and so are their gradients"}.get(dtype.kind, "gradients are real numbers")
    return f"has the dtype {dtype}, expected float64: {why}"


def largest(array):
    """The largest absolute value; 0 for an empty array, infinity where numbers are not finite."""
    array = np.asarray(array)
    if not array.size or array.dtype.kind not in "fiu":
        return 0.0
    with np.errstate(all="ignore"):
        found = float(np.max(np.abs(array)))
    return found if np.isfinite(found) else float("inf")


def an(word):
    """The word behind "a" or "an"."""
    return f"{'an' if word[0] in 'aeiouAEIOU' else 'a'} {word}"


def count(number, word):
    """"1 place", "2 places"."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def worst(rows, cases):
    """The Row of a variable from its rows in all cases: the first of those with the worst mark. `cases` says the inputs
    of each."""
    row = max(rows, key=lambda one: (SEVERITY.index(one.mark), -one.number))
    if row.wrong:
        row.right_for = next((cases[one.number] for one in rows if one.right), "")
        return row
    return max((one for one in rows if one.mark == row.mark), key=lambda one: one.difference or 0.0)
