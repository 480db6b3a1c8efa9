"""Sums over the shares of a batch, between the threads that hold them.

Every thread comes to the same exchanges in the same order, because all run the same model. At each one it leaves its
values, waits for the others, and adds up what all have left, in the order of the shares. So all have the same sums, and
a run repeats bit for bit.
"""

import threading

from scratch.arrays import array_module
from scratch.whole_batch import WholeBatch


class Exchange:
    """A place where `count` threads leave values for each other."""

    def __init__(self, count):
        self.barrier = threading.Barrier(count)
        self.places = [None] * count, [None] * count

    def gather(self, number, turn, values):
        """What all threads gave, in their order; `number` is this thread's, and `turn` counts its exchanges.

        Two rows of places take turns. A thread that is ahead writes into the one row while others still read the other,
        and it cannot be two exchanges ahead. Raises threading.BrokenBarrierError if another thread has ended.
        """
        places = self.places[turn % 2]
        places[number] = values
        self.barrier.wait()
        return list(places)

    def close(self):
        """Let no thread wait for one that has ended."""
        self.barrier.abort()


class Share(WholeBatch):
    """One thread's share of a batch. Each number follows from the shares of all threads."""

    def __init__(self, exchange, number):
        self.exchange, self.number, self.turn = exchange, number, 0
        self.writes = number == 0

    def gather(self, values):
        self.turn += 1
        return self.exchange.gather(self.number, self.turn, values)

    def total(self, *values):
        return tuple(map(sum_in_order, zip(*self.gather(values), strict=True)))

    def mean(self, value, count):
        weighted, count = self.total(value * count, count)
        return weighted / max(count, 1)

    def rows(self, rows, indices):
        xp = array_module(rows)
        lengths = self.gather(len(rows))
        own = indices - sum(lengths[: self.number])
        here = (own >= 0) & (own < len(rows))
        found = xp.where(here[:, None], rows[own.clip(0, len(rows) - 1)], xp.zeros((), rows.dtype))
        return self.total(found)[0]  # one share has the row; the others give zeros


def sum_in_order(parts):
    """The first part plus the second, plus the third, …"""
    total, *others = parts
    for part in others:
        total = total + part
    return total
