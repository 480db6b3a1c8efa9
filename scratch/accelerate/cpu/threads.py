"""Threads that share work out. NumPy releases Python's lock while it computes, so they run in parallel."""

import contextvars
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import ThreadpoolController


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Threads:
    """`count` threads, by default one for each core. The BLAS has one thread in each of them. A count of 1 means the
    caller's own thread, with the BLAS as it is.

    The threads take the inputs in turn, so of the tasks of a training step each goes to the same thread every time, and
    finds what it left in the cache of its core.
    """

    def __init__(self, count=None):
        self.count = count or cores()
        self.pools = [ThreadPoolExecutor(1) for _ in range(self.count)]
        self.blas = ThreadpoolController()

    def map(self, function, inputs):
        """[function(input)], in the order of the inputs. Each has the caller's context, such as np.errstate.

        The inputs are taken in their order, and only a few before they are needed, so they may be drawn on the way.
        """
        if self.count == 1:
            return [function(given) for given in inputs]
        found, waiting = [], deque()
        with self.blas.limit(limits=1, user_api="blas"):
            for number, given in enumerate(inputs):
                pool = self.pools[number % self.count]
                waiting.append(pool.submit(contextvars.copy_context().run, function, given))
                if len(waiting) > 2 * self.count:
                    found.append(waiting.popleft().result())
            return found + [future.result() for future in waiting]
