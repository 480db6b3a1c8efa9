"""The sparse autoencoder's bottleneck: each image uses only a few numbers of the code."""

import numpy as np

from scratch.arrays import array_module
from scratch.bottlenecks.dense import DenseBottleneck
from scratch.layers import ReLU
from scratch.layers.checks import check_floating
from scratch.losses import batch_mean_of_sums
from scratch.module import Module
from scratch.options.option import Option, Scheduled


class L1(Module):
    """l1 = (1/N) Σₙ Σ |z|, summed over the numbers of a code, averaged over the batch. Shapes: z (N, Z), l1 a scalar.

        ∂l1/∂z = sign(z) / N       with 0, a subgradient, at z = 0

    The gradient keeps its size as z approaches 0, unlike that of z². So it pulls numbers all the way to 0.
    (Olshausen & Field 1996, doi:10.1038/381607a0, the penalty |x|; Tibshirani 1996)
    """

    def forward(self, z):
        check_floating(self, z)
        self.save(z)
        return batch_mean_of_sums(array_module(z).abs(z))

    def backward(self, dl1=1.0):
        (z,) = self.recall()
        return array_module(z).sign(z) * (dl1 / len(z))


class SparseBottleneck(DenseBottleneck):
    """z = max(h W₁ + b₁, 0),       y = z W₂ + b₂,       and the term l1 = (1/N) Σₙ Σ z, as z ≥ 0.

    Shapes: h, y (N, H, W, C), flattened in between; z (N, Z).

        ∂L/∂z = ∂L/∂y W₂ᵀ + ∂L/∂l1 · sign(z) / N       ∂L/∂h = (∂L/∂z · [z > 0]) W₁ᵀ

    It also reports the share of zeros in z. The ReLU makes zeros exact. Without it, gradient steps on |z| move a number
    close to 0 and across it, but to 0 only by accident. After a ReLU a number is 0 for a whole half-space of h, so
    zeros can be counted without a threshold.

    A small l1 alone does not prove that the code is sparse: (W₁, b₁)/2 with 2·W₂ leaves y unchanged and halves
    l1. So the encoder can shrink z while the decoder's weights grow. The share of zeros does not depend on
    the scale. Olshausen & Field fix the scale of z, others the length of W₂'s rows. Here the option weight_decay limits
    the weights that would have to grow.

    A number that is 0 for every image receives no gradient any more. If the weight of l1 is too large, the whole code
    becomes 0, and the decoder returns the same picture for every image. (Glorot, Bordes & Bengio 2011, "Deep sparse
    rectifier neural networks", section 3.1, with L1 on such activations)
    """

    options = (
        Option("sparsity", Scheduled(0), 0.0, "weight of the L1 norm of the code, which then is ≥ 0; 0 leaves it out",
               source="doi:10.1038/381607a0"),
    )

    def __init__(self, feature_shape, latent_dim, *, dtype=np.float32, rng=None):
        super().__init__(feature_shape, latent_dim, dtype=dtype, rng=rng)
        self.relu = ReLU()
        self.l1 = L1()

    @classmethod
    def applies(cls, options):
        return options["sparsity"] != 0

    def weights(self, image_shape, options):
        return {"reconstruction": 1.0, "l1": options["sparsity"]}

    def forward(self, h, noise=None):
        z = self.encode(h)
        self.measured = {"share_of_zeros": (z == 0).mean(dtype=z.dtype)}
        l1 = self.l1.forward(z)
        return self.decode(z), {"l1": l1}

    def backward(self, dy, dterms):
        dz = self.expand.backward(self.unflatten.backward(dy))
        dz += self.l1.backward(dterms["l1"])
        return self.flatten.backward(self.reduce.backward(self.relu.backward(dz)))

    def encode(self, h):
        return self.relu.forward(super().encode(h))
