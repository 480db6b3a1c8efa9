"""Product quantization: Jégou et al. 2011 (doi:10.1109/TPAMI.2010.57)."""

from functools import partial

import numpy as np
import torch
from torch import nn

from torch_ref.bottlenecks.vector_quantizer import VectorQuantizer


def quantizer_for(options):
    """(codes, code_dim, init, dtype) -> the quantizer that the options ask for, in a constructor's place."""
    kind, groups = VectorQuantizer.variant_for(options), options["code_groups"]

    def of_one_codebook(codes, code_dim, init, dtype):
        return kind.from_options({**options, "code_dim": code_dim}, dtype)

    return of_one_codebook if groups == 1 else partial(GroupedQuantizer, groups, quantizer=of_one_codebook)


class GroupedQuantizer(nn.Module):
    """The channels in `groups` chunks, each with a quantizer of its own; a term is the sum of theirs.

    Shapes: z (N, D, H, W), codebooks (K, D / groups), indices (N, H, W, groups). Raises ValueError where the chunks
    would not be equal.
    """

    def __init__(self, groups, codes, code_dim, init, dtype, quantizer=VectorQuantizer):
        super().__init__()
        if code_dim % groups:
            raise ValueError(f"code_groups is {groups}, which does not divide the code_dim {code_dim}")
        self.groups = nn.ModuleList(quantizer(codes, code_dim // groups, init, dtype) for _ in range(groups))

    @property
    def codes(self):
        return self.groups[0].codes

    @property
    def prepared_from(self):
        return self.groups[0].prepared_from

    @property
    def indices(self):
        chosen = [group.indices for group in self.groups]
        return None if chosen[0] is None else torch.stack(chosen, dim=-1)

    def weights(self, options, positions):
        return self.groups[0].weights(options, positions)

    def chunks(self, z):
        return zip(self.groups, z.chunk(len(self.groups), dim=1), strict=True)

    def forward(self, z):
        quantized, terms = zip(*(group(chunk) for group, chunk in self.chunks(z)), strict=True)
        return torch.cat(quantized, dim=1), {name: sum(of[name] for of in terms) for name in terms[0]}

    def nearest(self, z):
        return torch.stack([group.nearest(chunk) for group, chunk in self.chunks(z)], dim=-1)

    def lookup(self, indices):
        return torch.cat([group.lookup(k) for group, k in zip(self.groups, indices.unbind(-1), strict=True)], dim=1)

    def mix(self, a, b, t):
        pairs = zip(self.groups, a.unbind(-1), b.unbind(-1), strict=True)
        return torch.stack([group.mix(*ends, t) for group, *ends in pairs], dim=-1)

    def prepare(self, latents, rng):
        for number, group in enumerate(self.groups):
            group.prepare([z.chunk(len(self.groups), dim=1)[number] for z in latents], rng)

    def draw_choices(self, rng):
        choices = [group.draw_choices(rng) for group in self.groups]
        return None if choices[0] is None else np.concatenate(choices)

    def update(self, choices=None):
        count = len(self.groups)
        for group, own in zip(self.groups, [None] * count if choices is None else choices.chunk(count), strict=True):
            group.update(own)
