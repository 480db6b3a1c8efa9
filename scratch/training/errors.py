"""The error that ends training. It has a file of its own, because naming it should not import the models."""


class Diverged(Exception):
    """A loss or a weight is no longer a finite number."""
