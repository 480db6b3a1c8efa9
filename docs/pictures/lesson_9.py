"""The picture of lesson 9: three optimisers in a long valley, and the learning rates that they need."""

import numpy as np

from docs.pictures.style import picture
from scratch.module import Parameter
from scratch.optim import SGD, Adam

CURVATURES = np.array([1.0, 25.0])
START = np.array([-4.0, 1.5])
TURN = np.array([[1.0, -1.0], [1.0, 1.0]]) / 2**0.5  # by 45°


def path(kind, steps, turned=False, scale=1.0, **settings):
    """The points (steps + 1, 2) of an optimiser on L = scale · ½ Σ curvature · θ², or on this valley turned by 45°."""
    turn = TURN if turned else np.eye(2)
    theta = Parameter(turn @ START)
    optimiser = kind({"theta": theta}, **settings)
    points = [theta.value.copy()]
    for _ in range(steps):
        theta.grad = scale * turn @ (CURVATURES * (turn.T @ theta.value))
        optimiser.step()
        points.append(theta.value.copy())
    return np.array(points)


def loss(points, turned=False):
    return 0.5 * ((points @ (TURN if turned else np.eye(2))) ** 2 @ CURVATURES)


@picture(7.6, 3.1)
def descents(figure, colours):
    """Left and middle: 40 steps of three optimisers, in a valley along an axis and in the same one turned. Right: the
    loss after 100 steps over the learning rate, and where the loss is 100 times as large.
    """
    methods = (("gradient descent", SGD, {}, 0.07, colours.two),
               ("momentum", SGD, {"momentum": 0.9}, 0.012, colours.three),
               ("Adam", Adam, {}, 0.2, colours.one))
    grid = np.stack(np.meshgrid(np.linspace(-4.6, 1.6, 125), np.linspace(-4.0, 2.2, 125)), axis=-1)
    panels = figure.subplots(1, 3, width_ratios=(1, 1, 1.25))
    for axes, turned in ((panels[0], False), (panels[1], True)):
        axes.contour(*np.moveaxis(grid, -1, 0), loss(grid, turned), levels=(0.3, 2, 8, 30),
                     colors=[colours.faint], linewidths=0.8)
        for _, kind, settings, lr, colour in methods:
            axes.plot(*path(kind, 40, turned, lr=lr, **settings).T, ".-", color=colour, linewidth=1, markersize=3.5)
        axes.plot(0, 0, "+", color=colours.ink, markersize=9)
        axes.set(xlim=(-4.6, 1.6), ylim=(-4.0, 2.2), aspect="equal", xticks=(), yticks=(), xlabel="θ₁", ylabel="θ₂",
                 title="turned by 45°" if turned else "valley along θ₁")
    rates = np.geomspace(1e-4, 3, 46)
    for name, kind, settings, _, colour in methods:
        for scale, line in ((1.0, "-"), (100.0, "--")):
            with np.errstate(all="ignore"):
                last = np.array([loss(path(kind, 100, lr=lr, scale=scale, **settings)[-1]) for lr in rates])
            shown = last < 100
            panels[2].loglog(rates[shown], last[shown], line, color=colour, label=name if scale == 1 else None)
    panels[2].plot([], [], "--", color=colours.ink, label="loss × 100")
    panels[2].set(xlabel="learning rate", title="loss after 100 steps", ylim=(1e-6, 1e4),
                  yticks=(1e-6, 1e-4, 1e-2, 1, 100))
    panels[2].legend(fontsize=8.5, loc="upper left", labelspacing=0.2, ncols=2, columnspacing=1, handlelength=1.5)
