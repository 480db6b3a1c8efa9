"""Numeric gradients coordinate by coordinate, the evidence for a diagnosis; differences.py has the quick test.

Each coordinate of a tensor t is moved by ±h, and every output's change is kept, not only that of the loss:

    J[k, j] = (y_k(t + h e_j) − y_k(t − h e_j)) / 2h        ∂L/∂t_j = Σ_k ∂L/∂y_k · J[k, j]

So the shares of single outputs follow, and gradients under other upstream gradients, without more evaluations. Where an
operation has a surrogate, that is the function which is moved.
"""

import numpy as np

STEP = 1e-5
MOST = 3000  # coordinates of a tensor that are all moved; of a larger one, so many are drawn
HELD = 4_000_000  # numbers of J that are kept


def outputs_of(operation):
    """{name: array} of the function whose derivative backward claims to be: copies in float64."""
    evaluate = operation.surrogate or operation.forward
    return {name: np.array(output, float) for name, output in evaluate().items()}


class Slopes:
    """J of one tensor: for every output, its change with each moved coordinate.

    coordinates   the flat indices that were moved; all of them for a small tensor
    central       {output: (len(coordinates), *shape)}, central differences
    gaps          {output: the same, right minus left one-sided difference}: large where there is a kink
    """

    def __init__(self, operation, name, rng):
        tensor = operation.tensors[name]
        start, flat = tensor.copy(), tensor.reshape(-1)
        self.shape, size = tensor.shape, tensor.size
        self.centre = outputs_of(operation)
        width = max(1, sum(output.size for output in self.centre.values()))
        most = min(MOST, max(16, HELD // width))
        self.coordinates = np.arange(size) if size <= most else np.sort(rng.choice(size, most, replace=False))
        if not np.shares_memory(flat, tensor):
            raise ValueError(f"{name} is not contiguous: give a copy of it")
        changes = {y: np.empty((2, len(self.coordinates), *output.shape)) for y, output in self.centre.items()}
        for row, at in enumerate(self.coordinates):
            for side, step in enumerate((STEP, -STEP)):
                flat[at] = start.reshape(-1)[at] + step
                for y, output in outputs_of(operation).items():
                    changes[y][side, row] = output
            flat[at] = start.reshape(-1)[at]
        self.central = {y: (c[0] - c[1]) / (2 * STEP) for y, c in changes.items()}
        self.gaps = {y: (c[0] + c[1] - 2 * self.centre[y]) / STEP for y, c in changes.items()}

    @property
    def complete(self):
        return len(self.coordinates) == int(np.prod(self.shape))

    def share(self, output, u, slopes=None):
        """Σ_k u_k J[k, j] of one output: in the shape of the tensor, or a vector if only some coordinates were moved.
        """
        moved = (slopes or self.central)[output]
        u = np.broadcast_to(np.asarray(u, float), moved.shape[1:])
        gradient = moved.reshape(len(moved), -1) @ u.reshape(-1)
        return gradient.reshape(self.shape) if self.complete else gradient

    def gradient(self, upstream, slopes=None):
        return sum(self.share(y, u, slopes) for y, u in upstream.items())

    def chosen(self, gradient):
        """A gradient of the tensor at the coordinates that were moved, in the shape of `gradient(upstream)`."""
        return gradient if self.complete else np.asarray(gradient).reshape(-1)[self.coordinates]


def slope_along(operation, moves, upstream, step=STEP):
    """(L(t + h d) − L(t − h d)) / 2h for moves {tensor name: direction d}; the tensors are put back."""
    sides = []
    starts = {name: operation.tensors[name].copy() for name in moves}
    for sign in (step, -step):
        for name, d in moves.items():
            operation.tensors[name][...] = starts[name] + sign * d
        try:
            sides.append(outputs_of(operation))
        finally:
            for name, start in starts.items():
                operation.tensors[name][...] = start
    above, below = sides
    return float(sum(np.sum(u * (above[y] - below[y])) for y, u in upstream.items())) / (2 * step)
