"""How long one call takes, on the host or between two events of a GPU."""

import time


def milliseconds(function):
    """On the host."""
    started = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - started)


def milliseconds_between(start, end, function, synchronize):
    """Run the function between two events of the GPU, with nothing else under way, and wait for the second.

    What the host needs to launch the kernels counts as far as the GPU waits for it.
    """
    synchronize()
    start.record()
    function()
    end.record()
    end.synchronize()
