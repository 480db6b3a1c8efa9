"""The one error of this package, and how its sentences show what was given."""

import difflib
import operator
import os
import re
from collections.abc import Iterable

LARGEST_COUNT = 10**9  # images; a data set is held in memory, where so many do not fit


class DataError(Exception):
    """Data cannot be had. The message says in one sentence what was given, what is wrong and what to do.

    Names of files and causes of other packages go into messages. Their control characters are escaped here, for all
    messages at once, so that none moves the cursor or breaks the line of a terminal.
    """

    def __init__(self, message: str):
        super().__init__(printable(message))


def printable(text: object) -> str:
    r"""A text, a name or a path with every character that a terminal cannot show escaped: a line break becomes \n."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def shown(value: object, longest: int = 60) -> str:
    """A value of any type as a message shows it: its repr, cut in the middle where it is longer than ``longest``."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        text = f"an integer of {value.bit_length()} bits"
    half = (longest - 3) // 2
    text = re.sub(r"\n\s*", " ", text)  # an array's repr has a line for each row
    return text if len(text) <= longest else f"{text[:half]}...{text[-half:]}"


def cause_of(error: BaseException) -> str:
    """What an exception of another package says, on one line; its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The known word that is most like the given one, None where none is near."""
    return next(iter(difflib.get_close_matches(given, list(known), n=1)), None)


def advice(near: str | None, otherwise: str) -> str:
    """The beginning of an advice: the nearest name, where there is one, before what to do ``otherwise``."""
    return f"the nearest is {near!r}; {otherwise}" if near else otherwise


def integer(value: object, what: str, least: int, most: int | None = None) -> int:
    """The value as a Python int. Raises DataError, naming ``what``, unless it is an integer from least to most."""
    wanted = f"≥ {least}" if most is None else f"from {least} to {most}"
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least or (most is not None and number > most):
        raise DataError(f"{what} {shown(value)} was given: expected an integer {wanted}")
    return number


def check_memory(count: int, *shape: int) -> None:
    """Raises DataError where ``count`` images of this shape, a byte for each value, are more than the machine holds."""
    needed = count
    for side in shape:
        needed *= side
    available = memory_of_this_machine()
    if available is not None and needed > available:
        size = "×".join(map(str, shape))
        raise DataError(
            f"{count} images of {size} take {needed / 1e9:.1f} GB of memory, and this machine has "
            f"{available / 1e9:.1f} GB: choose smaller images, or fewer by a limit"
        )


def memory_of_this_machine() -> int | None:
    """Bytes of physical memory, None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
