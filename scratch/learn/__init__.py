"""Exercises that mark themselves. `check` marks an exercise's file, or one's own functions in a notebook."""

from scratch.learn.check import check

__all__ = ["check"]
