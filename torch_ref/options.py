"""What an option of the oracle is: its default, the values it takes, and what is said of any other value.

scratch declares the same options in its own code. An oracle that shares code with what it judges is none.
"""

import difflib
import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import NamedTuple

from torch_ref.schedules import read_schedule


class Option(NamedTuple):
    """default   the value where none is given
    check     value -> None; raises ValueError("expected ...") for a value that the option does not take
    needs     (another option, its value) without which this one stays at its default; the value None stands for any
              but the other's default
    """

    default: object
    check: Callable
    needs: tuple | None = None


def needing(other, value, option):
    """The option, which counts only where another has this value."""
    return option._replace(needs=(other, value))


def one_of(words):
    """a, b or c."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def nearest(name, names):
    """'; the nearest is X' for a name that is not among `names`, or all of them where none resembles it."""
    folded = {known.casefold(): known for known in names}
    close = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.5)
    return f"; the nearest is {folded[close[0]]!r}" if close else f"; there are {', '.join(names)}"


def is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def choice(default, *others):
    """One of some words."""
    return choice_of((default, *others))


def choice_of(words):
    """One of some words. The first is the default. A dict of words may still grow."""
    default = next(iter(words))

    def check(value):
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"expected {one_of(words)}{nearest(value, words)}")

    return Option(default, check)


def switch(default):
    """True or False."""

    def check(value):
        if not isinstance(value, bool):
            raise ValueError("expected True or False")

    return Option(default, check)


def whole(default, least=1):
    """An integer of at least `least`."""

    def check(value):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise ValueError(f"expected an integer ≥ {least}")

    return Option(default, check)


def number(default, least=0.0, *, above=False, below=math.inf):
    """A finite number ≥ `least`, or > `least` where `above`, and < `below`."""
    expected = f"expected a number {'>' if above else '≥'} {least:g}" + (
        f" and < {below:g}" if below < math.inf else "")

    def check(value):
        if not is_number(value) or value < least or value >= below or (above and value == least):
            raise ValueError(expected)

    return Option(default, check)


def schedule(default, least=0.0, *, above=False):
    """A number as `number` takes it, or the text of a schedule between two such numbers."""
    check_number = number(default, least, above=above).check

    def check(value):
        for end in read_schedule(value)[1:3]:
            check_number(end)

    return Option(default, check)


def widths(*default):
    """Some integers ≥ 1."""
    check_width = whole(1).check

    def check(value):
        if not isinstance(value, list | tuple) or not value:
            raise ValueError("expected a list of integers ≥ 1")
        for width in value:
            check_width(width)

    return Option(default, check)


def optional(option):
    """None, which is the default, or what another option takes."""

    def check(value):
        if value is not None:
            option.check(value)

    return Option(None, check)


def complete(given, declared):
    """{name: value} of every declared option: the given value, or the default. `given` holds declared names only.

    Raises ValueError with the name, the value and what was expected for a value that an option does not take, or that
    would be ignored beside the others.
    """
    for name, value in given.items():
        try:
            declared[name].check(value)
        except ValueError as error:
            raise ValueError(f"{name} is {value!r}: {error}") from None
    options = {name: given.get(name, option.default) for name, option in declared.items()}
    for name, option in declared.items():
        if option.needs and options[name] != option.default:
            other, value = option.needs
            if options[other] == declared[other].default if value is None else options[other] != value:
                wanted = f"other than {options[other]!r}" if value is None else repr(value)
                raise ValueError(f"{name} is {options[name]!r}, which counts only with {other} {wanted}: {other} is "
                                 f"{options[other]!r}")
    return options


class Declared:
    """A class that declares options, each beside the formula it stands in, and may have variants.

    options   {name: Option} that this class adds to those of its parent

    A variant is a subclass that some of the options ask for: `class SparseBottleneck(DenseBottleneck, variant=True)`.
    """

    options = {}
    variants = ()

    def __init_subclass__(cls, variant=False, **more):
        super().__init_subclass__(**more)
        cls.variants = []
        if variant:
            cls.__bases__[0].variants.append(cls)

    @classmethod
    def declared(cls):
        """{name: Option} of the class, its parents and its variants."""
        families = [parent for parent in reversed(cls.__mro__) if "options" in vars(parent)] + [*cls.variants]
        return {name: option for family in families for name, option in family.options.items()}

    @classmethod
    def asked_for(cls, options):
        """Do the options ask for this variant? By default: if one of its own has another value than its default."""
        return any(options[name] != option.default for name, option in cls.options.items())

    @classmethod
    def variant_for(cls, options):
        """The variant that the options ask for, or the class itself. Raises ValueError where they ask for two."""
        asked = [variant for variant in cls.variants if variant.asked_for(options)]
        if len(asked) > 1:
            names = [" or ".join(name for name, option in variant.options.items() if options[name] != option.default)
                     for variant in asked]
            raise ValueError(f"{' and '.join(names)} cannot be combined: leave one of them at its default")
        return asked[0] if asked else cls
