"""The article's quantizer as it is printed."""

from torch_ref.bottlenecks.vector_quantizer import VectorQuantizer
from torch_ref.losses import vector_quantization
from torch_ref.options import choice


class ReversedVectorQuantizer(VectorQuantizer, variant=True):
    """The article's program as it is printed: the straight-through line the wrong way round, the losses behind it.

    The decoder sees z itself, and nothing is quantized.
    """

    options = {"straight_through": choice("right", "reversed")}

    def forward(self, z):
        self.indices = self.nearest(z)
        q = self.lookup(self.indices)
        q = q + (z - q).detach()
        codebook, commitment = vector_quantization(z, q)
        return q, {"codebook": codebook, "commitment": commitment}
