"""A codebook that begins at the means of the first latents."""

from torch.nn import functional as F

from torch_ref.bottlenecks.codebook.nearest import nearest_codes


def kmeans(vectors, centres, iterations):
    """Lloyd's algorithm from the given centres; (centres, number of vectors of each). Empty clusters stay."""
    for _ in range(iterations):
        members = F.one_hot(nearest_codes(vectors, centres), len(centres)).to(vectors)
        counts = members.sum(0)
        occupied = counts > 0
        centres = centres.clone()
        centres[occupied] = (members.T @ vectors)[occupied] / counts[occupied].unsqueeze(1)
    return centres, counts
