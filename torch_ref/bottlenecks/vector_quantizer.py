"""The vector quantizer: van den Oord et al. (arXiv:1711.00937)."""

import torch
from torch import nn
from torch.nn import functional as F

from torch_ref.bottlenecks.codebook.initial import CODEBOOK_INITS, new_codebook
from torch_ref.bottlenecks.codebook.nearest import nearest_codes
from torch_ref.losses import vector_quantization
from torch_ref.options import Declared, choice, number, whole

SEARCH_ROWS = 4096  # latent vectors whose distances to all codes are held at a time


@torch.no_grad()
def nearest_grid(z, codebook):
    """Indices (N, H, W) of the codes (K, D) that are nearest to the vectors of z (N, D, H, W)."""
    vectors = z.movedim(1, -1)
    rows = vectors.flatten(0, -2).split(SEARCH_ROWS)
    return torch.cat([nearest_codes(row, codebook) for row in rows]).view(vectors.shape[:-1])


class VectorQuantizer(Declared, nn.Module):
    """The nearest codebook vector at every position, with the straight-through estimator.

    Shapes: z (N, D, H, W), codebook (K, D), indices (N, H, W).
    """

    options = {
        "codes": whole(256),
        "code_dim": whole(8),
        "code_groups": whole(1),
        "codebook_init": choice(*CODEBOOK_INITS),
        "commitment": number(0.25),
    }
    prepared_from = 0  # how many batches `prepare` wants to see

    def __init__(self, codes, code_dim, init, dtype):
        super().__init__()
        self.codebook = nn.Parameter(new_codebook(codes, code_dim, init, dtype))
        self.indices = None

    @property
    def codes(self):
        return len(self.codebook)

    @classmethod
    def from_options(cls, options, dtype):
        return cls(options["codes"], options["code_dim"], options["codebook_init"], dtype)

    @classmethod
    def weights(cls, options, positions):
        """{term: weight} for a grid of so many positions: the sums over an example, divided by how many they sum."""
        elements = positions * options["code_dim"]
        return {"commitment": options["commitment"] / elements, "codebook": 1 / elements}

    def forward(self, z):
        self.indices = self.nearest(z)
        q = self.lookup(self.indices)
        codebook, commitment = vector_quantization(z, q)
        straight_through = z + (q - z).detach()
        return straight_through, {"codebook": codebook, "commitment": commitment}

    def nearest(self, z):
        return nearest_grid(z, self.codebook)

    def lookup(self, indices):
        return F.embedding(indices, self.codebook).movedim(-1, 1)

    def mix(self, a, b, t):
        """The codes nearest to the points between the code vectors of a and b."""
        return self.nearest(torch.lerp(self.lookup(a), self.lookup(b), t))

    def prepare(self, latents, rng):
        """Make ready for training from the latents of the first batches."""

    def draw_choices(self, rng):
        return None

    def update(self, choices=None):
        """Change what no gradient changes."""
