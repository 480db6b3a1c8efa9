"""The pictures of lesson 10: who may look at whom, a mean weighted by attention, and what the division by √D is for."""

import numpy as np
from matplotlib.patches import Rectangle

from docs.pictures.style import picture
from scratch.layers.softmax import softmax

VALUES = np.array([[2.0, 0.0], [0.0, 4.0], [3.0, 3.0]])  # of the worked example
WEIGHTS = np.array([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.4, 0.2, 0.4]])
SUBSCRIPTS = "₁₂₃₄₅₆"


def mask(axes, colours):
    """A square for each pair of query and key. A hidden one is crossed out, the others are the fuller, the larger their
    weight.
    """
    T = len(SUBSCRIPTS)
    seen = np.tril(np.ones((T, T), bool))
    p = softmax(np.where(seen, 1.3 * np.random.default_rng(1).standard_normal((T, T)), -np.inf))
    for i, j in np.ndindex(T, T):
        corner = (j - 0.45, i - 0.45)
        if seen[i, j]:
            axes.add_patch(Rectangle(corner, 0.9, 0.9, facecolor=colours.one, alpha=0.08 + 0.92 * p[i, j], linewidth=0))
            axes.add_patch(Rectangle(corner, 0.9, 0.9, fill=False, edgecolor=colours.one, linewidth=0.8))
        else:
            axes.text(j, i, "×", color=colours.ink, alpha=0.45, ha="center", va="center", fontsize=13)
    names = ["start", *(f"x{digit}" for digit in SUBSCRIPTS)]
    axes.set(xlim=(-0.55, T + 0.7), ylim=(T - 0.45, -0.55), aspect="equal", xticks=range(T), yticks=range(T),
             xlabel="key", ylabel="query")
    axes.set_xticklabels(names[:-1], fontsize=9.5)
    axes.set_yticklabels(names[:-1], fontsize=9.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for i, name in enumerate(names[1:]):
        axes.text(T - 0.35, i, f"→ {name}", color=colours.two, va="center", fontsize=9.5)


@picture(7.6, 3.3)
def attention(figure, colours):
    """Left: the causal mask. Right: the values of the worked example, and the outputs as weighted means of them."""
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    mask(left, colours)
    outputs = WEIGHTS @ VALUES
    right.fill(*VALUES.T, color=colours.one, alpha=0.1, linewidth=0)
    for value, weight, shift in zip(VALUES, WEIGHTS[2], ((0.1, -0.05), (0.1, 0.03), (0.02, -0.32)), strict=True):
        right.plot(*zip(value, outputs[2], strict=True), color=colours.two, linewidth=10 * weight, alpha=0.55,
                   solid_capstyle="butt", zorder=1)
        right.text(*((value + outputs[2]) / 2 + shift), f"{weight}", color=colours.two, fontsize=9.5)
    right.plot(*VALUES.T, "o", color=colours.one, markersize=9)
    right.plot(*outputs[1:].T, "D", color=colours.two, markersize=7)
    for name, value, shift in zip(("v₁ = o₁", "v₂", "v₃"), VALUES, ((0.15, -0.15), (0.15, 0.05), (-0.05, 0.28)),
                                  strict=True):
        right.text(*(value + shift), name, color=colours.one)
    right.text(*(outputs[1] + (-0.32, -0.33)), "o₂", color=colours.two)
    right.text(*(outputs[2] + (-0.42, -0.1)), "o₃", color=colours.two)
    right.set(xlim=(-0.3, 3.4), ylim=(-0.4, 4.5), xticks=(0, 1, 2, 3), yticks=(0, 1, 2, 3, 4))


@picture(7.6, 2.9)
def root_of_size(figure, colours):
    """Left: the weights of 16 keys for D = 256, with and without the division by √D. Right: how much the softmax still
    reacts, 1 − Σ p², over D.
    """
    rng = np.random.default_rng(4)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    names = (("divided by √D", colours.one), ("not divided", colours.two))

    def both(D, queries, keys=16):
        q, k = rng.standard_normal((queries, D)), rng.standard_normal((queries, keys, D))
        a = np.einsum("md,mjd->mj", q, k)
        return softmax(a / np.sqrt(D)), softmax(a)

    for offset, weights, (name, colour) in zip((-0.2, 0.2), both(256, 1), names, strict=True):
        left.bar(np.arange(16) + offset, weights[0], 0.4, color=colour, label=name)
    left.set(xlabel="key", ylabel="weight", title="one query, D = 256", xticks=(0, 5, 10, 15), ylim=(0, 1.05))
    left.legend(fontsize=9)
    sizes = 2 ** np.arange(11)
    reactions = np.array([[1 - (p**2).sum(axis=-1).mean() for p in both(D, 1000)] for D in sizes])
    for reaction, (_, colour) in zip(reactions.T, names, strict=True):
        right.semilogx(sizes, reaction, ".-", color=colour, base=2)
    right.set(xlabel="D", title="1 − Σ p²: how much the weights react", ylim=(0, 1), xticks=(1, 4, 16, 64, 256, 1024))
    right.set_xticklabels(("1", "4", "16", "64", "256", "1024"))
