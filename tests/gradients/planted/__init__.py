"""Mistakes as they are made when a backward is written by hand, planted one at a time: is each caught, and named?

`python -m tests.gradients.planted` writes docs/results/planted_mistakes.md.
"""

from tests.gradients.planted import bottlenecks, glue, layers, sequences, windows
from tests.gradients.planted.mistake import MISTAKES, judged, planted

__all__ = ["MISTAKES", "bottlenecks", "glue", "judged", "layers", "planted", "sequences", "windows"]
