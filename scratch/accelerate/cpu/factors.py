"""The gradient of a dense layer's weights as its two factors, multiplied where the optimiser takes it.

∂L/∂W = xᵀ ∂L/∂y has C·O numbers, and its factors x (N, C) and ∂L/∂y (N, O) have few where N is small. If each of
several workers wrote the product of its own images, all of them would have to be read again and added, which takes
longer than to multiply. So a worker keeps its factors. The update joins them, which makes x and ∂L/∂y of the whole
batch, and multiplies a few rows of ∂L/∂W at a time. They are used while they are in the cache, and the whole of ∂L/∂W
is never in memory.
"""

import numpy as np

from scratch.layers import Linear


class Factors:
    """xᵀ dy, not multiplied yet: x (N, C) and dy (N, O)."""

    def __init__(self, x, dy):
        self.x, self.dy = x, dy

    @property
    def dtype(self):
        return self.dy.dtype

    @property
    def size(self):
        """How many numbers the product has."""
        return self.x.shape[1] * self.dy.shape[1]

    def block(self, numbers):
        """These numbers of the product, flattened, from a product of the rows in which they lie."""
        O = self.dy.shape[1]
        first, last = numbers.start // O, -(-numbers.stop // O)
        rows = self.x[:, first:last].T @ self.dy
        return rows.reshape(-1)[numbers.start - first * O : numbers.stop - first * O]

    def __iadd__(self, gradient):
        """The sum as an array."""
        return self.x.T @ self.dy + gradient


def block_of(gradient, numbers):
    """These numbers of a gradient, flattened, whether it is an array or Factors."""
    return gradient.block(numbers) if isinstance(gradient, Factors) else gradient.reshape(-1)[numbers]


def gradient_of(pieces, gradients):
    """The gradient, flattened, of pieces [(name of a parameter, slice of its numbers)], one after the other.

    gradients: {name: [arrays or Factors that add up to the parameter's]}; an array may be changed.
    """
    found = [add([block_of(part, numbers) for part in gradients[name]]) for name, numbers in pieces]
    return found[0] if len(found) == 1 else np.concatenate(found)


def add(parts):
    """The sum of the arrays, in the first of them."""
    total, *others = parts
    for other in others:
        total += other
    return total


def joined(gradients):
    """Gradients with the same sum as these; at most one of them is Factors."""
    factors = [part for part in gradients if isinstance(part, Factors)]
    arrays = [part for part in gradients if not isinstance(part, Factors)]
    if not factors:
        return arrays
    together = Factors(*(np.concatenate([getattr(part, name) for part in factors]) for name in ("x", "dy")))
    return [together, *arrays]


class FactoredLinear(Linear):
    """Linear, which leaves the weights' gradient as Factors where these have fewer numbers."""

    def backward(self, dy):
        (x,) = self.recall()
        if self.bias:
            self.bias.accumulate(self.column_sums(dy))
        W = self.weight
        W.accumulate(Factors(x, dy) if W.grad is None and x.size + dy.size < W.value.size else x.T @ dy)
        return dy @ W.value.T if self.needs_input_gradient else None


def keep_factors(model):
    """Let the model's dense layers leave Factors for gradients. Returns the model."""
    for part in model.modules():
        if type(part) is Linear:
            part.__class__ = FactoredLinear
    return model
