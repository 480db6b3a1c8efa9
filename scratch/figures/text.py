"""Text in pictures: names are drawn letter by letter, and each line fits into the picture.

A run, a folder or a data set may have any name. Matplotlib reads text between two dollar signs as mathematics, drops
legend entries that begin with an underscore, and cuts off a title that is wider than its figure.
"""

import warnings
from contextlib import contextmanager

from data_utils import printable
from scratch.figures.canvas import font, renderer

DPI = 120  # pixels to an inch in the pictures that are written
LINE = 1.25 / 72  # inches from one line to the next, for each point of the font's size


def literal(text):
    r"""The text with $ and all control characters except line breaks escaped: Matplotlib draws it letter by letter.

    Matplotlib itself turns \$ back into $ when it draws text without mathematics.
    """
    return "\n".join(map(printable, str(text).split("\n"))).replace("$", r"\$")


def fold(text, inches, size):
    """The text as `literal` gives it, in lines of at most so many inches: cut between words, or where one is too long
    within it."""
    return literal("\n".join(lines(text, inches, size)))


def lines(text, inches, size):
    """The lines that `fold` makes of a text, before $ is escaped."""
    return [part for line in str(text).split("\n") for part in _folded(printable(line), inches, size)]


def width_of(line, size):
    """The width in inches of a printable line, in the default font at so many points."""
    with any_letter():
        return renderer(DPI).get_text_width_height_descent(line, font(size), ismath=False)[0] / DPI


@contextmanager
def any_letter():
    """Within a `with` block, Matplotlib draws a box for each letter that its font lacks, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        yield


def title(axes, text, size=10):
    """Set the title of axes, folded to their width."""
    inches = 1.15 * axes.get_position().width * axes.figure.get_figwidth()  # a little wider than the axes
    axes.set_title(fold(text, inches, size), fontsize=size)


def legend(place, handles, labels, inches, size=8, **style):
    """A legend of axes or of a figure, whose labels are folded to so many inches. A handle with an empty label is left
    out.

    A figure grows by the lines that folding adds. The labels are set after the legend is made: some versions of
    Matplotlib drop labels that begin with an underscore.
    """
    entries = [(handle, fold(label, inches, size)) for handle, label in zip(handles, labels, strict=True) if label]
    drawn = place.legend([handle for handle, _ in entries], ["label"] * len(entries), fontsize=size, **style)
    for text, (_, label) in zip(drawn.get_texts(), entries, strict=True):
        text.set_text(label)
    if hasattr(place, "set_figheight"):
        grow(place, sum(label.count("\n") for _, label in entries), size)
    return drawn


def grow(figure, more_lines, size):
    """Make a figure higher by so many lines of text."""
    figure.set_figheight(figure.get_figheight() + more_lines * size * LINE)


def _folded(line, inches, size):
    """A single line as a list of lines that are narrow enough."""
    folded = []
    while len(line) > 1 and width_of(line, size) > inches:
        fitting = _longest_start(line, inches, size)
        space = line.rfind(" ", 1, fitting + 1)
        end = space if space > 0 else fitting
        folded.append(line[:end])
        line = line[end:].removeprefix(" ")
    return [*folded, line]


def _longest_start(line, inches, size):
    """The number of characters of a line that fit into so many inches, at least one; found by bisection."""
    fits, too_long = 1, len(line)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if width_of(line[:middle], size) > inches:
            too_long = middle
        else:
            fits = middle
    return fits
