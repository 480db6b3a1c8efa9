"""Sums over the shares of a batch, between the threads that hold them.

Every thread comes to the same exchanges in the same order, because all run the same model. At each one it leaves its
values, waits for the others, and adds up what all have left, in the order of the shares. So all have the same sums, and
a run repeats bit for bit.
"""

import threading

import numpy as np

from scratch.arrays import array_module
from scratch.module import WholeBatch


class Exchange:
    """A place where `count` threads leave values for each other. Their shares of the batch are numbered from `first`,
    among all of its `shares`."""

    def __init__(self, count, first, shares):
        self.barrier = threading.Barrier(count)
        self.places = [None] * count, [None] * count
        self.first, self.shares = first, shares

    def total(self, number, turn, values):
        """For each value its sum over the threads; `number` is this thread's, and `turn` counts its exchanges.

        Two rows of places take turns. A thread that is ahead writes into the one row while others still read the other,
        and it cannot be two exchanges ahead. Raises threading.BrokenBarrierError if another thread has ended.
        """
        places = self.places[turn % 2]
        places[number] = values
        self.barrier.wait()
        return tuple(map(sum_in_order, zip(*places, strict=True)))

    def close(self):
        """Let no thread wait for one that has ended."""
        self.barrier.abort()


class Share(WholeBatch):
    """One thread's share of a batch; `number` is the thread's in its Exchange."""

    def __init__(self, exchange, number):
        self.exchange, self.number, self.turn = exchange, number, 0
        self.writes = number == 0

    def total(self, *values):
        self.turn += 1
        return self.exchange.total(self.number, self.turn, values)

    def mean(self, value, count):
        weighted, count = self.total(value * count, count)
        return weighted / max(count, 1)

    def moments(self, mean, variance, count):
        """The mean of the means, and that of the variances plus the means' own variance.

            μ = Σ_s n_s μ_s / Σ_s n_s       σ² = Σ_s n_s (σ_s² + (μ_s − μ)²) / Σ_s n_s

        Unlike sums of squares they lose no digits where μ is much larger than σ (Chan, Golub & LeVeque 1983,
        doi:10.1080/00031305.1983.10483115). All in float64.
        """
        xp = array_module(mean)
        counts, means, variances = xp.split(self.of_all(xp.concatenate([xp.full(1, count), mean, variance])),
                                            [1, 1 + len(mean)], axis=1)
        part = counts / counts.sum()
        mean = (part * means).sum(axis=0)
        return mean, (part * (variances + (means - mean) ** 2)).sum(axis=0), int(counts.sum())

    def of_all(self, values):
        """The values (D,) of every share: (shares, D)."""
        table = array_module(values).zeros((self.exchange.shares, len(values)), values.dtype)
        table[self.exchange.first + self.number] = values
        return self.total(table)[0]

    def rows(self, rows, indices):
        number = self.exchange.first + self.number
        lengths = self.of_all(np.array([len(rows)]))[:, 0].tolist()
        own = indices - sum(lengths[:number])
        here = (own >= 0) & (own < lengths[number])
        xp = array_module(rows)
        found = xp.where(here[:, None], rows[own.clip(0, len(rows) - 1)], xp.zeros((), rows.dtype))
        return self.total(found)[0]  # one share has the row; the others give zeros


def sum_in_order(parts):
    """The first part plus the second, plus the third, …"""
    total, *others = parts
    for part in others:
        total = total + part
    return total
