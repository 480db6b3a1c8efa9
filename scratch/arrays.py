"""Arrays, wherever they live: the module an array belongs to, and the two doors between host and device.

A function that computes begins with `xp = array_module(x)` and uses `xp` as if it were NumPy. Nothing is
decided at import time and nothing is global, so one process can run NumPy and CuPy side by side.
"""

import numbers

import numpy as np

from scratch.options.errors import InputError

GPU_PACKAGE = "pip install 'cupy-cuda13x[ctk]' (CUDA 13) or 'cupy-cuda12x[ctk]' (CUDA 12)"


def array_module(x):
    """numpy for a NumPy array or scalar, cupy for a CuPy array."""
    if isinstance(x, np.ndarray | np.generic):
        return np
    if type(x).__module__.partition(".")[0] == "cupy":
        import cupy

        return cupy
    raise TypeError(f"expected a NumPy or CuPy array, got {type(x).__name__}")


def device_module(device):
    """The array module of a device: "cpu" is numpy; "gpu" or "gpu:N" is cupy with GPU N made the current one.

    Raises InputError when the name is unknown, CuPy is missing, or there is no such GPU.
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


def to_device(x, device):
    """A NumPy or CuPy array on `device` ("cpu", "gpu", "gpu:N"); the array itself where it is there already."""
    return to_host(x) if device == "cpu" else device_module(device).asarray(x)


def to_host(x):
    """The array as a NumPy array; itself where it is one already."""
    return x if array_module(x) is np else x.get()


def each(function, *latents):
    """function(*latents); of latents that are lists of grids, the list of function(*grids) grid by grid."""
    if isinstance(latents[0], list):
        return [function(*grids) for grids in zip(*latents, strict=True)]
    return function(*latents)


def unwarned():
    """Within a `with` block, or in a function that it decorates, NumPy is silent about numbers that are not finite: for
    whatever looks at the outcome itself, and says what it is that became infinite."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


def is_integer(value):
    """Is it an integer, Python's or NumPy's? True and False do not count as integers."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def generator(xp, seed, *path):
    """A random generator of module `xp` whose stream follows from non-negative integers: a seed and a path below it.

    Paths of different length are different streams, (epoch,) and (epoch, 0) too; as one list of numbers, which
    NumPy pads with zeros, they would be the same.
    """
    key = np.random.SeedSequence(seed, spawn_key=path)
    return xp.random.default_rng(key if xp is np else int(key.generate_state(1, np.uint64)[0]))


def ones(count, like):
    """A vector of so many ones, of the dtype and on the device of an array."""
    return array_module(like).ones(count, like.dtype)


def column_sums(rows, ones=ones):
    """Σ_r rows[r, c] of a matrix (R, C), as products 1ᵀ·rows: for few columns much faster than sum(axis=0).

    On the CPU a product adds up its rows one after the other, and a long sum in float32 loses digits to rounding: 256
    rows are added at a time, and their sums likewise.
    """
    count, group = len(rows), 256
    if array_module(rows) is not np or count < 2 * group:
        return ones(count, rows) @ rows
    rest = count % group
    sums = column_sums(ones(group, rows) @ rows[: count - rest].reshape(-1, group, rows.shape[1]), ones)
    return sums + ones(rest, rows) @ rows[count - rest :] if rest else sums
