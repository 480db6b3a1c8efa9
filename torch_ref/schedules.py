"""Values that follow the step: "0.5", "linear:0:6.6:5000", "cosine:1:0.0625:150000" or "exponential:1:0.5:1000"."""

import numpy as np


def scheduled(text, step):
    """The value of a schedule at a step, counted from 0; a number is its own."""
    shape, *numbers = str(text).split(":")
    if not numbers:
        return float(shape)
    start, end, steps = (float(number) for number in numbers)
    if shape == "linear":
        return float(np.interp(step, [0, steps], [start, end]))
    if shape == "cosine":
        return end + (start - end) * np.cos(np.pi / 2 * min(step / steps, 1)).item() ** 2
    if shape == "exponential":
        return float(np.exp(np.interp(step, [0, steps], np.log([start, end]))))
    raise ValueError(f"unknown schedule {text!r}: linear, cosine or exponential")
