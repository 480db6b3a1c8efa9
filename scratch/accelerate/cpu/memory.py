"""Keep freed memory instead of returning it to the operating system at every training step."""

import ctypes
import sys

from scratch.accelerate.cpu.threads import cores

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h
LARGEST = 2**31 - 1


def retain_freed_memory():
    """Set glibc's malloc to reuse large freed blocks. Without Linux and glibc, do nothing.

    A training step allocates and frees the same large temporaries again and again. By default each one is new memory
    from the system, which zeroes it page by page.

    Malloc takes memory from arenas. There are as many as cores, so that each of a step's threads (threads.py) has one.
    With a single arena a thread is given blocks that another has just freed, and their numbers lie in the cache of
    the other's core. For seconds at a time, a step then took up to 1.7 times as long (docs/performance.md). With more
    arenas than cores more freed memory lies unused.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGEST)
            mallopt(M_TRIM_THRESHOLD, LARGEST)
            mallopt(M_ARENA_MAX, cores())
