"""The form of a class for a GPU: the class itself, with each of its elementwise formulas as one kernel.

A class marks its formulas (`derivative = elementwise(relu_backward)`), and its GPU form is made from them. So a new
layer or bottleneck needs no code here. INSTEAD holds the methods that differ in other ways.
"""

import functools

from scratch.accelerate.gpu.fused import fused
from scratch.layers import BatchNorm2d, GroupNorm
from scratch.module import elementwise


def row_means(norm, rows):
    """BatchNorm2d.mean_of_share as one kernel; the plain form's product and division are two."""
    return rows.mean(axis=0)


def group_means(norm, x):
    """GroupNorm.mean with one kernel for the means; the plain form takes them axis by axis."""
    N, H, W, C = x.shape
    of_groups = x.reshape(N, H * W, norm.num_groups, -1).mean(axis=(1, 3))
    return of_groups.repeat(C // norm.num_groups, axis=1).reshape(N, 1, 1, C)


INSTEAD = {BatchNorm2d: {"mean_of_share": row_means}, GroupNorm: {"mean": group_means}}


def formulas(plain):
    """{name: function} of the elementwise formulas of a class, both its own and inherited ones."""
    found = {}
    for kind in plain.__mro__:
        for name, value in vars(kind).items():
            found.setdefault(name, value)
    return {name: value.__func__ for name, value in found.items() if isinstance(value, elementwise)}


@functools.cache
def form_on_gpu(plain):
    """The subclass of a class that starts one kernel for each of its formulas; the class itself if it has none."""
    if not (kernels := {name: staticmethod(fused(formula)) for name, formula in formulas(plain).items()}):
        return plain
    about = {"__doc__": f"{plain.__name__}, each of its formulas one kernel.", "__module__": __name__,
             "__reduce__": reduced, "plain": plain}
    return type(f"Fused{plain.__name__}", (plain,), {**kernels, **INSTEAD.get(plain, {}), **about})


def reduced(module):
    """What pickle and copy keep of an object: its plain class, from which the form is made again, and its attributes.
    """
    return new_of_form, (type(module).plain,), vars(module)


def new_of_form(plain):
    """An object of the form of a class, still empty."""
    form = form_on_gpu(plain)
    return form.__new__(form)
