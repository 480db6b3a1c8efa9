"""Optimisers. Each holds the parameters by name, and its state by the same names."""

import math

import numpy as np

from scratch.arrays import array_module, is_integer
from scratch.module import check_names
from scratch.options.errors import InputError
from scratch.options.option import Choice, Option, Real, Scheduled
from scratch.schedules import Schedule

BLOCK = 2**17  # elements updated at a time, so that a block's operands stay in the CPU's cache


class Optimizer:
    """Updates named parameters from their gradients; `state` is {moment name: {parameter name: array}}.

    lr is a number or a schedule (schedules.py).
    """

    moments = ()

    def __init__(self, parameters, lr):
        if len({id(parameter) for parameter in parameters.values()}) < len(parameters):
            raise InputError("an optimiser was given one parameter under several names, and would update it once for "
                             "each: give it Module.named_parameters(), which has every parameter once")
        self.parameters = dict(parameters)
        self.schedule = Schedule(lr)
        self.steps = 0
        self.state = {
            moment: {name: array_module(p.value).zeros_like(p.value) for name, p in parameters.items()}
            for moment in self.moments
        }

    @property
    def lr(self):
        """The learning rate of the last update begun; before the first, of the first."""
        return self.schedule(max(self.steps - 1, 0))

    def step(self):
        """One update. A parameter to which no gradient flowed counts as having a zero gradient."""
        self.steps += 1
        for name, parameter in self.parameters.items():
            gradient = parameter.gradient()
            if array_module(gradient) is not np:  # on a GPU every operation on every block starts a kernel
                self.update(parameter.value, gradient, *(self.state[moment][name] for moment in self.moments))
                continue
            gradient = gradient.reshape(-1)
            for block in self.blocks(name):
                self.update_block(name, block, gradient[block])

    def blocks(self, name):
        """Slices of a parameter, flattened, that an update on the CPU takes one at a time."""
        return [slice(start, start + BLOCK) for start in range(0, self.parameters[name].value.size, BLOCK)]

    def update_block(self, name, block, gradient):
        """Update one slice of a parameter from the same slice of its gradient."""
        arrays = (self.parameters[name].value, *(self.state[moment][name] for moment in self.moments))
        value, *moments = (array.reshape(-1)[block] for array in arrays)
        self.update(value, gradient, *moments)

    def update(self, value, gradient, *moments):
        """The rule itself, in place, on one parameter, its gradient and its moments, or on the same piece of each."""
        raise NotImplementedError

    def state_dict(self):
        """{"moment.parameter name": NumPy array}, copies, in PyTorch's layouts as the parameters themselves."""
        return {
            f"{moment}.{name}": self.parameters[name].in_torch_layout(array)
            for moment, arrays in self.state.items()
            for name, array in arrays.items()
        }

    def load_state_dict(self, state, steps):
        """Write the moments back in place and set the number of steps taken.

        All or nothing: raises InputError, before anything is written, where a name is missing or unknown, an array
        is of another shape or kind, or steps is no count.
        """
        for array, given in self.ready_to_load(state, steps):
            array[...] = given
        self.steps = int(steps)

    def ready_to_load(self, state, steps):
        """[(moment, array to write into it)] of a state dict; raises as `load_state_dict` does."""
        own = {f"{moment}.{name}": (array, self.parameters[name])
               for moment, arrays in self.state.items() for name, array in arrays.items()}
        check_names("the optimiser's state", state, own.keys())
        if not is_integer(steps) or steps < 0:
            raise InputError(f"an optimiser has made a number of steps, an integer ≥ 0, got {steps!r}")
        return [(array, parameter.ready_to_load(name, state[name])) for name, (array, parameter) in own.items()]


class SGD(Optimizer):
    """v ← momentum·v + g,       θ ← θ − lr·v.       (Polyak 1964, in PyTorch's form)"""

    moments = ("velocity",)
    options = (Option("momentum", Real(0), 0.9, "share of the velocity that is kept"),)

    def __init__(self, parameters, lr=1e-2, momentum=0.0):
        super().__init__(parameters, lr)
        self.momentum = momentum

    def update(self, value, gradient, velocity):
        velocity *= self.momentum
        velocity += gradient
        value -= self.lr * velocity


class Adam(Optimizer):
    """Adam with bias correction; a weight_decay λ makes it AdamW.

        m ← m + (1 − β₁)(g − m)          m̂ = m / (1 − β₁ᵗ)
        v ← v + (1 − β₂)(g² − v)         v̂ = v / (1 − β₂ᵗ)
        θ ← θ − lr·λ·θ − lr · m̂ / (√v̂ + ε)

    (Kingma & Ba 2015, arXiv:1412.6980; the decay apart from the gradient: Loshchilov & Hutter 2019, arXiv:1711.05101)
    """

    moments = ("m", "v")
    options = (Option("weight_decay", Real(0), 0.0, "decay λ of the weights, apart from the gradient: AdamW",
                      source="arXiv:1711.05101"),)

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(parameters, lr)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def update(self, value, gradient, m, v):
        xp, (beta1, beta2) = array_module(value), self.betas
        change = gradient - m  # the only temporary: each more is one more pass through memory
        change *= 1 - beta1
        m += change
        xp.multiply(gradient, gradient, out=change)
        change -= v
        change *= 1 - beta2
        v += change
        if self.weight_decay:
            value *= 1 - self.lr * self.weight_decay
        root = math.sqrt(1 - beta2**self.steps)  # √v̂ + ε = (√v + root·ε) / root
        xp.sqrt(v, out=change)
        change += root * self.eps
        xp.divide(m, change, out=change)
        change *= self.lr * root / (1 - beta1**self.steps)
        value -= change


OPTIMIZERS = {"adam": Adam, "sgd": SGD}
OPTIMIZER = Option("optimizer", Choice(OPTIMIZERS), "adam", "the rule of the updates", source="arXiv:1412.6980")
LR = Option("lr", Scheduled(0, included=False), 1e-3, "learning rate")


def make_optimizer(parameters, options):
    """The optimiser that the options name, over {name: Parameter}."""
    kind = OPTIMIZERS[options["optimizer"]]
    return kind(parameters, options["lr"], **{option.name: options[option.name] for option in kind.options})
