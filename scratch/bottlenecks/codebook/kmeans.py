"""k-means, for an initial codebook among the latents."""

from scratch.arrays import array_module
from scratch.bottlenecks.vector_quantizer import code_counts, nearest_codes, sums_by_index


def lloyd(vectors, centres, iterations):
    """(centres, counts) after Lloyd's algorithm, which alternates between

        kₘ = argmin_k ‖zₘ − eₖ‖²       and       eₖ = mean of the zₘ with kₘ = k

    Shapes: vectors z (M, D), centres e (K, D), counts (K,): the number of vectors in each of the last means.
    Neither step increases Σ ‖z − e‖². A centre without vectors stays where it is.
    (Lloyd 1982, doi:10.1109/TIT.1982.1056489)
    """
    xp = array_module(vectors)
    for _ in range(iterations):
        k = nearest_codes(vectors, centres)
        counts = code_counts(k, len(centres)).astype(vectors.dtype)
        means = sums_by_index(vectors, k, len(centres)) / xp.maximum(counts, 1)[:, None]
        centres = xp.where(counts[:, None] > 0, means, centres)
    return centres, counts
