"""Exercises that mark themselves. `check` marks an exercise's file, or one's own functions in a notebook."""

from scratch.learn.marking import check

__all__ = ["check"]
