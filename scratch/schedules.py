"""Schedules: a weight, a temperature or a learning rate as a function of the training step."""

import math

from scratch.options.errors import InputError


def linear(start, end, share):
    """start + (end − start)·share, for a share of the way in [0, 1]."""
    return start + (end - start) * share


def cosine(start, end, share):
    """end + (start − end)·½(1 + cos(π·share)), for a share of the way in [0, 1]."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def exponential(start, end, share):
    """start·(end / start)^share, for a share of the way in [0, 1]."""
    return start * (end / start) ** share


def cyclical(start, end, share):
    """linear in the first half of a cycle, then end; for a share of the cycle in [0, 1)."""
    return linear(start, end, min(2 * share, 1.0))


SHAPES = {"linear": linear, "cosine": cosine, "exponential": exponential, "cyclical": cyclical}


class Schedule:
    """schedule(step) goes from `start` to `end` in `steps` steps, and stays there. Steps count from 0.

    With share = min(step / steps, 1):

        linear        start + (end − start)·share
        cosine        end + (start − end)·½(1 + cos(π·share))
        exponential   start·(end / start)^share

    A cyclical schedule starts again every `steps` steps. With share = (step mod steps) / steps:

        cyclical      start + (end − start)·min(2·share, 1)

    In the first half of a cycle it moves from `start` to `end`; in the second half it stays at `end`. At step = ∞,
    which stands for "after training", it is at `end` as well. (Fu et al. 2019, arXiv:1903.10145, whose proportion
    of a cycle that rises is ½ here)

    As text a schedule is shape:start:end:steps, such as "linear:0:6.6:5000". A number alone is a constant. With
    "warmup:W:" before it, its values rise from 0 in the first W steps: at step s they are multiplied by
    min((s + 1)/W, 1). (Goyal et al. 2017, arXiv:1706.02677) Anything else raises InputError.
    """

    def __init__(self, text):
        shape, *numbers = str(text).split(":")
        self.warmup = 1
        try:
            if shape == "warmup" and len(numbers) > 1:
                steps, shape, *numbers = numbers
                self.warmup = int(steps)
            if numbers:
                self.start, self.end, steps = map(float, numbers)
                self.shape = SHAPES[shape]
            else:
                self.start, steps = float(shape), 1.0
                self.end, self.shape = self.start, linear
        except (KeyError, ValueError):
            raise InputError(f"expected a number or a schedule such as linear:0:1:5000 (from 0 to 1 in 5000 steps; its "
                             f"shape is one of {', '.join(SHAPES)}), got {text!r}") from None
        self.repeats = shape == "cyclical"
        least = 2 if self.repeats else 1  # a cycle of one step would never leave its start
        if not steps.is_integer() or steps < least:
            raise InputError(f"expected a schedule whose steps are an integer ≥ {least}, got {text!r}")
        self.steps = int(steps)
        if self.warmup < 1:
            raise InputError(f"expected a schedule whose warm-up has 1 step or more, got {text!r}")
        if not math.isfinite(self.end - self.start):
            raise InputError(f"expected a schedule from one finite number to another, got {text!r}")
        if shape == "exponential" and not (min(self.start, self.end) > 0 and 0 < self.end / self.start < math.inf):
            raise InputError(f"expected an exponential schedule from one positive number to another, with a quotient "
                             f"that a float can hold, got {text!r}")

    def __call__(self, step):
        share = min((step + 1) / self.warmup, 1)
        if self.repeats and step < math.inf:
            step %= self.steps
        value = self.end if step >= self.steps else self.shape(self.start, self.end, step / self.steps)
        return value if share == 1 else share * value
