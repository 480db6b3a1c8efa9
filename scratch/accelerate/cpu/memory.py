"""Keep freed memory instead of handing it back to the kernel at every training step."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h
LARGEST = 2**31 - 1


def retain_freed_memory():
    """Tell glibc's malloc to reuse large freed blocks; elsewhere than on Linux with glibc, do nothing.

    A training step allocates and frees the same large temporaries again and again. By default each comes fresh from
    the kernel, which zeroes it page by page. A thread's own arena hands back its heaps of 64 MB whatever it is told, so
    all threads share the first one.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGEST)
            mallopt(M_TRIM_THRESHOLD, LARGEST)
            mallopt(M_ARENA_MAX, 1)
