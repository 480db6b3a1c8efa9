"""What a hypothesis looks at: a claimed gradient, the right one, and what the operation computes with."""

from dataclasses import dataclass, field
from itertools import chain, combinations

import numpy as np

PRECISION = 1e-6  # a hypothesis fits if it is this near, relative to the largest number; numeric gradients are nearer
GAIN = 100  # and this many times nearer than the right gradient is


@dataclass(frozen=True)
class Finding:
    """What a wrong gradient looks like.

    kind       the kind of mistake: "factor", "zero", "part", "order", "sum", "terms", ...
    what       in words, what the claimed gradient is: "twice the right gradient"
    evidence   the numbers that show it: "the ratio is 2.000 at every coordinate"
    rank       how simple the explanation is; 0 is the simplest
    """

    kind: str
    what: str
    evidence: str
    rank: float = 0.0

    def __str__(self):
        return f"looks like {self.what}: {self.evidence}"


@dataclass
class Comparison:
    """A claimed gradient beside the right one, and the arrays and numbers that may explain their difference.

    claimed, expected   the two gradients; they may have different shapes
    arrays              {name: array} that the operation reads or returns, such as x, eps, y
    upstream            {name of an output: ∂L/∂output}
    constants           {name: number} such as N, τ or the elements of an image
    terms               {name: the share of this term in the right gradient}; the shares add up to it
    others              {name of another tensor: its right gradient}
    own                 the name of the tensor, which is not compared with itself
    """

    claimed: np.ndarray
    expected: np.ndarray
    arrays: dict = field(default_factory=dict)
    upstream: dict = field(default_factory=dict)
    constants: dict = field(default_factory=dict)
    terms: dict = field(default_factory=dict)
    others: dict = field(default_factory=dict)
    own: str = ""
    precision: float = PRECISION

    @property
    def same_shape(self):
        return self.claimed.shape == self.expected.shape

    @property
    def scale(self):
        """The largest number of both gradients."""
        return max(largest(self.claimed), largest(self.expected))

    @property
    def close(self):
        """How far apart two numbers may be that count as equal here."""
        return self.precision * self.scale

    @property
    def error(self):
        """How far the claimed gradient is from the right one; infinite if the shapes differ."""
        return largest(self.claimed - self.expected) if self.same_shape else np.inf

    def is_right(self):
        return self.same_shape and self.error <= self.precision * largest(self.expected)

    def fits(self, candidate):
        """Is the claimed gradient the candidate, up to rounding, and much nearer to it than to the right one?"""
        candidate = np.asarray(candidate)
        if candidate.shape != self.claimed.shape or not np.isfinite(candidate).all():
            return False
        error = largest(self.claimed - candidate)
        return error <= self.precision * largest(candidate) and error * GAIN <= self.error

    def like_claimed(self, arrays):
        """Those of the arrays that broadcast to the claimed gradient's shape and are not one number."""
        found = {}
        for name, array in arrays.items():
            array = np.asarray(array)
            if array.dtype.kind == "f" and array.size > 1 and broadcasts(array.shape, self.claimed.shape):
                found[name] = array
        return found


def largest(array):
    """max |array|; 0 for an empty one."""
    return float(np.max(np.abs(array))) if np.size(array) else 0.0


def broadcasts(shape, to):
    """Can an array of this shape stand beside one of shape `to`, which keeps its shape?"""
    return len(shape) <= len(to) and all(a in (1, b) for a, b in zip(shape[::-1], to[::-1], strict=False))


def in_words(number):
    """A number with four significant digits, and a true minus."""
    text = f"{number:.4g}" if abs(number) >= 1e4 or 0 < abs(number) < 1e-3 else f"{number:#.4g}".rstrip(".")
    return text.replace("-", "−")


def axes_in_words(axes):
    """(0, 2) as "axes 0 and 2"."""
    axes = [str(axis) for axis in axes]
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(axes[:-1])} and {axes[-1]}"


def subsets(axes):
    """Every choice of one or more of the axes, as tuples, the smallest choices first."""
    return chain.from_iterable(combinations(axes, n) for n in range(1, len(axes) + 1))


def shape_in_words(shape):
    """"(3, 4)", as Python prints a shape, of integers of any kind."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
