"""The picture of lesson 8: the error of a finite difference over its step, and what a kink does to it."""

import numpy as np

from docs.pictures.style import picture


def cube(x):
    return x * x * x


def errors(x, steps, one_sided=False):
    """The median error of the numeric derivative of x³ over the points x, for each step, in the dtype of x."""
    found = []
    for step in steps.astype(x.dtype):
        numeric = (cube(x + step) - cube(x)) / step if one_sided else (cube(x + step) - cube(x - step)) / (2 * step)
        found.append(np.median(np.abs(numeric - 3 * x.astype(np.float64) ** 2)))
    return np.array(found)


@picture(7.6, 3.3)
def step_sizes(figure, colours):
    """Left: as the step falls, truncation falls and rounding grows. Right: the numeric slope of ReLU near its kink."""
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    points = np.random.default_rng(0).uniform(1.8, 2.2, 400)
    steps = np.geomspace(1e-12, 1, 73)
    left.loglog(steps[steps > 2e-6], steps[steps > 2e-6] ** 2, color=colours.faint, linestyle="--")
    for dtype, last in ((np.float64, 1e-4), (np.float32, 5e-2)):
        shown = steps[(steps < last) & (steps > np.finfo(dtype).epsneg / 3)]
        left.loglog(shown, 8 * np.finfo(dtype).epsneg / shown, color=colours.faint, linestyle="--")
    left.loglog(steps, errors(points, steps, one_sided=True), color=colours.three)
    left.loglog(steps, errors(points, steps), color=colours.one)
    fitting = steps[steps > 1e-7]
    left.loglog(fitting, errors(points.astype(np.float32), fitting), color=colours.two)
    left.text(2e-12, 4e-9, "float64, central", color=colours.one)
    left.text(2e-7, 30, "float32, central", color=colours.two)
    left.text(3e-6, 6e-4, "float64, one-sided", color=colours.three, ha="right")
    left.text(3e-3, 2e-7, "truncation", color=colours.ink)
    left.text(1.2e-4, 4e-12, "rounding", color=colours.ink)
    left.set(xlabel="step", ylabel="error of the derivative of x³", ylim=(1e-12, 100), xlim=(1e-12, 1))
    offset = np.linspace(-3, 3, 121)
    right.plot([-3, 0, 0, 3], [0, 0, 1, 1], color=colours.ink, linewidth=1, linestyle="--", label="derivative of ReLU")
    right.plot(offset, np.clip((offset + 1) / 2, 0, 1), color=colours.two, label="central difference")
    right.set(xlabel="distance from the kink, x / step", ylim=(-0.1, 1.6), yticks=(0, 0.5, 1))
    right.legend(fontsize=9, loc="upper left")
