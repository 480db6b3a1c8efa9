"""The bottlenecks: the one part in which the systems differ."""

from scratch.bottlenecks.dense import DenseBottleneck
from scratch.bottlenecks.gaussian import GaussianBottleneck, GaussianKL, Reparameterize
from scratch.bottlenecks.two_level import TwoLevelBottleneck
from scratch.bottlenecks.vector_quantizer import VectorQuantizedBottleneck, VectorQuantizer

__all__ = [
    "DenseBottleneck",
    "GaussianBottleneck",
    "GaussianKL",
    "Reparameterize",
    "TwoLevelBottleneck",
    "VectorQuantizedBottleneck",
    "VectorQuantizer",
]
