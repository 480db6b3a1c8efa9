"""An option: its name, its kind, its default, one sentence of help and the paper it comes from.

An option is declared once, beside the formula that contains it. The command line, `--help`, the presets, the checks of
`build` and `train`, `sweep`, config.json and docs/reference/options.md all read the declaration.

A kind defines the values that an option may have. `check(value)` takes a value of Python or JSON, `parse(text)` a word
of a command line. Both return the value to use, or raise ValueError with the end of a sentence that begins with the
option's name: "expected an integer ≥ 1, got 'x'".
"""

import difflib
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, replace

from scratch.options.errors import InputError
from scratch.schedules import Schedule

MOST = 2**31 - 1  # the largest integer that an option takes
MOST_BLOCKS = 1000  # of a network
LONGEST = 80  # characters of what was given, in a message


@dataclass(frozen=True)
class Option:
    """A declared option.

    name       as Python writes it: latent_dim; the command line writes --latent-dim
    kind       the values that it may have (the classes below)
    default    the value if none is given; None if there is no default
    help       one sentence without its full stop
    source     the paper that the option comes from, if it comes from one
    may_change True if a run may be continued with another value
    optional   True if None is allowed as well as the default
    group      the heading under which `--help` lists an option of training; options of models are listed by system
    """

    name: str
    kind: object
    default: object
    help: str
    source: str = ""
    may_change: bool = False
    optional: bool = False
    group: str = "training"

    @property
    def flag(self):
        """The name on the command line."""
        return f"--{self.name.replace('_', '-')}"

    def but(self, **changes):
        """The same option with some fields changed, such as the default, for a system that needs them otherwise."""
        return replace(self, **changes)

    def check(self, value):
        """The value to use. An option without a default may be None. Raises InputError."""
        if value is None and (self.optional or self.default is None):
            return None
        return self._answer(self.kind.check, value)

    def parse(self, text):
        """The value that a text on the command line stands for. Raises InputError."""
        return self._answer(self.kind.parse, text)

    def _answer(self, function, given):
        try:
            return function(given)
        except ValueError as error:
            text = str(error)
            raise InputError(text if text.endswith(("?", ".")) else f"{text}.", self.name) from None


def refused(expected, given, more=""):
    """The error of a kind: what was expected, what was given."""
    return ValueError(f"expected {expected}, got {shown(given)}{more}")


def shown(given):
    """What was given, as a message shows it: as Python writes it, cut off where it is long."""
    try:
        text = repr(given)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return f"an integer of {given.bit_length()} bits"
    return text if len(text) <= LONGEST else f"{text[:LONGEST - 4]} ..."


def listed(names, last="and"):
    """a, b and c"""
    *others, final = map(str, names)
    return f"{', '.join(others)} {last} {final}" if others else final


def nearest(name, known):
    """The end of a sentence about an unknown name: the nearest name, or else all names if there are at most 12."""
    known = list(known)
    folded, given = {str(one).casefold(): one for one in known}, str(name).casefold()
    near = difflib.get_close_matches(given, folded, n=1, cutoff=0.6)
    near = near or [one for one in folded if sorted(one) == sorted(given)]  # two letters swapped in a short name
    if near:
        return f": did you mean {folded[near[0]]!r}?"
    return f": choose {listed(known, 'or')}." if len(known) <= 12 else "."


@dataclass(frozen=True)
class Whole:
    """An integer from `least` to `most`."""

    least: int = 1
    most: int = MOST

    @property
    def words(self):
        return f"an integer ≥ {self.least}" + (f" and ≤ {self.most}" if self.most != MOST else "")

    metavar = "N"

    def check(self, value, typed=None):
        shown = value if typed is None else typed
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < self.least:
            raise refused(self.words, shown)
        if value > self.most:
            raise refused(f"an integer ≤ {self.most}", shown)
        return int(value)

    def parse(self, text):
        try:
            value = int(text)
        except ValueError:  # not a number, or one with more digits than Python reads
            raise refused(self.words, text[:40]) from None
        return self.check(value, text[:40])


@dataclass(frozen=True)
class Real:
    """A finite number ≥ `least`, or > `least` if that is not included, and < `below`."""

    least: float = 0
    included: bool = True
    below: float = math.inf

    @property
    def words(self):
        if self.below < math.inf:
            return f"a number {'≥' if self.included else '>'} {self.least:g} and < {self.below:g}"
        return f"a number {'≥' if self.included else '>'} {self.least:g}"

    metavar = "X"

    def check(self, value):
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise refused(self.words, value)
        try:
            value = int(value) if isinstance(value, numbers.Integral) and abs(value) < 2**53 else float(value)
        except OverflowError:  # an integer of more than 308 digits
            raise refused(self.words, value) from None
        if not math.isfinite(value) or value < self.least or (value == self.least and not self.included) \
                or value >= self.below:
            raise refused(self.words, value)
        return value

    def parse(self, text):
        try:
            return self.check(float(text))
        except ValueError:
            raise refused(self.words, text) from None


@dataclass(frozen=True)
class Scheduled:
    """A number as in `Real`, or the text of a schedule (schedules.py) between numbers ≥ `least`.

    ends_included  True if a schedule may begin or end at `least`; `included` says the same of a single number
    """

    least: float = 0
    included: bool = True
    ends_included: bool = True

    @property
    def words(self):
        return f"{self.number.words} or a schedule such as linear:0:1:5000"

    metavar = "X"

    @property
    def number(self):
        return Real(self.least, self.included)

    def check(self, value):
        if not isinstance(value, str):
            return self.number.check(value)
        if ":" not in value:
            raise refused(self.words, value)
        schedule = Schedule(value)
        for end in (schedule.start, schedule.end):
            Real(self.least, self.ends_included).check(end)
        return value

    def parse(self, text):
        return self.check(text) if ":" in text else self.number.parse(text)


@dataclass(frozen=True)
class Choice:
    """One of several names. `alternatives` is a mapping {name: what it stands for} or a sequence of names.

    What a name stands for may have options of its own, in an attribute `options`. They count only with that choice.
    """

    alternatives: object

    @property
    def names(self):
        return tuple(self.alternatives)

    @property
    def words(self):
        return listed(self.names, "or")

    metavar = None

    def check(self, value):
        if not isinstance(value, str) or value not in self.names:
            more = nearest(value, self.names) if isinstance(value, str) else ""
            raise refused(self.words, value, more if more.endswith("?") else "")
        return value

    parse = check

    def options_of(self, name):
        """The options that count only with this choice."""
        if not isinstance(self.alternatives, Mapping):
            return ()
        return tuple(getattr(self.alternatives[name], "options", ()))


@dataclass(frozen=True)
class Flag:
    """True or False. On the command line the bare name means True; in a sweep it is on or off."""

    words = "True or False"
    metavar = None

    def check(self, value):
        if not isinstance(value, bool):
            raise refused(self.words, value)
        return value

    def parse(self, text):
        if text not in ("on", "off"):
            raise refused("on or off", text)
        return text == "on"


@dataclass(frozen=True)
class Widths:
    """One or more integers ≥ 1, such as 32,64,128. A sweep separates values by commas, so there it is 32x64x128."""

    words = "integers ≥ 1 such as 32,64,128"
    metavar = "N,N"

    def check(self, value):
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise refused(self.words, value)
        found = [Whole(1).check(width) for width in value]
        if not found:
            raise refused(self.words, value)
        return found

    def parse(self, text):
        return [Whole(1).parse(part) for part in text.replace("x", ",").split(",")]


@dataclass(frozen=True)
class Text:
    """Text that is not empty. The function `accepts`, if there is one, raises ValueError for text that is not allowed.
    """

    words: str
    metavar: str = "TEXT"
    accepts: object = None

    def check(self, value):
        if not isinstance(value, str) or not value:
            raise refused(self.words, value)
        if self.accepts:
            self.accepts(value)
        return value

    parse = check
