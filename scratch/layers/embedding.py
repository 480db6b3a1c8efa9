"""A table of vectors: each integer of the input becomes the vector of that number."""

import numpy as np

from scratch.arrays import array_module
from scratch.layers.checks import size
from scratch.module import Module, Parameter


def sums_by_index(vectors, indices, count):
    """sums[k] = Σ of the vectors whose index is k. Shapes: vectors (..., D), indices (...), sums (count, D)."""
    xp, D = array_module(vectors), vectors.shape[-1]
    sums = xp.zeros(count * D, vectors.dtype)
    xp.add.at(sums, (indices.reshape(-1, 1) * D + xp.arange(D)).ravel(), vectors.ravel())
    return sums.reshape(count, D)


class Embedding(Module):
    """y = E[x]: row x of the table E.

    Shapes: x (...) integers from 0 to K − 1, E (K, D), y (..., D).

        ∂L/∂E[k] = Σ ∂L/∂y over the places where x is k

    It is a linear layer whose input is one-hot, so backward is a scatter: each gradient is added to the row it came
    from. x is an integer and has no gradient. The initial rows are drawn from N(0, 1), as PyTorch's.
    Raises TypeError unless x holds integers and, on the CPU, ValueError if one is outside of the table. NumPy would
    take −1 for the last row.
    """

    def __init__(self, num_embeddings, embedding_dim, *, dtype=np.float32, rng=None):
        shape = size(num_embeddings, "num_embeddings"), size(embedding_dim, "embedding_dim")
        self.weight = Parameter((rng or np.random.default_rng()).standard_normal(shape).astype(dtype))

    def forward(self, x):
        E = self.weight.value
        if array_module(x) is not array_module(E):
            raise TypeError("Embedding has its table on another device than its input: move one of them")
        if x.dtype.kind not in "iu":
            raise TypeError(f"Embedding takes integers, got {x.dtype}: convert them first, as with astype(np.int64)")
        if isinstance(x, np.ndarray) and x.size and not (0 <= x.min() and x.max() < len(E)):
            raise ValueError(f"Embedding has rows 0 to {len(E) - 1}, got indices from {x.min()} to {x.max()}")
        self.save(x)
        return E[x]

    def backward(self, dy):
        (x,) = self.recall()
        self.weight.accumulate(sums_by_index(dy, x, len(self.weight.value)))
