"""The pictures of lesson 5: Voronoi cells with the gradient carried over, and the surrogate of a staircase."""

import numpy as np

from docs.pictures.style import picture

CODES = np.array([[1.0, 2.9], [3.3, 3.2], [2.3, 1.6], [0.8, 0.7], [4.3, 1.1]])
LATENTS = np.array([[0.4, 2.6], [1.65, 3.3], [2.75, 2.75], [3.95, 2.65], [1.85, 1.95], [2.75, 0.85], [1.35, 1.1],
                    [0.25, 1.1], [4.75, 1.75], [3.75, 0.5]])
DESCENT = np.array([[0.35, -0.55], [0.6, 0.3], [-0.6, 0.25], [0.3, 0.55], [-0.5, -0.35]])  # minus the gradient


def nearest(points):
    return ((points[:, None] - CODES) ** 2).sum(axis=2).argmin(axis=1)


def cells(axes, colours):
    """The walls between the cells: where the nearest code changes."""
    x, y = np.meshgrid(np.linspace(0, 5.1, 256), np.linspace(0, 3.8, 191))
    distances = ((np.stack([x, y], axis=-1)[:, :, None] - CODES) ** 2).sum(axis=3)
    for j, distance in enumerate(np.moveaxis(distances, 2, 0)):
        others = np.delete(distances, j, axis=2).min(axis=2)
        axes.contour(x, y, others - distance, levels=[0], colors=[colours.faint], linewidths=1.5)
    axes.set(xlim=(0, 5.1), ylim=(0, 3.8), aspect="equal", xticks=[], yticks=[])
    axes.spines[["top", "right"]].set_visible(True)
    for spine in axes.spines.values():
        spine.set_color(colours.faint)


@picture(7.6, 3.2)
def voronoi(figure, colours):
    """Latents moved to the codes of their cells; the decoder's arrow at a code, repeated at its latents."""
    forward, backward = figure.subplots(1, 2)
    k = nearest(LATENTS)
    for axes in (forward, backward):
        cells(axes, colours)
        axes.plot(*CODES.T, "o", color=colours.one, markersize=9)
        axes.plot(*LATENTS.T, "o", color=colours.ink, markersize=4)
    for z, code in zip(LATENTS, CODES[k], strict=True):
        forward.annotate("", code, z, arrowprops={"arrowstyle": "-|>", "color": colours.ink, "linewidth": 1.1,
                                                  "shrinkA": 3, "shrinkB": 5})
    for points, step, colour in ((CODES, DESCENT, colours.two), (LATENTS, DESCENT[k], colours.two)):
        for start, arrow in zip(points, step, strict=True):
            backward.annotate("", start + arrow, start, arrowprops={
                "arrowstyle": "-|>", "color": colour, "linewidth": 2.2 if points is CODES else 1.3,
                "shrinkA": 0, "shrinkB": 0})
    forward.set_title("forward: $z \\to e_k$")
    backward.set_title("backward: the arrow at $e_k$, carried to $z$")
    forward.text(CODES[1, 0] + 0.2, CODES[1, 1], "code", color=colours.one, va="center")
    forward.text(LATENTS[8, 0] - 0.12, LATENTS[8, 1] + 0.14, "latent", ha="center", va="bottom")


@picture(7.6, 3.0)
def staircase(figure, colours):
    """q(z) for the codes 0, 1 and 3 with the surrogate at z = 1.7; descent with and without commitment."""
    left, right = figure.subplots(1, 2)
    for start, end, code in ((-1, 0.5, 0), (0.5, 2, 1), (2, 4, 3)):
        left.plot([start, end], [code, code], color=colours.one, linewidth=2.2)
    left.plot([0.2, 3.2], [-0.5, 2.5], color=colours.two, linestyle="--")
    left.plot(1.7, 1, "o", color=colours.ink)
    left.text(-0.95, 0.1, "forward:\nslope 0", color=colours.one, va="bottom")
    left.text(2.35, 1.35, "surrogate $z + c$:\nslope 1", color=colours.two, va="center")
    left.text(1.62, 1.12, "now", ha="right")
    left.set(xlabel="$z$", ylabel="$q$", xlim=(-1, 4), ylim=(-0.6, 3.4), xticks=range(-1, 5), yticks=range(4))
    for commitment, colour in ((0.0, colours.two), (1.0, colours.three)):
        z, path = 0.32, []
        for _ in range(30):
            path.append(z)
            q = 0.0 if z < 0.5 else 1.0
            z -= 0.1 * (2 * (q - 0.4) + commitment * 2 * (z - q))
        right.plot(path, ".-", color=colour, linewidth=1)
    right.axhline(0.5, color=colours.ink, linewidth=1, linestyle="--")
    right.text(-4.6, 0.503, "wall", va="bottom")
    right.text(14.5, 0.575, "commitment = 0", color=colours.two, ha="center")
    right.text(14.5, 0.365, "commitment = 1", color=colours.three, ha="center")
    right.set(xlabel="step", ylabel="$z$", xlim=(-5, 30), ylim=(0.3, 0.61))
