"""The picture of the README: five systems that differ only in their bottleneck."""

import numpy as np
from matplotlib.patches import Polygon, Rectangle

from docs.pictures.style import picture


def trapezium(axes, left, right, high, low, colours, words):
    """A network as a trapezium whose side is `high` on the left and `low` on the right."""
    axes.add_patch(Polygon([(left, -high), (left, high), (right, low), (right, -low)], closed=True,
                           facecolor="none", edgecolor=colours.ink, linewidth=1.4))
    axes.text((left + right) / 2, 0, words, ha="center", va="center", fontsize=11)


def arrow(axes, start, end, colour):
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.4})


def dense(axes, colours):
    """A row of numbers."""
    for index, value in enumerate((0.9, 0.35, 0.6, 0.15, 0.75)):
        axes.add_patch(Rectangle((index - 2.5, -0.5), 1, 1, facecolor=colours.one, alpha=value, linewidth=0))
        axes.add_patch(Rectangle((index - 2.5, -0.5), 1, 1, facecolor="none", edgecolor=colours.ink, linewidth=0.8))


def gaussian(axes, colours):
    """A bell and a draw from it."""
    x = np.linspace(-2.5, 2.5, 100)
    axes.fill_between(x, -1.4, 2.6 * np.exp(-x * x) - 1.4, color=colours.one, alpha=0.35, linewidth=0)
    axes.plot(x, 2.6 * np.exp(-x * x) - 1.4, color=colours.one)
    axes.plot([0.55], [-1.4], "o", color=colours.two, markersize=7, clip_on=False)
    axes.plot([0.55, 0.55], [-1.4, 0.5], color=colours.two, linewidth=1, linestyle=":")


def nearest(axes, colours):
    """A latent and the nearest of the codes."""
    codes = np.array([(-1.6, 1.0), (1.5, 1.2), (-0.9, -1.2), (1.7, -0.9)])
    z = np.array((0.45, 0.55))
    axes.plot(*codes.T, "s", color=colours.one, markersize=7)
    axes.plot(*z, "o", color=colours.two, markersize=6)
    axes.annotate("", codes[1], z, arrowprops={"arrowstyle": "-|>", "color": colours.two, "linewidth": 1.4,
                                               "shrinkA": 4, "shrinkB": 5})


def two_grids(axes, colours):
    """A coarse grid of codes and a fine one."""
    shades = np.random.default_rng(4).uniform(0.1, 0.9, 20)
    for side, left, first in ((1.3, -3.1, 0), (0.65, 0.5, 4)):
        per_row = round(2.6 / side)
        for index in range(per_row * per_row):
            corner = (left + side * (index % per_row), -1.3 + side * (index // per_row))
            axes.add_patch(Rectangle(corner, side, side, color=colours.one, alpha=shades[first + index], linewidth=0))
            axes.add_patch(Rectangle(corner, side, side, facecolor="none", edgecolor=colours.ink, linewidth=0.6))
    arrow(axes, (-0.6, 0), (0.6, 0), colours.two)


def probabilities(axes, colours):
    """A draw among codes by their probabilities."""
    heights = (0.5, 1.2, 2.6, 0.8, 0.3)
    for index, height in enumerate(heights):
        axes.add_patch(Rectangle((index - 2.4, -1.4), 0.8, height, linewidth=0,
                                 facecolor=colours.two if index == 2 else colours.one, alpha=0.85))
    axes.plot([-2.5, 2.5], [-1.4, -1.4], color=colours.ink, linewidth=0.8)


BOTTLENECKS = (
    ("AE", "numbers", "the chain rule", dense),
    ("VAE", "$z = \\mu + \\sigma\\varepsilon$", "a gradient through noise", gaussian),
    ("VQ-VAE", "the nearest code", "a gradient through argmin", nearest),
    ("VQ-VAE-2", "two grids of codes", "gradients that join again", two_grids),
    ("dVAE", "a draw among codes", "a gradient through a choice", probabilities),
)


@picture(9.2, 3.7)
def bottlenecks(figure, colours):
    """Encoder, bottleneck, decoder; below, the five bottlenecks."""
    grid = figure.add_gridspec(2, 5, height_ratios=(1, 1.35))
    top = figure.add_subplot(grid[0, :])
    top.set(xlim=(-7, 7), ylim=(-1.15, 1.15))
    top.axis("off")
    trapezium(top, -4.6, -1.5, 1.0, 0.45, colours, "encoder")
    trapezium(top, 1.5, 4.6, 0.45, 1.0, colours, "decoder")
    top.add_patch(Rectangle((-1.05, -0.42), 2.1, 0.84, facecolor="none", edgecolor=colours.two, linewidth=2))
    top.text(0, 0, "bottleneck", ha="center", va="center", color=colours.two, fontsize=11)
    top.text(-6.2, 0, "image", ha="center", va="center")
    top.text(6.1, 0, "image again", ha="center", va="center")
    for start, end in ((-5.6, -4.65), (-1.5, -1.07), (1.07, 1.5), (4.65, 5.1)):
        arrow(top, (start, 0), (end, 0), colours.ink)
    for column, (name, code, lesson, drawing) in enumerate(BOTTLENECKS):
        axes = figure.add_subplot(grid[1, column])
        axes.set(xlim=(-3.6, 3.6), ylim=(-4.2, 3.2), aspect="equal")
        axes.axis("off")
        drawing(axes, colours)
        axes.text(0, 2.6, name, ha="center", va="center", weight="bold", color=colours.two)
        axes.text(0, -2.5, code, ha="center", va="center", fontsize=10)
        axes.text(0, -3.7, lesson, ha="center", va="center", fontsize=8.5)
