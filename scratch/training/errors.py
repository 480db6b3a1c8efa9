"""The error of a training that failed. It stands alone, so that whoever only names it imports no model."""


class Diverged(Exception):
    """A loss or a weight is no longer a finite number."""
