"""The optimisers of optim.py for a CPU: block by block, with few passes through memory.

A step of Adam reads and writes four arrays, each as large as all weights together. Here it runs in blocks whose
operands stay in the cache, with one temporary array, and the corrections of m and v are combined into two numbers.
Measured on an x86-64 CPU with two cores. The results equal the plain form's up to rounding; in float32 this includes
the rounding of β and of 1 − β.
"""

import math

import numpy as np

from scratch.arrays import array_module
from scratch.optim import SGD, Adam, Optimizer

BLOCK = 2**17  # elements updated at a time, at most, so that a block's operands stay in the CPU's cache


class Blockwise(Optimizer):
    """An optimiser that updates slices of each parameter, flattened; a parameter on a GPU in one piece."""

    def step(self):
        self.steps += 1
        self.clip([p.grad for p in self.parameters.values() if p.grad is not None])
        for name, parameter in self.parameters.items():
            gradient = parameter.gradient()
            if array_module(gradient) is not np:
                self.update(name, parameter.value, gradient, *(self.state[moment][name] for moment in self.moments))
                continue
            gradient = gradient.reshape(-1)
            for block in self.blocks(name):
                self.update_block(name, block, gradient[block])

    def blocks(self, name):
        """Slices of a parameter, flattened, that an update takes one at a time. Each ends with a row, if it has any."""
        value = self.parameters[name].value
        row = value.shape[-1] if value.ndim > 1 else 1
        count = max(BLOCK // row, 1) * row
        return [slice(start, min(start + count, value.size)) for start in range(0, value.size, count)]

    def update_block(self, name, block, gradient):
        """Update one slice of a parameter from the same slice of its gradient."""
        arrays = (self.parameters[name].value, *(self.state[moment][name] for moment in self.moments))
        value, *moments = (array.reshape(-1)[block] for array in arrays)
        self.update(name, value, gradient, *moments)


class BlockwiseSGD(Blockwise, SGD):
    """SGD block by block."""

    plain = SGD


def move(average, value, beta, change):
    """average ← β·average + (1 − β)·value, in place, by way of `change`, which may be the value itself.

    For β ≥ 0.5 it is computed as average += (1 − β)(value − average), which has one product less. With a small β and an
    average much larger than the value, rounding would lose the value in the difference.
    """
    xp = array_module(change)
    if beta < 0.5:
        xp.multiply(value, 1 - beta, out=change)
        average *= beta
    else:
        xp.subtract(value, average, out=change)
        change *= 1 - beta
    average += change


class BlockwiseAdam(Blockwise, Adam):
    """Adam block by block, its rule with one temporary."""

    plain = Adam

    def update(self, name, value, gradient, m, v):
        xp, (beta1, beta2) = array_module(value), self.betas
        change = xp.empty_like(gradient)  # the only temporary: another one would be another pass through memory
        move(m, gradient, beta1, change)
        xp.multiply(gradient, gradient, out=change)
        move(v, change, beta2, change)
        if decay := self.decay_of(name):
            value *= 1 - self.lr * decay
        root = math.sqrt(1 - beta2**self.steps)  # √v̂ + ε = (√v + root·ε) / root
        xp.sqrt(v, out=change)
        change += root * self.eps
        xp.divide(m, change, out=change)
        change *= self.lr * root / (1 - beta1**self.steps)
        value -= change


FORMS = {SGD: BlockwiseSGD, Adam: BlockwiseAdam}
