"""A codebook that begins among the latents: k-means."""

from scratch.arrays import array_module
from scratch.bottlenecks.vector_quantizer import code_counts, nearest_codes, sums_by_code


def lloyd(vectors, centres, iterations):
    """(centres, counts): Lloyd's algorithm. (Lloyd 1982, doi:10.1109/TIT.1982.1056489)

        kₘ = argmin_k ‖vₘ − cₖ‖²,       cₖ = mean of the vₘ with kₘ = k

    in turn. Neither step raises Σ ‖v − c‖². A centre without vectors keeps its place.
    Shapes: vectors (M, D), centres (K, D), counts (K,): how many vectors the last means are of.
    """
    xp = array_module(vectors)
    for _ in range(iterations):
        k = nearest_codes(vectors, centres)
        counts = code_counts(k, len(centres)).astype(vectors.dtype)
        means = sums_by_code(vectors, k, len(centres)) / xp.maximum(counts, 1)[:, None]
        centres = xp.where(counts[:, None] > 0, means, centres)
    return centres, counts
