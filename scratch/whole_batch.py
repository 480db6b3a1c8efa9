"""What a module that couples the examples of a batch asks of the whole batch.

The examples of a batch may be shared out among several replicas of a model (accelerate/cpu/workers.py), each of which
sees its own share. A statistic of the batch is then a sum over the shares. A module whose output for one example
depends on the others takes it through its attribute `batch`. Then any number of shares gives the same result, up to
rounding.

In backward the gradient that a share receives is that of the whole batch's loss. So only the sums over the batch that
forward or backward take have to be exchanged, and gradients of parameters are added up at the end of the step.
"""


class WholeBatch:
    """The share that is the whole batch: every sum over the shares has one term.

    writes    does this replica write the state that all replicas have in common, such as running statistics?
    """

    writes = True

    def total(self, *values):
        """For each value its sum over the shares."""
        return values

    def mean(self, value, count):
        """The mean over the batch of what has the mean `value` over the `count` rows of this share."""
        return value

    def rows(self, rows, indices):
        """The rows with these indices, counted through all shares: rows (M, D), indices (K,) → (K, D)."""
        return rows[indices]
