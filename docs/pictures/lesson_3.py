"""The pictures of lesson 3: an autoencoder's shapes, and the loss of a linear one."""

import numpy as np
from matplotlib.patches import Rectangle

from docs.pictures.style import picture

ANGLE = np.radians(30)
FIRST, SECOND = np.array([np.cos(ANGLE), np.sin(ANGLE)]), np.array([-np.sin(ANGLE), np.cos(ANGLE)])


def cloud(count=200):
    """Points with the mean 0 and exactly the variances 4 and 1 along FIRST and SECOND."""
    drawn = np.random.default_rng(0).standard_normal((count, 2))
    orthonormal, _ = np.linalg.qr(drawn - drawn.mean(axis=0))
    return np.sqrt(count) * orthonormal * [2, 1] @ np.stack([FIRST, SECOND])


@picture(7.6, 2.9)
def hourglass(figure, colours):
    """The shapes of the small preset's AE, and the way of the gradients."""
    axes = figure.subplots()
    axes.axis("off")
    axes.set(xlim=(-0.2, 12.5), ylim=(-2.75, 2.05))
    layers = [("32×32", "3", 2.6, 0.22, "$x$"), ("16×16", "32", 1.9, 0.4, ""), ("8×8", "64", 1.3, 0.6, ""),
              ("4×4", "128", 0.85, 0.8, "$h$"), ("128", "", 0.6, 0.2, "$z$"), ("4×4", "128", 0.85, 0.8, ""),
              ("8×8", "64", 1.3, 0.6, ""), ("16×16", "32", 1.9, 0.4, ""), ("32×32", "3", 2.6, 0.22, "$y$")]
    places = np.linspace(0.3, 10.3, len(layers))
    for (size, channels, height, width, name), x in zip(layers, places, strict=True):
        colour = colours.four if name == "$z$" else colours.one
        axes.add_patch(Rectangle((x - width / 2, -height / 2), width, height, facecolor=colour, edgecolor=colour,
                                 alpha=0.35, linewidth=0))
        axes.add_patch(Rectangle((x - width / 2, -height / 2), width, height, facecolor="none", edgecolor=colour,
                                 linewidth=1.4))
        if channels:
            axes.text(x, height / 2 + 0.1, f"{size}×{channels}", ha="center", va="bottom", fontsize=9)
        else:
            axes.text(x, -0.85, f"{size} numbers", ha="center", va="top", fontsize=9)
        if name:
            inside = name == "$h$"
            axes.text(x, 0 if inside else -height / 2 - 0.08, name, ha="center", va="center" if inside else "top",
                      fontsize=13)
    axes.text(11.9, 0, "$L$", ha="center", va="center", fontsize=14)
    line = {"arrowstyle": "-|>", "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    edges = [(x - width / 2, x + width / 2) for (_, _, _, width, _), x in zip(layers, places, strict=True)]
    for (_, right), (left, _) in zip(edges, [*edges[1:], (11.7, 0)], strict=True):
        axes.annotate("", (left - 0.06, 0), (right + 0.06, 0), arrowprops={**line, "color": colours.ink})
    for start, end, text in ((11.9, places[8], "$dy$"), (places[8], places[4], "$dz$"), (places[4], places[3], "$dh$"),
                             (places[3], places[0], "into the weights")):
        axes.annotate("", (end + 0.05, -1.95), (start - 0.05, -1.95), arrowprops={**line, "color": colours.two})
        axes.text((start + end) / 2, -2.03, text, ha="center", va="top", color=colours.two,
                  fontsize=12 if "$" in text else 10)
    for start, end, text in ((places[0], places[3], "encoder"), (places[5], places[8], "decoder")):
        axes.text((start + end) / 2, 1.75, text, ha="center", va="center", fontsize=11)
    axes.text(places[4], 1.75, "bottleneck", ha="center", va="center", fontsize=11, color=colours.four)


def tied_loss(w, x):
    """The mean of ‖x − ⟨x, w⟩ w‖² over points x, and its gradient."""
    covariance = x.T @ x / len(x)
    product = covariance @ w
    variance = w @ product
    return (np.trace(covariance) - 2 * variance + (w @ w) * variance,
            -4 * product + 2 * variance * w + 2 * (w @ w) * product)


@picture(7.6, 2.75)
def linear_ae(figure, colours):
    """Points and their principal axis; the loss over the two weights of a tied AE; the loss over two gains."""
    x = cloud()
    points, tied, gains = figure.subplots(1, 3)

    points.set(aspect="equal", xlim=(-6.4, 6.4), ylim=(-6.4, 6.4), title="points, code, error", xticks=(), yticks=())
    shadow = np.outer(x @ FIRST, FIRST)
    for point, foot in zip(x[:45], shadow[:45], strict=True):
        points.plot(*zip(point, foot, strict=True), color=colours.faint, linewidth=0.9)
    points.plot(*np.stack([-6.5 * FIRST, 6.5 * FIRST]).T, color=colours.one, linewidth=1.6)
    points.plot(*x[:45].T, ".", color=colours.ink, markersize=4)
    points.plot(*shadow[:45].T, ".", color=colours.one, markersize=4)

    grid = np.linspace(-1.6, 1.6, 49)
    covariance = x.T @ x / len(x)
    w = np.stack(np.meshgrid(grid, grid), axis=-1)
    variance = (w * (w @ covariance)).sum(-1)
    loss = np.trace(covariance) - 2 * variance + (w * w).sum(-1) * variance
    tied.contour(grid, grid, loss, levels=[1.2, 1.6, 2.2, 3, 3.9, 4.4, 4.9, 6, 9], colors=colours.faint, linewidths=1)
    path = [1.5 * SECOND + 0.02 * FIRST]
    for _ in range(300):
        path.append(path[-1] - 0.02 * tied_loss(path[-1], x)[1])
    tied.plot(*np.array(path)[::4].T, color=colours.two, linewidth=1.6)
    tied.plot(*path[0], ".", color=colours.two)
    for sign in (1, -1):
        tied.plot(*(sign * FIRST), "o", color=colours.one, markersize=6)
        tied.plot(*(sign * SECOND), "x", color=colours.four, markersize=7, markeredgewidth=2)
    tied.text(-0.62, 0.72, "saddle", color=colours.four, fontsize=9, ha="right", va="top")
    tied.text(-0.95, -0.72, "minimum", color=colours.one, fontsize=9, ha="center", va="top")
    tied.plot(0, 0, "^", color=colours.ink, markersize=6)
    tied.set(aspect="equal", title="decoder = encoder", xlabel="first weight", ylabel="second weight",
             xticks=(-1, 0, 1), yticks=(-1, 0, 1))

    grid = np.linspace(-2.2, 2.2, 45)
    first, second = np.meshgrid(grid, grid)
    gains.contour(grid, grid, 4 * (1 - first * second) ** 2 + 1, levels=[1.1, 1.6, 2.5, 3.6, 5, 8, 14, 25],
                  colors=colours.faint, linewidths=1)
    for half in (np.linspace(1 / 2.2, 2.2, 40), -np.linspace(1 / 2.2, 2.2, 40)):
        gains.plot(half, 1 / half, color=colours.one, linewidth=2)
    for start in ((-1.5, 1.7), (0.12, -0.05), (2.0, -1.2)):
        path = [np.array(start)]
        for _ in range(600):
            first, second = path[-1]
            path.append(path[-1] + 0.005 * 8 * (1 - first * second) * np.array([second, first]))
        gains.plot(*np.array(path)[::8].T, color=colours.two, linewidth=1.6)
        gains.plot(*start, ".", color=colours.two)
    gains.plot(0, 0, "x", color=colours.four, markersize=7, markeredgewidth=2)
    gains.set(aspect="equal", title="along the first axis", xlabel="gain₁ (encoder)", ylabel="gain₂ (decoder)",
              xticks=(-2, 0, 2), yticks=(-2, 0, 2))
