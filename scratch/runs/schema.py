"""Kinds of values in files. A kind checks a value; a Mismatch says where it is, what was found, what was expected.

    Record({"epoch": Whole(1), "step": Whole()}).check({"epoch": 0, "step": 2})
    Mismatch: epoch is 0; expected an integer ≥ 1

Numbers, text and objects are those of JSON. An Array is a tensor of a safetensors or .npz file.
"""

import difflib
import math
import sys
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from data_utils import printable

LARGEST = 2**63 - 1  # integer, unless its kind has another bound
LONGEST = 4096  # characters of a text


class Mismatch(Exception):
    """The value at `where` is not what its kind expects."""

    def __init__(self, where, found, expected):
        super().__init__(f"{where or 'the content'} is {found}; expected {expected}")


def found(value):
    """A value of a file in a few words."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case dict():
            return "an object"
        case list():
            return f"a list of {len(value)}"
        case _:
            text = repr(value)
            return text if len(text) <= 40 else f"{text[:36]} ..."


def inside(where, key):
    """The place of an object's entry, such as options.codes."""
    key = printable(key[:60])
    return f"{where}.{key}" if where else key


def between(least, most, unbounded=math.inf):
    """Bounds in words, with a space before them; an empty string if there are none."""
    if most < unbounded:
        return f" from {least} to {most}"
    return f" ≥ {least}" if least > -math.inf else ""


@dataclass(frozen=True)
class Whole:
    """An integer from `least` to `most`."""

    least: int = 0
    most: int = LARGEST

    @property
    def expected(self):
        return f"an integer{between(self.least, self.most, LARGEST)}"

    def check(self, value, where=""):
        if type(value) is not int or not self.least <= value <= self.most:
            raise Mismatch(where, found(value), self.expected)


@dataclass(frozen=True)
class Real:
    """A number ≥ `least`. It may be infinite only if `finite` is False, and NaN only if `nan` is True."""

    least: float = -math.inf
    finite: bool = True
    nan: bool = False

    @property
    def expected(self):
        return f"a{' finite' if self.finite else ''} number{between(self.least, math.inf)}"

    def check(self, value, where=""):
        too_large = isinstance(value, int) and abs(value) > sys.float_info.max
        if isinstance(value, bool) or not isinstance(value, int | float) or too_large:
            raise Mismatch(where, found(value), self.expected)
        if value != value and self.nan:
            return
        if not value >= self.least or (self.finite and not abs(value) < math.inf):
            raise Mismatch(where, found(value), self.expected)


@dataclass(frozen=True)
class Text:
    """Text of at most `longest` characters. If there are `choices`, one of them."""

    choices: tuple = ()
    longest: int = LONGEST

    @property
    def expected(self):
        return " or ".join(map(repr, self.choices)) or f"text of at most {self.longest} characters"

    def check(self, value, where=""):
        if not isinstance(value, str) or len(value) > self.longest or (self.choices and value not in self.choices):
            raise Mismatch(where, found(value), self.expected)


@dataclass(frozen=True)
class Json:
    """Anything that JSON can hold."""

    expected = "a value"

    def check(self, value, where=""):
        pass


@dataclass(frozen=True)
class Either:
    """A value of one of several kinds; None among them stands for null."""

    kinds: tuple

    @property
    def expected(self):
        return " or ".join("null" if kind is None else kind.expected for kind in self.kinds)

    def check(self, value, where=""):
        for kind in self.kinds:
            if value is None and kind is None:
                return
            try:
                if kind is not None:
                    return kind.check(value, where)
            except Mismatch:
                continue
        raise Mismatch(where, found(value), self.expected)


@dataclass(frozen=True)
class Listed:
    """A list whose entries are of one kind. It has `length` entries, if that is given."""

    kind: object
    length: int | None = None

    @property
    def expected(self):
        return f"a list{'' if self.length is None else f' of {self.length}'}, each {self.kind.expected}"

    def check(self, value, where=""):
        if not isinstance(value, list) or self.length not in (None, len(value)):
            raise Mismatch(where, found(value), self.expected)
        for index, entry in enumerate(value):
            self.kind.check(entry, f"{where}[{index}]")


@dataclass(frozen=True)
class Record:
    """An object with these `entries`. It may also have those of `optional`, and any others of the kind `others`."""

    entries: dict = field(default_factory=dict)
    optional: dict = field(default_factory=dict)
    others: object = None
    expected = "an object"

    def check(self, value, where=""):
        if not isinstance(value, dict):
            raise Mismatch(where, found(value), self.expected)
        for key, kind in self.entries.items():
            if key not in value:
                raise Mismatch(inside(where, key), "missing", kind.expected)
        known = {**self.optional, **self.entries}
        for key, entry in value.items():
            kind = known.get(key, self.others)
            if kind is None:
                nearest = difflib.get_close_matches(key, known, 5, 0)
                raise Mismatch(inside(where, key), "unknown", f"an entry such as {', '.join(nearest)}")
            kind.check(entry, inside(where, key))


class Form(NamedTuple):
    """Dtype and shape of a tensor that has not been read yet."""

    dtype: str
    shape: tuple


@dataclass(frozen=True)
class Array:
    """A tensor of one dtype and shape, without NaN.

    A None in `shape` stands for any integer ≥ 1. `least` and `most` are bounds of the numbers. Infinite numbers are
    allowed only if `finite` is False. For a Form, only dtype and shape are checked.
    """

    dtype: str
    shape: tuple
    least: float = -math.inf
    most: float = math.inf
    finite: bool = True

    @property
    def expected(self):
        return f"{self.dtype} {self.sides()}"

    def sides(self):
        """The shape in words, such as (N, 4, 4)."""
        return str(tuple(self.shape)).replace("None", "N")

    def check(self, value, where=""):
        shape = tuple(value.shape)
        fits = len(shape) == len(self.shape) and all(
            side >= 1 if wanted is None else side == wanted for side, wanted in zip(shape, self.shape, strict=True))
        if str(value.dtype) != self.dtype or not fits:
            raise Mismatch(where, f"{value.dtype} {shape}", self.expected)
        if isinstance(value, Form) or not value.size:
            return
        lowest, highest = value.min(), value.max()  # NaN if there is a NaN
        if np.isnan(lowest) or (self.finite and not (np.isfinite(lowest) and np.isfinite(highest))):
            raise Mismatch(where, "not finite" if self.finite else "not a number", "finite numbers")
        if lowest < self.least or highest > self.most:
            wrong = lowest if lowest < self.least else highest
            raise Mismatch(where, f"{wrong} in one place", f"numbers{between(self.least, self.most)}")
