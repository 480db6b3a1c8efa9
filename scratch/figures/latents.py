"""Pictures of a run's space of codes: where codes lie, what a grid of them decodes to, what they tell of factors."""

import numpy as np

from scratch.figures.canvas import new_figure
from scratch.figures.pictures import GAP, tile
from scratch.figures.text import fold, legend, title


def information_figure(found, rows=20):
    """The share of each factor's entropy that each dimension tells: a row a dimension, the largest share first."""
    shares = found.nats / found.entropies
    order = np.argsort(-shares.max(axis=1), kind="stable")[:rows]
    F = len(found.names)
    figure = new_figure(figsize=(max(3.6, 0.75 * F + 1.2), 0.27 * len(order) + 1.3), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares[order], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares[order]):
        if share >= 0.005:
            axes.text(column, row, f"{share:.2f}", ha="center", va="center", fontsize=7,
                      color="white" if share > 0.5 else "black")
    names = [f"{fold(name, 1.2, 8)}\n{gap:.2f}" for name, gap in zip(found.names, found.gaps, strict=True)]
    axes.set_xticks(range(F), names, fontsize=8)
    axes.set_yticks(range(len(order)), [f"z{dimension}" for dimension in order], fontsize=8)
    axes.set_xlabel("factor, and its gap", fontsize=9)
    title(axes, f"I(z; factor) / H(factor); their gap on average {found.mig:.3f}", size=9)
    return figure


def scatter_figure(space, colour, values, data_name, name_of=str):
    """Codes in the two most important dimensions, with the circles of 1σ and 2σ of the prior where there is one.

    colour, values   the factor that colours the points, and its values; `name_of` gives a value its name
    """
    first, second = space.most_important(2)
    figure = new_figure(figsize=(6, 5.2), layout="constrained")
    axes = figure.add_subplot()
    style = dict(s=6, alpha=0.6, linewidths=0)
    if values is None:
        axes.scatter(space.codes[:, first], space.codes[:, second], **style)
    elif np.issubdtype(values.dtype, np.integer) and len(np.unique(values)) <= 10:
        found = np.unique(values)
        points = [axes.scatter(*space.codes[values == value][:, [first, second]].T, color=f"C{number}", **style)
                  for number, value in enumerate(found)]
        legend(axes, points, map(name_of, found), inches=1, title=fold(colour, 1, 10), markerscale=2, loc="center left",
               bbox_to_anchor=(1, 0.5))
    else:
        points = axes.scatter(space.codes[:, first], space.codes[:, second], c=values, cmap="twilight", **style)
        figure.colorbar(points, label=fold(colour, 4, 10))
    if space.has_prior:
        angles = np.linspace(0, 2 * np.pi, 200)
        for radius in (1, 2):
            axes.plot(radius * np.cos(angles), radius * np.sin(angles), color="black", linewidth=1,
                      linestyle="-" if radius == 1 else "--")
    axes.set_aspect("equal", adjustable="datalim")
    for dimension, set_label in ((first, axes.set_xlabel), (second, axes.set_ylabel)):
        set_label(f"z{dimension}  ({space.unit.format(space.importance[dimension])})")
    what = "posterior means; circles: 1σ and 2σ of the prior" if space.has_prior else "codes"
    title(axes, f"{len(space.codes)} held-out images of {data_name}: {what}", size=9)
    return figure


def grid_figure(images, name, space):
    """The images (R, C, H, W, channels) that a grid of codes of two numbers (vector_codes.grid_of_codes) decodes to."""
    source = "the prior" if space.has_prior else "a Gaussian fitted to the codes"
    return image_grid(images, f"{name}: decoded at quantiles of {source}")


def image_grid(images, heading):
    """A figure of images (R, C, H, W, channels) in rows and columns without labels, under a heading."""
    figure = new_figure(figsize=(6, 6 * len(images) / len(images[0]) + 0.35), layout="constrained")
    axes = figure.add_subplot()
    strips = [tile(row) for row in images]
    gap = np.ones((GAP, *strips[0].shape[1:]))
    axes.imshow(np.concatenate([part for strip in strips for part in (gap, strip)][1:]), interpolation="nearest")
    axes.set_axis_off()
    figure.suptitle(fold(heading, 5.7, 10), fontsize=10)
    return figure
