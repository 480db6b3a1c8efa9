"""Arrays, wherever they live: the module an array belongs to, and the two doors between host and device.

A function that computes begins with `xp = array_module(x)` and uses `xp` as if it were NumPy. Nothing is
decided at import time and nothing is global, so one process can run NumPy and CuPy side by side.
"""

import numbers

import numpy as np

from scratch.options.errors import InputError

GPU_PACKAGE = "pip install 'cupy-cuda13x[ctk]' (CUDA 13) or 'cupy-cuda12x[ctk]' (CUDA 12)"


def array_module(x):
    """numpy for a NumPy array or scalar, cupy for a CuPy array. Raises TypeError for anything else."""
    if isinstance(x, np.ndarray | np.generic):
        return np
    if type(x).__module__.partition(".")[0] == "cupy":
        import cupy

        return cupy
    raise TypeError(f"expected a NumPy or CuPy array, got {type(x).__name__}")


def device_module(device):
    """The array module of a device: numpy for "cpu", cupy for "gpu" or "gpu:N", where N becomes the current GPU.

    Raises InputError if the name is unknown, if CuPy is missing, or if the GPU does not exist.
    """
    if device == "cpu":
        return np
    kind, _, number = device.partition(":")
    if kind != "gpu" or not (number.isdigit() or device == "gpu"):
        raise InputError(f"expected cpu, gpu or gpu:N, got {device!r}.", "device")
    try:
        import cupy
    except ImportError as error:
        raise InputError(f"{device} needs CuPy, which is not installed: {GPU_PACKAGE}.", "device") from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise InputError(f"{device}: CuPy finds no usable NVIDIA GPU ({error}); use cpu.", "device") from error
    if int(number or 0) >= count:
        raise InputError(f"{device}: this machine has {count} GPU(s), numbered from gpu:0.", "device")
    cupy.cuda.Device(int(number or 0)).use()
    return cupy


def device_of(x):
    """The name of the device on which an array lies: "cpu" or "gpu:N"."""
    return "cpu" if array_module(x) is np else f"gpu:{x.device.id}"


def to_device(x, device):
    """A NumPy or CuPy array, copied to `device` ("cpu", "gpu", "gpu:N"); the array itself if it is there already."""
    return to_host(x) if device == "cpu" else device_module(device).asarray(x)


def to_host(x):
    """The array as a NumPy array; the array itself if it is one already."""
    return x if array_module(x) is np else x.get()


def erf(x):
    """erf(x) = 2/√π ∫₀ˣ exp(−t²) dt, from SciPy, or from CuPy's copy of it. Raises InputError without SciPy."""
    try:
        if array_module(x) is np:
            from scipy.special import erf as function
        else:
            from cupyx.scipy.special import erf as function
    except ImportError as error:
        raise InputError("the exact GELU needs SciPy, which is not installed: pip install scipy, or choose the tanh "
                         "approximation.") from error
    return function(x)


def each(function, *latents):
    """function(*latents). Where the latents are lists of grids: the list of function(*grids), grid by grid."""
    if isinstance(latents[0], list):
        return [function(*grids) for grids in zip(*latents, strict=True)]
    return function(*latents)


def unwarned():
    """A context, or a decorator, in which NumPy does not warn of overflow. Its results are to be checked: they are
    infinite or NaN."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


def is_integer(value):
    """Is the value an integer of Python or NumPy? True and False do not count as integers."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def generator(xp, seed, *path):
    """A random generator of array module `xp`. Its stream follows from a seed and a path of integers ≥ 0.

    Different paths give different streams, even (epoch,) and (epoch, 0). With seed and path in one list these two would
    be equal, because NumPy pads the list with zeros.
    """
    key = np.random.SeedSequence(seed, spawn_key=path)
    return xp.random.default_rng(key if xp is np else int(key.generate_state(1, np.uint64)[0]))


def ones(count, like):
    """A vector of `count` ones, with the dtype and on the device of the array `like`."""
    return array_module(like).ones(count, like.dtype)


def column_sums(rows, ones=ones):
    """Σ_r rows[r, c], computed as products 1ᵀ·rows. Shapes: rows (R, C), result (C,).

    With few columns this is much faster than sum(axis=0). On the CPU a product adds its rows one after the other, and a
    long sum in float32 loses digits to rounding. So 256 rows are added at a time, and their sums likewise.
    """
    count, group = len(rows), 256
    if array_module(rows) is not np or count < 2 * group:
        return ones(count, rows) @ rows
    rest = count % group
    sums = column_sums(ones(group, rows) @ rows[: count - rest].reshape(-1, group, rows.shape[1]), ones)
    return sums + ones(rest, rows) @ rows[count - rest :] if rest else sums
