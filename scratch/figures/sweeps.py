"""Pictures of a sweep: the rate–distortion curve, and the measures of the runs over the option that varies."""

import math

import numpy as np

from scratch.arrays import unwarned
from scratch.figures.canvas import new_figure, unmarked_between, whole_numbers
from scratch.figures.text import fold, grow, legend, literal, title

COLUMNS = {  # measure: (heading, format); a table has the columns that its runs have
    "rate": ("rate", ".2f"), "distortion": ("distortion", ".2f"), "elbo": ("ELBO", ".2f"),
    "bits_per_dim": ("bits/dim", ".3f"), "importance_weighted_bound": ("log p(x) ≥", ".2f"),
    "active_units": ("active", ".0f"), "mig": ("MIG", ".3f"), "codes_used": ("codes", ".0f"),
    "share_of_zeros": ("zeros", ".3f"), "psnr": ("PSNR", ".2f"), "ssim": ("SSIM", ".3f"),
    "denoising_gain": ("gain dB", ".2f"), "parameters": ("parameters", ",.0f"),
}
PANELS = {  # measure: (label of its axis, does the axis begin at zero?); the first four that all runs have are drawn
    "active_units": ("active units", True),
    "rate": ("rate (nats)", True),
    "elbo": ("ELBO (nats)", False),
    "mig": ("mutual information gap", True),
    "squared_error": ("mean squared error", False),
    "psnr": ("PSNR (dB)", False),
    "codes_used": ("codes used", True),
}


def columns_of(rows):
    """{figure: (heading, format)} of those that some run has: the known ones and, where there is no image to judge, all
    that training measures."""
    found = {name: column for name, column in COLUMNS.items() if any(name in row for row in rows)}
    if "psnr" in found:
        return found
    return {name: (name, ".4g") for name in numbers_of(rows) if name not in found} | found


def numbers_of(rows):
    """The figures that every run has as a number."""
    return [name for name, value in rows[0].items()
            if isinstance(value, int | float) and all(row.get(name) is not None for row in rows)]


def lines_of(axes, rows):
    """{label: rows}: the runs that differ only in the first of the varied options, a line of a picture each."""
    first, lines = next(iter(axes)), {}
    for row in rows:
        others = {name: value for name, value in row["settings"].items() if name != first}
        label = ", ".join(f"{name} {value}" for name, value in others.items())
        lines.setdefault(label, []).append(row)
    return lines


def rate_distortion_curve(axes, rows):
    """Distortion over rate, a point a run. All points on a line of slope −1 have the same ELBO. (Alemi et al. 2018,
    arXiv:1711.00464)"""
    first = next(iter(axes))
    figure = new_figure(figsize=(7, 5), layout="constrained")
    plot = figure.add_subplot()
    groups = lines_of(axes, rows)
    curves = []
    for number, group in enumerate(groups.values()):
        rate, distortion = (np.array([row[name] for row in group]) for name in ("rate", "distortion"))
        order = np.argsort(rate)
        curves += plot.plot(rate[order], distortion[order], marker="o", markersize=4, linewidth=1)
        up = number % 2 == 0  # neighbouring lines have their labels on different sides
        for row in group:
            plot.annotate(fold(row["settings"][first], 1.5, 7), (row["rate"], row["distortion"]), fontsize=7,
                          xytext=(5, 4) if up else (-5, -4), textcoords="offset points",
                          ha="left" if up else "right", va="bottom" if up else "top")
    best = max(row["elbo"] for row in rows)
    bounds = plot.get_xlim(), plot.get_ylim()
    curves.append(plot.axline((0, -best), slope=-1, color="0.6", linestyle="--", linewidth=1))
    plot.set_xlim(bounds[0])
    plot.set_ylim(bounds[1])
    plot.set_xlabel("rate: KL(q(z | x) ‖ p(z)), nats")
    plot.set_ylabel("distortion: −log p(x | z), nats")
    title(plot, f"held-out images; a point a run, labelled with its {first}")
    plot.grid(alpha=0.3)
    legend(plot, curves, [*groups, f"ELBO {best:.4g}, the best"], inches=3.5)
    return figure


def over_option(axes, rows):
    """The measures of the runs over the first of the varied options; a line for each combination of the others."""
    first, values = next(iter(axes.items()))
    with unwarned():
        rows = [{**row, "squared_error": squared_error(row)} if "psnr" in row else row for row in rows]
    names = [name for name in PANELS if all(row.get(name) is not None for row in rows)] or numbers_of(rows)
    names = names[:4] or ["loss"]
    columns = min(2, len(names))
    depth = -(-len(names) // columns)
    figure = new_figure(figsize=(4.5 * columns, 3.2 * depth + 0.4), layout="constrained")
    (at, numeric), groups = positions(values), lines_of(axes, rows)
    ticks = [fold(value, 2, 8) for value in at]
    for index, name in enumerate(names):
        plot = figure.add_subplot(depth, columns, index + 1)
        curves = [
            plot.plot([at[row["settings"][first]] for row in group], [row[name] for row in group],
                      marker="o", markersize=4, linewidth=1 if numeric else 0)[0]
            for group in groups.values()
        ]
        ends, from_zero = PANELS.get(name, (name, False))
        if from_zero:
            plot.set_ylim(bottom=min(0, plot.get_ylim()[0]))
        if numeric and min(at.values()) > 0 and max(at.values()) >= 4 * min(at.values()):
            plot.set_xscale("log")
            unmarked_between(plot.xaxis)
        if name == "active_units":
            whole_numbers(plot.yaxis)
        plot.set_xticks(list(at.values()), ticks, fontsize=8, **({} if numeric else dict(rotation=20, ha="right")))
        plot.set_xlabel(literal(first))
        plot.set_ylabel(ends)
        plot.grid(alpha=0.3)
    grow(figure, depth * max(tick.count("\n") for tick in ticks), size=8)
    if len(groups) > 1 and names:
        legend(figure, curves, groups, inches=1.2 * columns, loc="outside upper center", ncols=3)
    return figure


def squared_error(row):
    """The mean squared error of a run: 10^(−PSNR/10), 0 where the PSNR is infinite (None); None of a run without one.
    """
    if "psnr" not in row:
        return None
    return 0.0 if row["psnr"] is None else float(np.power(10.0, -row["psnr"] / 10))


def positions(values):
    """({value: place on the axis}, are all values numbers?). Where one is text, such as a schedule, the places are 0,
    1, 2, …"""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        return {value: place for place, value in enumerate(values)}, False
    return dict(zip(values, numbers, strict=True)), True
