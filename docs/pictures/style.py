"""How the pictures of the pages look: one function draws a picture, `save` writes it for light and for dark pages."""

from dataclasses import dataclass

import matplotlib
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Colours:
    """Of one background. `ink` is for text and axes, `faint` for grids, one to four for what is drawn."""

    background: str
    ink: str
    faint: str
    one: str
    two: str
    three: str
    four: str


LIGHT = Colours("#ffffff", "#1f2328", "#d0d7de", "#0969da", "#bc4c00", "#1a7f37", "#8250df")
DARK = Colours("none", "#e6edf3", "#3d444d", "#58a6ff", "#ff9e64", "#56d364", "#d2a8ff")


def picture(width=7.0, height=3.0):
    """Mark a function (figure, colours) -> None as the one that draws a picture of this size, in inches."""

    def mark(function):
        function.is_picture, function.size = True, (width, height)
        return function

    return mark


def settings(colours):
    """Matplotlib's settings for one background."""
    return {
        "font.size": 11, "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "mathtext.fontset": "cm",
        "text.color": colours.ink, "axes.labelcolor": colours.ink, "axes.edgecolor": colours.ink,
        "axes.titlesize": 11, "axes.facecolor": "none", "axes.grid": False, "grid.color": colours.faint,
        "axes.spines.top": False, "axes.spines.right": False, "xtick.color": colours.ink, "ytick.color": colours.ink,
        "figure.facecolor": colours.background, "legend.frameon": False, "legend.labelcolor": colours.ink,
        "axes.prop_cycle": matplotlib.cycler(color=[colours.one, colours.two, colours.three, colours.four]),
        "svg.hashsalt": "autoencoders", "svg.fonttype": "path",
    }


def save(function, path):
    """Write PATH.svg for light pages and PATH-dark.svg for dark ones. The same Matplotlib gives the same files."""
    for ending, colours in (("", LIGHT), ("-dark", DARK)):
        with matplotlib.rc_context(settings(colours)):
            figure = Figure(figsize=function.size, layout="constrained")
            function(figure, colours)
            figure.savefig(f"{path}{ending}.svg", metadata={"Date": None})
