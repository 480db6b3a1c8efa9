"""Keep freed memory instead of returning it to the operating system at every training step."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h
LARGEST = 2**31 - 1


def retain_freed_memory():
    """Set glibc's malloc to reuse large freed blocks. Without Linux and glibc, do nothing.

    A training step allocates and frees the same large temporaries again and again. By default each one is new memory
    from the system, which zeroes it page by page. The arena of a thread returns its heaps of 64 MB in spite of these
    settings, so all threads share the first arena.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGEST)
            mallopt(M_TRIM_THRESHOLD, LARGEST)
            mallopt(M_ARENA_MAX, 1)
