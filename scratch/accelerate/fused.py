"""The elementwise formulas of a module, or of an optimiser, as one kernel each on a GPU.

On a GPU every operation of NumPy's kind starts a kernel of its own, which takes Python some microseconds, and takes its
operands through memory. Of a formula that is marked `elementwise` (arrays.py) cupy.fuse makes one kernel: it calls the
very same Python function, with placeholders that write down the operations, and compiles what they wrote. So the plain
form is the definition here too, and on NumPy it is what runs.

What such a function may hold is what a placeholder can do: operators, in place as well, ufuncs with or without `out`,
where and clip; no shape, no index, no reduction. A number that is an argument is one of the kernel and may change from
call to call; two of them must not meet, for CuPy 14 would compute a·b of numbers in float16: that is done before the
call. An array that is smaller is broadcast, a scalar that stays on the device too.
"""

import functools

import numpy as np

from scratch.arrays import array_module, elementwise


def fused(formula):
    """The formula as one kernel on a GPU; on NumPy itself."""
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


def formulas(kind):
    """{name: formula} of what a class and its bases mark as elementwise."""
    found = {name: part for base in reversed(kind.__mro__) for name, part in vars(base).items()}
    return {name: part.__func__ for name, part in found.items() if isinstance(part, elementwise)}


@functools.cache
def fused_form(kind):
    """A subclass of `kind` that differs in its elementwise formulas alone; `kind` itself where it has none."""
    own = {name: staticmethod(fused(formula)) for name, formula in formulas(kind).items()}
    return type(f"Fused{kind.__name__}", (kind,), own) if own else kind
