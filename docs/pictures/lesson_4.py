"""The pictures of lesson 4: a draw that blocks the gradient, and the variances of two estimators."""

import numpy as np

from docs.pictures.style import picture


def box(axes, x, y, text, colour, background="none"):
    """A rounded box around a text, centred at (x, y)."""
    axes.text(x, y, text, ha="center", va="center", color=colour, fontsize=13,
              bbox={"boxstyle": "round,pad=0.4", "facecolor": background, "edgecolor": colour, "linewidth": 1.4})


def arrow(axes, start, end, colour, bend=0.0, style="-|>"):
    """An arrow between two points, leaving room for the boxes at its ends."""
    axes.annotate("", end, start, arrowprops={
        "arrowstyle": style, "color": colour, "linewidth": 1.6, "shrinkA": 21, "shrinkB": 21,
        "connectionstyle": f"arc3,rad={bend}"})


@picture(7.6, 2.7)
def random_node(figure, colours):
    """The draw as a step of its own, and as arithmetic with noise from outside."""
    for axes, title in zip(figure.subplots(1, 2), ("drawn: the gradient stops", "computed: the gradient passes"),
                           strict=True):
        axes.set(xlim=(-0.4, 3.15), ylim=(-0.1, 2.6), title=title)
        axes.axis("off")
        drawn = title.startswith("drawn")
        box(axes, 0, 1.6, "$\\mu$", colours.ink)
        box(axes, 0, 0.3, "$\\log\\sigma^2$", colours.ink)
        middle = "$z \\sim N(\\mu, \\sigma^2)$" if drawn else "$z = \\mu + \\sigma\\varepsilon$"
        box(axes, 1.55, 1.0, middle, colours.four if drawn else colours.one)
        box(axes, 2.95, 1.0, "$L$", colours.ink)
        for y in (1.6, 0.3):
            bend = -0.15 if y > 1 else 0.15
            arrow(axes, (0.08, y), (1.22, 1.0), colours.ink, bend)
            if not drawn:
                arrow(axes, (1.22, 1.0), (0.08, y), colours.two, bend)
        arrow(axes, (1.9, 1.06), (2.95, 1.06), colours.ink)
        arrow(axes, (2.95, 0.86), (1.9, 0.86), colours.two)
        if drawn:
            axes.text(0.62, 0.98, "?", color=colours.two, fontsize=20, ha="center", va="center")
        else:
            box(axes, 1.55, 2.3, "$\\varepsilon \\sim N(0, 1)$", colours.four)
            arrow(axes, (1.55, 2.3), (1.55, 1.0), colours.ink)
        axes.text(2.42, 0.42, "gradient", color=colours.two, ha="center")


@picture(7.6, 3.0)
def estimators(figure, colours):
    """Single estimates of d/dμ E[z²] at μ = 1, and their variance over μ."""
    rng = np.random.default_rng(0)
    left, right = figure.subplots(1, 2)
    eps = rng.standard_normal(200_000)
    bins = np.linspace(-10, 20, 121)
    for name, estimates, colour in (("score function", (1 + eps) ** 2 * eps, colours.two),
                                    ("reparameterization", 2 * (1 + eps), colours.one)):
        left.hist(estimates, bins, density=True, histtype="stepfilled", color=colour, alpha=0.65, label=name)
    left.axvline(2, color=colours.ink, linewidth=1, linestyle="--")
    left.set(xlabel="one estimate of the derivative, μ = 1", ylabel="density", xlim=(-10, 20), ylim=(0, 0.5))
    left.text(2.4, 0.44, "true: 2", color=colours.ink)
    left.legend(loc="center right", fontsize=9)
    mu = np.linspace(0, 3, 100)
    right.semilogy(mu, mu**4 + 14 * mu**2 + 15, color=colours.two)
    right.semilogy(mu, np.full_like(mu, 4.0), color=colours.one)
    right.text(1.6, 100, "score function", color=colours.two, ha="right")
    right.text(3, 4.7, "reparameterization", color=colours.one, ha="right")
    right.set(xlabel="μ", ylabel="variance of one estimate", xlim=(0, 3), ylim=(2, 400))
