"""What changes while training goes on, a weight or a temperature or a learning rate, as a function of the step."""

import math

SHAPES = {
    "linear": lambda start, end, t: start + (end - start) * t,
    "cosine": lambda start, end, t: end + (start - end) * (1 + math.cos(math.pi * t)) / 2,
    "exponential": lambda start, end, t: start * (end / start) ** t,
    "cyclical": lambda start, end, t: start + (end - start) * min(2 * t, 1.0),
}


class Schedule:
    """value(step) goes from `start` to `end` in `steps` steps, and stays there. Steps count from 0.

    With t = min(step / steps, 1):

        linear        start + (end − start)·t
        cosine        end + (start − end)·½(1 + cos πt)
        exponential   start·(end / start)ᵗ

    A cyclical schedule begins anew every `steps` steps, for ever: t = (step mod steps) / steps. Half of a cycle is a
    rise, the other half stays at `end`, as does what comes after all training (Fu et al. 2019, arXiv:1903.10145, with
    their proportion R = ½; M of their cycles are a run of M · steps steps):

        cyclical      start + (end − start)·min(2t, 1)

    Written as text it is "linear:0:6.6:5000", that is shape:start:end:steps; a number alone is a constant.
    Raises ValueError for anything else.
    """

    def __init__(self, text):
        shape, *numbers = str(text).split(":")
        try:
            if numbers:
                self.start, self.end, steps = map(float, numbers)
                self.shape, self.steps = SHAPES[shape], int(steps)
            else:
                self.start = self.end = float(shape)
                self.shape, self.steps = SHAPES["linear"], 1
        except (KeyError, ValueError):
            raise ValueError(f"{text!r} is no schedule: a number, or {', '.join(SHAPES)} as in linear:0:1:5000 "
                             f"(from 0 to 1 in 5000 steps)") from None
        self.repeats = shape == "cyclical"
        least = 2 if self.repeats else 1  # a cycle of one step would never leave its start
        if self.steps < least or not (math.isfinite(self.start) and math.isfinite(self.end)):
            raise ValueError(f"{text!r} is no schedule: its numbers have to be finite and its steps at least {least}")
        if shape == "exponential" and min(self.start, self.end) <= 0:
            raise ValueError(f"{text!r} is no schedule: an exponential one goes from one positive number to another")

    def __call__(self, step):
        if self.repeats and step < math.inf:
            step %= self.steps
        return self.end if step >= self.steps else self.shape(self.start, self.end, step / self.steps)
