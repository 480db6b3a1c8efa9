"""The form of a class for a GPU: the class itself, with each of its elementwise formulas as one kernel.

A class names its formulas (`derivative = elementwise(relu_backward)`), so its form is made of it, and a new layer or
bottleneck has one without a line here. What has to differ beyond that is in INSTEAD.
"""

import functools

from scratch.accelerate.gpu.fused import fused
from scratch.layers import BatchNorm2d, GroupNorm
from scratch.module import elementwise


def row_means(norm, rows):
    """BatchNorm2d.mean as one kernel, where a product and a division are two."""
    return rows.mean(axis=0)


def group_means(norm, x):
    """GroupNorm.mean with one kernel for the means, where the plain form takes them axis by axis."""
    N, H, W, C = x.shape
    of_groups = x.reshape(N, H * W, norm.num_groups, -1).mean(axis=(1, 3))
    return of_groups.repeat(C // norm.num_groups, axis=1).reshape(N, 1, 1, C)


INSTEAD = {BatchNorm2d: {"mean": row_means}, GroupNorm: {"mean": group_means}}


def formulas(plain):
    """{name: function} of the elementwise formulas of a class, its own and those that it inherits."""
    found = {}
    for kind in plain.__mro__:
        for name, value in vars(kind).items():
            found.setdefault(name, value)
    return {name: value.__func__ for name, value in found.items() if isinstance(value, elementwise)}


@functools.cache
def form_on_gpu(plain):
    """The subclass of a class that starts one kernel for each of its formulas; the class itself where it has none."""
    if not (kernels := {name: staticmethod(fused(formula)) for name, formula in formulas(plain).items()}):
        return plain
    about = {"__doc__": f"{plain.__name__}, each of its formulas one kernel.", "__module__": __name__,
             "__reduce__": reduced, "plain": plain}
    return type(f"Fused{plain.__name__}", (plain,), {**kernels, **INSTEAD.get(plain, {}), **about})


def reduced(module):
    """How pickle and copy take an object apart: its form is made again from the plain class."""
    return new_of_form, (type(module).plain,), vars(module)


def new_of_form(plain):
    """An object of the form of a class, still empty."""
    form = form_on_gpu(plain)
    return form.__new__(form)
