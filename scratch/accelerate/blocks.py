"""How many numbers are held at a time on a CPU and on a GPU."""

import numpy as np

# Distances to codes in a search. On the CPU 8 MB of float32, which stay near its cache. On a GPU 128 MB, because each
# block starts kernels of its own there, and a small one leaves the device idle.
HELD_ON_CPU = 2**21
HELD_ON_GPU = 2**25


def held_on(xp):
    """How many distances a search holds at a time on the device of an array module."""
    return HELD_ON_CPU if xp is np else HELD_ON_GPU
