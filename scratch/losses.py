"""Reconstruction losses: what a decoder's output means, and how far it is from the image.

Each is −log p(x | output) up to a constant, summed over all pixels and channels of an example and averaged over
the batch, which is the reconstruction part of the negative ELBO (Kingma & Welling 2014, arXiv:1312.6114).
"""

from scratch.arrays import array_module
from scratch.layers.activation import sigmoid
from scratch.module import Module


def batch_mean_of_sums(values):
    """(1/N) Σₙ Σ values[n, …]: summed inside each example, averaged over the batch."""
    return values.sum() / len(values)


class Reconstruction(Module):
    """A likelihood: `loss(output, x)`, its `backward(dloss)` with respect to output, and `mean(output)`, the image."""

    def check(self, output, x):
        if output.shape != x.shape or output.dtype != x.dtype:
            raise ValueError(f"{type(self).__name__} compares arrays of one shape and dtype, got an output "
                             f"{tuple(output.shape)} {output.dtype} and images {tuple(x.shape)} {x.dtype}")


class SquaredError(Reconstruction):
    """L = (1/N) Σₙ Σ (y − x)²: a Gaussian with fixed variance ½, up to a constant. The output y is the image.

    Shapes: y, x (N, ...), L a scalar.

        ∂L/∂y = 2 (y − x) / N
    """

    def loss(self, y, x):
        self.check(y, x)
        difference = y - x
        self.save(difference)
        return batch_mean_of_sums(difference * difference)

    def backward(self, dL=1.0):
        (difference,) = self.recall()
        return difference * (2 * dL / len(difference))

    def mean(self, y):
        return y


class BernoulliFromLogits(Reconstruction):
    """L = (1/N) Σₙ Σ −[x log σ(a) + (1 − x) log(1 − σ(a))]: binary cross-entropy, from logits a.

    Written as max(a, 0) − a x + log(1 + e^(−|a|)), which neither overflows nor clips: no NaN at σ(a) = 1, and a
    gradient everywhere. Targets x lie in [0, 1].
    Shapes: a, x (N, ...), L a scalar.

        ∂L/∂a = (σ(a) − x) / N
    """

    def loss(self, a, x):
        self.check(a, x)
        xp = array_module(a)
        self.save(a, x)
        return batch_mean_of_sums(xp.maximum(a, 0) - a * x + xp.log1p(xp.exp(-xp.abs(a))))

    def backward(self, dL=1.0):
        a, x = self.recall()
        return (sigmoid(a) - x) * (dL / len(a))

    def mean(self, a):
        return sigmoid(a)


LIKELIHOODS = {"squared_error": SquaredError, "bernoulli": BernoulliFromLogits}
