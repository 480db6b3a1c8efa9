"""Messages for running out of memory, and for CUDA libraries that cannot be loaded."""

import os
import re

from scratch.arrays import GPU_PACKAGE, device_module
from scratch.options.errors import InputError

EXHAUSTED = re.compile("out of memory|ALLOC_FAILED|can't allocate memory")  # CUDA and PyTorch; cuBLAS; PyTorch's CPU
NOT_LOADED = re.compile("Failure finding|failed to load|cannot open shared object file")  # pathfinder, CuPy, the linker
LIBRARY = re.compile(r"\b((lib)?(cu|nv)\w+)\.(so|dll)\b")


def is_exhausted(error):
    """Does the exception say that memory is exhausted? NumPy's and CuPy's are MemoryErrors, CUDA's own are not."""
    return isinstance(error, MemoryError) or bool(EXHAUSTED.search(str(error)))


def missing_library(error):
    """The CUDA library, such as libcublas, that the exception says cannot be loaded; None if it names none.

    CuPy loads each library when it is first needed, so this can come out of any operation, as an ImportError or, for
    the compiler of its kernels, as a RuntimeError.
    """
    found = LIBRARY.search(str(error)) if NOT_LOADED.search(str(error)) else None
    return found and found[1]


def shortage(error, arguments):
    """One sentence where the exception says that memory or a CUDA library is lacking, else None.

    A smaller batch is advised only where batches were being computed. During training `runs_with` has left (batch size,
    device, what else to say) in `arguments.running`. Elsewhere `computing_batches` (runs/trained.py) has given the
    error its `batch_size`.
    """
    if is_exhausted(error):
        marked = getattr(error, "batch_size", None)
        if running := getattr(arguments, "running", None) or (marked and (marked, arguments.device, "")):
            return too_much(error, *running)
        return f"out of memory ({in_short(error)}): try another --device, a smaller model or fewer images."
    if library := missing_library(error):
        return f"CUDA's {library} cannot be loaded: {GPU_PACKAGE} brings it along."
    return None


def runs_with(arguments, options, where=""):
    """Note in the arguments of a command what its memory depends on from now on."""
    arguments.running = (options["batch_size"], options["device"], where)


def too_much(error, batch_size, device, where):
    """The sentence that names a smaller batch to try."""
    memory = memory_of(device)
    on = f"{device} with its {readable(memory)} of memory" if memory else device
    attempt = f"--batch-size {batch_size // 2}" if batch_size > 1 else "another --device, or a smaller model"
    return f"--batch-size {batch_size} is too much for {on} ({in_short(error)}): try {attempt}{where}."


def memory_of(device):
    """All the memory of a device in bytes; None where the system does not say."""
    if device == "cpu":
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError, OSError):  # no POSIX system
            return None
    try:
        return device_module(device).cuda.runtime.memGetInfo()[1]
    except InputError:  # PyTorch's GPU, and no CuPy to ask about it
        return None


def readable(size):
    """Bytes in words."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def in_short(error):
    """An exception's first line, without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__
