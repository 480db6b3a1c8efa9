"""The optimisers of optim.py for a CPU: block by block, with few passes through memory.

A step of Adam reads and writes four arrays, each as large as all weights together. Here it runs in blocks whose
operands stay in the cache, with one temporary array, and the corrections of m and v are combined into two numbers. All
weights lie one after the other in one array, and the moments likewise. So a block may go over several small parameters,
and a small model has few operations, each long enough for threads. The results equal the plain form's up to rounding;
in float32 this includes the rounding of β and of 1 − β.
"""

import math
from itertools import groupby
from typing import NamedTuple

import numpy as np

from scratch.accelerate.cpu.factors import gradient_of
from scratch.arrays import array_module
from scratch.optim import SGD, Adam, Optimizer

BLOCK = 2**17  # numbers updated at a time, at most, so that a block's operands stay in the CPU's cache


class Block(NamedTuple):
    """Neighbouring weights, which are updated at a time."""

    pieces: list  # [(name of a parameter, slice of its numbers)], one after the other
    arrays: list  # the weights and each of their moments, (numbers,)


class Blockwise(Optimizer):
    """An optimiser that updates Blocks; parameters on a GPU one by one."""

    sharers = 1
    found = views = None

    def share_among(self, sharers):
        """Cut the weights into blocks that so many threads can share. This moves all weights and moments, so it is best
        done while nothing else takes memory."""
        self.sharers, self.found = sharers, None
        self.blocks()

    def step(self):
        if any(array_module(parameter.value) is not np for parameter in self.parameters.values()):
            super().step()
            return
        self.steps += 1
        self.clip([p.grad for p in self.parameters.values() if p.grad is not None])
        gradients = {name: [parameter.gradient()] for name, parameter in self.parameters.items()}
        for block in self.blocks():
            self.update_block(block, gradient_of(block.pieces, gradients))

    def update_block(self, block, gradient):
        """Update a block from the gradient of its weights, (numbers,)."""
        self.update(block.pieces[0][0], block.arrays[0], gradient, *block.arrays[1:])

    def blocks(self):
        """All Blocks. Where a parameter has been assigned a new array, that is first moved in with the others."""
        if self.found is None or any(part.value is not self.views[name] for name, part in self.parameters.items()):
            self.found, self.views = [], {}
            for _, names in groupby(sorted(self.parameters, key=self.kind), self.kind):
                self.found += self.gather(list(names))
        return self.found

    def kind(self, name):
        """Parameters of one kind may share a block, because one call updates them."""
        return (self.parameters[name].value.dtype.name,)

    def gather(self, names):
        """Move the weights of these parameters into one array, and each of their moments. Returns its Blocks."""
        whole, views = in_one_array({name: self.parameters[name].value for name in names})
        self.views |= views
        for name, view in views.items():
            self.parameters[name].value = view
        together = [whole]
        for moment in self.moments:  # one after the other, so that only one of them is held twice
            whole, views = in_one_array({name: self.state[moment][name] for name in names})
            self.state[moment] |= views
            together.append(whole)
        count = -(-whole.size // (BLOCK * self.sharers)) * self.sharers
        size = -(-whole.size // count)
        return [Block(pieces_of(views, start, start + size), [whole[start : start + size] for whole in together])
                for start in range(0, whole.size, size)]


def in_one_array(arrays):
    """(an array of all their numbers, {name: a view of it}) of {name: array}."""
    whole, views, end = np.concatenate([array.reshape(-1) for array in arrays.values()]), {}, 0
    for name, array in arrays.items():
        start, end = end, end + array.size
        views[name] = whole[start:end].reshape(array.shape)
    return whole, views


def pieces_of(views, start, stop):
    """[(name, slice of its numbers)] of what lies from start to stop, of arrays {name: array} one after the other."""
    found, end = [], 0
    for name, array in views.items():
        first, end = end, end + array.size
        if first < stop and start < end:
            found.append((name, slice(max(start - first, 0), min(stop, end) - first)))
    return found


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

    def kind(self, name):
        return *super().kind(name), self.decay_of(name)

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
