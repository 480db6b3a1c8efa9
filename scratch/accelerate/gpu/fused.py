"""An elementwise formula as one kernel on a GPU.

On a GPU every operation like NumPy's starts a kernel of its own. Starting it takes Python some microseconds, and it
reads its operands from memory and writes its result back. cupy.fuse makes one kernel of a whole formula: it calls the
Python function once, with placeholders that record the operations, and compiles the record. The function is the one
that the plain form calls; forms.py changes a model's parts to use the fused formulas.

A fused function may use what a placeholder supports: operators, also in place, ufuncs with or without `out`, `where`
and `clip`, but no shapes, indices or reductions. The kernel is made once, so whatever differs from call to call has to
be an argument, including numbers. Two numbers must not be combined inside, because CuPy 14 would compute a·b of them in
float16; combine them before the call. Smaller arrays are broadcast, and so are scalars on the device.
"""

import functools

import numpy as np

from scratch.arrays import array_module


@functools.cache
def fused(formula):
    """The formula as one kernel on a GPU. For NumPy arrays, after a model was moved to the host, the formula itself."""
    kernels = {}

    @functools.wraps(formula)
    def call(*arguments):
        xp = array_module(arguments[0])
        if xp is np:
            return formula(*arguments)
        if xp not in kernels:
            kernels[xp] = xp.fuse(formula)
        return kernels[xp](*arguments)

    return call
