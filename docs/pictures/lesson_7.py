"""The pictures of lesson 7: relaxed draws in the simplex, and the errors of their gradient over the temperature."""

from functools import cache

import numpy as np

from docs.pictures.style import picture
from scratch.bottlenecks.gumbel_softmax import GumbelSoftmax, gumbel_noise

LOGITS, CODES, TARGET = np.array([1.0, 0.0, -1.0]), np.array([0.0, 1.0, 3.0]), 1.0
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum()
CORNERS = np.array([[0.0, 0.0], [0.5, 0.75**0.5], [1.0, 0.0]])


def gradients(noise, temperature, hard):
    """One estimate (K,) of the gradient of E[(q − x)²] by the logits for each draw of the noise (draws, K)."""
    module = GumbelSoftmax(hard)
    q = module.forward(np.broadcast_to(LOGITS, noise.shape).copy(), noise, temperature) @ CODES
    return module.backward(2 * (q - TARGET)[:, None] * CODES)


@cache  # for the light and the dark picture
def measured_errors():
    """(temperatures, {hard: (bias, standard deviation of one estimate) at each of them})."""
    noise = gumbel_noise((100_000, 3), np.float64, np.random.default_rng(0))
    losses = (CODES - TARGET) ** 2
    true = PROBABILITIES * (losses - PROBABILITIES @ losses)
    temperatures, errors = np.geomspace(0.03, 8, 25), {}
    for hard in (False, True):
        moments = [(each.mean(axis=0), each.var(axis=0))
                   for each in (gradients(noise, temperature, hard) for temperature in temperatures)]
        means, variances = map(np.array, zip(*moments, strict=True))
        errors[hard] = np.linalg.norm(means - true, axis=1), np.sqrt(variances.sum(axis=1))
    return temperatures, errors


@picture(7.6, 2.6)
def relaxed_draws(figure, colours):
    """The same 150 draws at three temperatures, as points of the triangle whose corners are the codes."""
    noise = gumbel_noise((150, 3), np.float64, np.random.default_rng(1))
    drawn = (LOGITS + noise).argmax(axis=1)
    for axes, temperature in zip(figure.subplots(1, 3), (4.0, 1.0, 0.1), strict=True):
        axes.plot(*CORNERS[[0, 1, 2, 0]].T, color=colours.ink, linewidth=1)
        y = GumbelSoftmax().forward(np.broadcast_to(LOGITS, noise.shape).copy(), noise, temperature)
        for code, colour in enumerate((colours.one, colours.two, colours.three)):
            axes.plot(*(y[drawn == code] @ CORNERS).T, ".", color=colour, markersize=5, markeredgewidth=0, alpha=0.75)
        for name, x, y, align in (("1", -0.07, 0, "right"), ("2", 0.5, 0.96, "center"), ("3", 1.07, 0, "left")):
            axes.text(x, y, name, ha=align, va="center")
        axes.set(title=f"τ = {temperature:g}", xlim=(-0.16, 1.16), ylim=(-0.08, 1.02), aspect="equal")
        axes.axis("off")


@picture(7.6, 3.2)
def relaxation_errors(figure, colours):
    """Bias and standard deviation over τ of both estimators, and the error of a mean of many relaxed estimates."""
    temperatures, errors = measured_errors()
    left, right = figure.subplots(1, 2)
    for hard, colour in ((False, colours.one), (True, colours.two)):
        bias, deviation = errors[hard]
        left.loglog(temperatures, deviation, color=colour)
        left.loglog(temperatures, bias, color=colour, linestyle="--")
    left.text(0.075, 7.2, "straight through", color=colours.two)
    left.text(0.035, 1.35, "relaxed", color=colours.one)
    left.plot([], [], color=colours.ink, label="standard deviation")
    left.plot([], [], color=colours.ink, linestyle="--", label="bias")
    left.legend(fontsize=9, loc="lower left", bbox_to_anchor=(0.28, 0.0))
    left.set(xlabel="temperature τ", title="one draw", ylim=(0.015, 15))
    bias, deviation = errors[False]
    for count, colour in ((10, colours.four), (100, colours.three), (1000, colours.two), (10_000, colours.one)):
        error = np.sqrt(bias**2 + deviation**2 / count)
        right.loglog(temperatures, error, color=colour, label=f"{count:,} draws".replace(",", " "))
        right.loglog(temperatures[error.argmin()], error.min(), "o", color=colour, markersize=6)
    right.legend(fontsize=9, loc="upper right")
    right.set(xlabel="temperature τ", title="error of a mean of relaxed draws", ylim=(0.03, 3))
