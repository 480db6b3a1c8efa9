"""The bottlenecks: the one part in which the systems differ."""

from scratch.bottlenecks.codebook_health import CuredVectorQuantizer
from scratch.bottlenecks.dense import DenseBottleneck
from scratch.bottlenecks.gaussian import GaussianBottleneck, GaussianKL, Reparameterize
from scratch.bottlenecks.reversed_straight_through import ReversedVectorQuantizer
from scratch.bottlenecks.soft_assignment import SoftAssignmentEntropy
from scratch.bottlenecks.two_level import TwoLevelBottleneck
from scratch.bottlenecks.unit_length import UnitLength
from scratch.bottlenecks.vector_quantizer import VectorQuantizedBottleneck, VectorQuantizer

__all__ = [
    "CuredVectorQuantizer",
    "DenseBottleneck",
    "GaussianBottleneck",
    "GaussianKL",
    "Reparameterize",
    "ReversedVectorQuantizer",
    "SoftAssignmentEntropy",
    "TwoLevelBottleneck",
    "UnitLength",
    "VectorQuantizedBottleneck",
    "VectorQuantizer",
]
