"""Matplotlib's parts, imported where something is drawn. So training makes its first step without Matplotlib, and
commands that print numbers alone never import it."""

from functools import cache


def new_figure(**settings):
    """An empty figure, with the settings of matplotlib.figure.Figure."""
    from matplotlib.figure import Figure

    return Figure(**settings)


def whole_numbers(axis):
    """Let the marks of an axis be integers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def unmarked_between(axis):
    """Let the marks between those of a logarithmic axis have no numbers."""
    from matplotlib.ticker import NullFormatter

    axis.set_minor_formatter(NullFormatter())


@cache
def renderer(dpi):
    """What draws letters, to measure them."""
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(1, 1, dpi)


def font(size):
    """The default font at so many points."""
    from matplotlib.font_manager import FontProperties

    return FontProperties(size=size)
