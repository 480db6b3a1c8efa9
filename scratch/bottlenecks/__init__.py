"""The bottlenecks: the one part in which the systems differ."""

from scratch.bottlenecks.dense import DenseBottleneck
from scratch.bottlenecks.gaussian import GaussianBottleneck, GaussianKL, Reparameterize
from scratch.bottlenecks.gumbel_softmax import CategoricalKL, CodeMixture, GumbelSoftmax, GumbelSoftmaxBottleneck
from scratch.bottlenecks.vector_quantizer import VectorQuantizedBottleneck, VectorQuantizer

__all__ = [
    "CategoricalKL",
    "CodeMixture",
    "DenseBottleneck",
    "GaussianBottleneck",
    "GaussianKL",
    "GumbelSoftmax",
    "GumbelSoftmaxBottleneck",
    "Reparameterize",
    "VectorQuantizedBottleneck",
    "VectorQuantizer",
]
