"""Checks that a backward pass is the derivative of its forward pass: differences.py measures, cases/ holds the
operations to check, and table.py lists the results."""
