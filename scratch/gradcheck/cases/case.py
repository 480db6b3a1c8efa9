"""The class Case, and what the cases of all operations share.

A file of this folder adds its cases with `add`. Every file is imported, so a new one needs no entry in a list.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from scratch import bottlenecks
from scratch.gradcheck.differences import of_module
from scratch.gradcheck.surrogates import held_straight_through

CASES = []  # all cases, in the order in which they were added


@dataclass(frozen=True)
class Case:
    """An operation to check: its name, its constructor's arguments, its input's shape, and how to build it.

    `kind` is the class of the operation where it is no name in scratch.bottlenecks. `make(case, rng)` gives the
    Operation. Weights have the dtype of the case; inputs have the dtype that the generator gives them.
    """

    name: str
    arguments: dict
    shape: tuple
    make: Callable
    dtype: object = np.float64
    kind: type | None = None

    def build(self, rng):
        """The Operation, which knows the numbers among the arguments and how to build another one of its kind."""
        operation = self.make(self, rng)
        operation.numbers = numbers_in(self.arguments) | operation.numbers
        operation.another = lambda rng: replace(self, shape=(self.shape[0] + 3, *self.shape[1:])).build(rng)
        return operation

    def of_dtype(self, dtype):
        """The same case with weights of another dtype."""
        return replace(self, dtype=dtype)

    @property
    def detail(self):
        """The arguments in words, such as "kernel size 3×5, stride 2×1"; numbers of channels follow from the shapes."""
        return ", ".join(
            f"{name.replace('_', ' ')} {by(value)}"
            for name, value in self.arguments.items()
            if not name.startswith(("in_", "out_"))
        )


def add(make, operation, shape, *arguments):
    """Add a case for each set of arguments; one case without arguments if none is given. The operation is a class, or
    the name of one."""
    name, kind = (operation, None) if isinstance(operation, str) else (operation.__name__, operation)
    CASES.extend(Case(name, chosen, shape, make, kind=kind) for chosen in arguments or [{}])


def numbers_in(settings):
    """{name: number} of the arguments that may stand as a factor in a gradient; of a kernel its number of elements."""
    found = {name: value for name, value in settings.items()
             if isinstance(value, int | float) and not isinstance(value, bool)
             and not name.startswith(("in_", "out_", "kernel", "stride", "padding", "dilation", "scale", "num_"))}
    for name, words in (("kernel_size", "elements of the kernel"), ("scale_factor", "copies of a pixel"),
                        ("stride", "strides")):
        if name in settings:
            value = settings[name]
            found[words] = math.prod(value) if isinstance(value, tuple) else value**2
    return found


def by(value):
    """(3, 5) as "3×5"."""
    return "×".join(map(str, value)) if isinstance(value, tuple) else str(value)


def normal(shape, rng):
    """Numbers from N(0, 1), for operations without kinks."""
    return rng.standard_normal(shape)


def away_from_zero(shape, rng):
    """Numbers of both signs, none of them within 0.1 of 0."""
    return rng.choice([-1, 1], shape) * (0.1 + np.abs(rng.standard_normal(shape)))


def well_apart(shape, rng):
    """Numbers in random order that differ from each other by at least 0.1."""
    return 0.1 * rng.permutation(math.prod(shape)).reshape(shape)


def of_forward(module, inputs, output, constants=None, noise=None):
    """The Operation output = module.forward(*inputs, *constants), each by name. `noise` gives other draws of those
    constants that are noise."""
    arguments = [*inputs.values(), *(constants or {}).values()]

    def backward(upstream):
        gradients = module.backward(upstream[output])
        return gradients if isinstance(gradients, tuple | list) else (gradients,)

    return of_module(
        module, inputs, lambda: {output: module.forward(*arguments)}, backward, constants, noise=noise)


def bottleneck(case, rng):
    """y, terms = bottleneck(h, noise)."""
    return of_bottleneck(case, rng)


def of_bottleneck(case, rng, is_clear=lambda module, h: True, prepare=lambda module: None):
    """The Operation y, terms = bottleneck(h, noise). h is drawn again until `is_clear`: until it is near no kink."""
    kind = case.kind or getattr(bottlenecks, case.name)
    module = kind(**case.arguments, dtype=case.dtype, rng=rng)
    prepare(module)
    h = normal(case.shape, rng)
    while not is_clear(module, h):
        h = normal(case.shape, rng)
    noise = module.draw_noise(len(h), rng)

    def forward():
        y, terms = module.forward(h, noise)
        return {"y": y, **terms}

    def backward(upstream):
        dterms = {name: u for name, u in upstream.items() if name != "y"}
        return [module.backward(upstream["y"], dterms)]

    draws = {} if noise is None else {"noise": lambda rng: module.draw_noise(len(h), rng)}
    return of_module(
        module, {"h": h}, forward, backward, {"noise": noise}, held_straight_through(module, forward), draws)
