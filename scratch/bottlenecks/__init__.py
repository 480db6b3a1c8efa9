"""The bottlenecks: the one part in which the systems differ."""

from scratch.bottlenecks.capacity import CapacityBottleneck, CapacityTarget
from scratch.bottlenecks.codebook.health import CuredVectorQuantizer
from scratch.bottlenecks.codebook.reversed_straight_through import ReversedVectorQuantizer
from scratch.bottlenecks.codebook.soft_assignment import SoftAssignmentEntropy
from scratch.bottlenecks.codebook.unit_length import UnitLength
from scratch.bottlenecks.dense import DenseBottleneck
from scratch.bottlenecks.free_bits import FreeBits, FreeBitsBottleneck
from scratch.bottlenecks.gaussian import GaussianBottleneck, GaussianKL, Reparameterize
from scratch.bottlenecks.gumbel_softmax import CategoricalKL, CodeMixture, GumbelSoftmax, GumbelSoftmaxBottleneck
from scratch.bottlenecks.sparse import L1, SparseBottleneck
from scratch.bottlenecks.two_level import TwoLevelBottleneck
from scratch.bottlenecks.vector_quantizer import VectorQuantizedBottleneck, VectorQuantizer

__all__ = [
    "L1",
    "CapacityBottleneck",
    "CapacityTarget",
    "CategoricalKL",
    "CodeMixture",
    "CuredVectorQuantizer",
    "DenseBottleneck",
    "FreeBits",
    "FreeBitsBottleneck",
    "GaussianBottleneck",
    "GaussianKL",
    "GumbelSoftmax",
    "GumbelSoftmaxBottleneck",
    "Reparameterize",
    "ReversedVectorQuantizer",
    "SoftAssignmentEntropy",
    "SparseBottleneck",
    "TwoLevelBottleneck",
    "UnitLength",
    "VectorQuantizedBottleneck",
    "VectorQuantizer",
]
