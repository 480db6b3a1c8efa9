"""Values that follow the step: "0.5", "linear:0:6.6:5000", "cosine:1:0.0625:150000", "exponential:1:0.5:1000" or
"cyclical:0:1:2500", which rises for half of every 2500 steps and then holds (Fu et al., arXiv:1903.10145). After
"warmup:100:" any of them rises from 0 in its first 100 steps."""

import math

import numpy as np

SHAPES = ("linear", "cosine", "exponential", "cyclical")


def read_schedule(text):
    """(shape, start, end, steps, steps of warm-up) of a schedule; a number is a constant. Raises ValueError for
    anything else."""
    expected = f"expected a number, or SHAPE:START:END:STEPS where SHAPE is {', '.join(SHAPES)}"
    if isinstance(text, bool) or text is None:
        raise ValueError(expected)
    warm, shape, numbers = "1", *str(text).partition(":")[::2]
    if shape == "warmup":
        warm, _, rest = numbers.partition(":")
        shape, _, numbers = rest.partition(":")
    numbers = numbers.split(":") if numbers else []
    if not warm.isdigit() or int(warm) < 1:
        raise ValueError("expected a warm-up of 1 step or more")
    try:
        start, end, steps = map(float, numbers) if numbers else (float(shape), float(shape), 1.0)
    except ValueError:
        raise ValueError(expected) from None
    shape = shape if numbers else "linear"
    if shape not in SHAPES or not all(map(math.isfinite, (start, end, steps))):
        raise ValueError(expected)
    least = 2 if shape == "cyclical" else 1
    if steps < least or steps != int(steps):
        raise ValueError(f"expected a number of steps ≥ {least}")
    if shape == "exponential" and min(start, end) <= 0:
        raise ValueError("expected an exponential schedule between two positive numbers")
    return shape, start, end, steps, int(warm)


def scheduled(text, step):
    """The value of a schedule at a step, counted from 0; a number is its own. Raises ValueError for anything else."""
    try:
        shape, start, end, steps, warm = read_schedule(text)
    except ValueError as error:
        raise ValueError(f"a schedule is {text!r}: {error}") from None
    return float(np.clip((step + 1) / warm, 0, 1)) * value_of(shape, start, end, steps, step)


def value_of(shape, start, end, steps, step):
    """The value of a schedule without a warm-up."""
    if shape == "cosine":
        return end + (start - end) * np.cos(np.pi / 2 * min(step / steps, 1)).item() ** 2
    if shape == "exponential":
        return float(np.exp(np.interp(step, [0, steps], np.log([start, end]))))
    if shape == "cyclical":
        within = steps if np.isinf(step) else step % steps
        return float(np.interp(within, [0, steps / 2], [start, end]))
    return float(np.interp(step, [0, steps], [start, end]))
