"""Values that follow the step: "0.5", "linear:0:6.6:5000", "cosine:1:0.0625:150000", "exponential:1:0.5:1000" or
"cyclical:0:1:2500", which rises for half of every 2500 steps and then holds (Fu et al., arXiv:1903.10145)."""

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
    if shape == "cyclical":
        within = steps if np.isinf(step) else step % steps
        return float(np.interp(within, [0, steps / 2], [start, end]))
    raise ValueError(f"unknown schedule {text!r}: linear, cosine, exponential or cyclical")
