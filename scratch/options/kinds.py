"""What the words behind an option may be: each parser takes text and returns a value, or says in a sentence why not."""

import argparse
import math

from scratch.models.corruption import read_corruption
from scratch.schedules import Schedule


def whole(least):
    """A parser of whole numbers of at least `least`."""

    def parse(text):
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {least}")
        return value

    return parse


def real(least, inclusive=True):
    """A parser of finite numbers above `least`, or of it too where `inclusive`."""

    def parse(text):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < least or (value == least and not inclusive):
            raise argparse.ArgumentTypeError(f"{text!r} is no number {'of at least' if inclusive else 'above'} {least}")
        return value

    return parse


def fraction(text):
    """A parser of numbers between 0 and 1, both excluded."""
    value = real(0, inclusive=False)(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number between 0 and 1")
    return value


def schedule(least, inclusive=True, ends_inclusive=True):
    """A parser of numbers as `real` takes them, or of a schedule, which stays text, between numbers of at least `least`
    (above it, where `ends_inclusive` is False).
    """
    number = real(least, inclusive)

    def parse(text):
        if ":" not in text:
            return number(text)
        try:
            ends = Schedule(text).start, Schedule(text).end
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        for end in ends:
            real(least, ends_inclusive)(str(end))
        return text

    return parse


def corruption(text):
    """A parser of corruptions such as gaussian:0.1, which stay text."""
    try:
        read_corruption(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def widths(text):
    """A parser of widths of layers such as 32,64,128."""
    return tuple(whole(1)(part) for part in text.split(","))
