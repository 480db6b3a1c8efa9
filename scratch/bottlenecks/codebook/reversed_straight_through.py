"""The straight-through line written the wrong way round, as one article prints it: for study, not for use."""

from scratch.bottlenecks.vector_quantizer import VectorQuantizer
from scratch.losses import batch_mean_of_sums
from scratch.options.option import Choice, Option

STRAIGHT_THROUGH = Option(
    "straight_through", Choice(("right", "reversed")), "right",
    "the straight-through line; reversed: as one article prints it, which quantizes nothing")


class ReversedVectorQuantizer(VectorQuantizer):
    """q = e_k + sg[z − e_k], and both loss terms computed from this q: a quantizer that does not quantize.

    sg[·] (stop-gradient) is a constant for the backward pass. The value of q is z, so the decoder receives the output
    of the encoder itself. codebook = (1/N) Σ ‖sg[z] − q‖² and commitment = (1/N) Σ ‖z − sg[q]‖² compare z with itself
    and are zero except for rounding. The decoder's gradient goes to the codes, which do not affect the decoder:

        ∂L/∂z = ∂L/∂commitment · 2 (z − q) / N                       zero
        ∂L/∂e_j = Σ_{positions with k = j} (∂L/∂q + ∂L/∂codebook · 2 (q − z) / N)

    The encoder learns nothing, and the outputs look good because nothing was quantized. `encode` and `decode` do go
    through the codes, and show how useful these are. (N. Correll 2025, the program as printed; options/presets.py)
    """

    decodes_latents = False

    def quantize(self, z, e, k):
        q = e[k] + (z - e[k])
        residual = z - q
        self.save(residual, k)
        distance = batch_mean_of_sums(residual * residual)
        return q, {"codebook": distance, "commitment": distance}

    def gradients(self, dq, dterms):
        residual, k = self.recall()
        scale = 2 / len(residual)
        de = self.scatter(dq - residual * (scale * dterms["codebook"]), k)
        return residual * (scale * dterms["commitment"]), de
