"""Checks that a backward pass is the derivative of its forward pass, and says what a wrong one looks like.

differences.py measures, cases/ holds the operations to check, table.py lists the results. diagnosis/ has the hypotheses
about a wrong gradient, explain.py tries them, and own.py holds `diagnose`, the check of one's own forward and backward.
"""

from scratch.gradcheck.own import Report, diagnose

__all__ = ["Report", "diagnose"]
