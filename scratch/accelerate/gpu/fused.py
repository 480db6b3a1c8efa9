"""An elementwise formula as one kernel on a GPU.

On a GPU every operation of NumPy's kind starts a kernel of its own, which takes Python some microseconds, and takes its
operands through memory. cupy.fuse makes one kernel of a whole formula: it calls the Python function once, with
placeholders that write down the operations, and compiles what they wrote. The function is the one that the plain form
calls; forms.py gives a model's parts their formulas fused.

What a fused function may hold is what a placeholder can do: operators, in place as well, ufuncs with or without `out`,
where and clip; no shape, no index, no reduction. The kernel is made once, so whatever differs from call to call, a
number too, is an argument; two numbers must not meet, for CuPy 14 would compute a·b of them in float16: that is done
before the call. An array that is smaller is broadcast, a scalar that stays on the device too.
"""

import functools

import numpy as np

from scratch.arrays import array_module


@functools.cache
def fused(formula):
    """The formula as one kernel on a GPU; on NumPy, for a model that was moved to the host, itself."""
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
