"""Product quantization: a latent vector is cut into slices, and each slice has a codebook of its own."""

import numpy as np

from scratch.arrays import array_module
from scratch.bottlenecks.vector_quantizer import VectorQuantizer
from scratch.layers.checks import check_input
from scratch.module import Module, Sequential
from scratch.options.errors import InputError


class GroupedQuantizer(Module):
    """q = [q₁, …, q_G] with q_g = quantizer_g(z_g), where z = [z₁, …, z_G] is cut into G slices of equal length.

    Shapes: z, q (N, ..., D), slices z_g, q_g (N, ..., D/G), G codebooks (K, D/G), indices (N, ..., G).

    A position has G codes, one from each codebook. So it chooses among Kᴳ vectors, and stores only K·D numbers.
    Each loss term is the sum of the groups' terms. ‖z − q‖² = Σ_g ‖z_g − q_g‖², so the terms codebook and
    commitment are of the same size as with one codebook.

        ∂L/∂z = [∂L/∂z₁, …, ∂L/∂z_G]        each by its quantizer, from its slice of ∂L/∂q and from ∂L/∂term

    `quantizer` makes the quantizer of a group: VectorQuantizer, or one with cures (codebook/health.py).
    Raises InputError if D is not divisible by G.
    (Jégou, Douze & Schmid 2011, doi:10.1109/TPAMI.2010.57)
    """

    def __init__(self, groups, codes, code_dim, init="uniform", quantizer=VectorQuantizer, *, dtype=np.float32,
                 rng=None):
        check_groups(groups, code_dim)
        self.groups = Sequential(*(
            quantizer(codes, code_dim // groups, init, dtype=dtype, rng=rng) for _ in range(groups)))
        self.code_dim = code_dim
        first = self.groups.layers[0]
        self.codes, self.moves, self.chooses, self.prepared_from, self.decodes_latents = (
            first.codes, first.moves, first.chooses, first.prepared_from, first.decodes_latents)

    @property
    def indices(self):
        """(N, ..., G), those of the last forward."""
        chosen = [quantizer.indices for quantizer in self.groups.layers]
        return None if chosen[0] is None else array_module(chosen[0]).stack(chosen, axis=-1)

    def forward(self, z):
        like = next(iter(self.groups.named_state().values())).value
        check_input(self, z, ("N", *(f"D{axis}" for axis in range(1, z.ndim - 1)), self.code_dim), like)
        found = [quantizer.forward(part) for quantizer, part in self.with_slices(z)]
        terms = {name: sum(terms[name] for _, terms in found) for name in found[0][1]}
        return joined([q for q, _ in found]), terms

    def backward(self, dq, dterms):
        return joined([quantizer.backward(part, dterms) for quantizer, part in self.with_slices(dq)])

    def with_slices(self, z):
        """[(quantizer, its slice of z)], group by group."""
        size = self.code_dim // len(self.groups.layers)
        return [(quantizer, z[..., g * size : (g + 1) * size]) for g, quantizer in enumerate(self.groups.layers)]

    def with_indices(self, indices):
        """[(quantizer, its indices (N, ...))] of indices (N, ..., G)."""
        return [(quantizer, indices[..., g]) for g, quantizer in enumerate(self.groups.layers)]

    def nearest(self, z):
        """The indices (N, ..., G) of the codes nearest to z (N, ..., D)."""
        return array_module(z).stack([quantizer.nearest(part) for quantizer, part in self.with_slices(z)], axis=-1)

    def lookup(self, indices):
        """The code vectors (N, ..., D) of indices (N, ..., G)."""
        return joined([quantizer.lookup(k) for quantizer, k in self.with_indices(indices)])

    def mix(self, a, b, t):
        """The codes nearest to the points between a's and b's code vectors."""
        return self.nearest((1 - t) * self.lookup(a) + t * self.lookup(b))

    def prepare(self, latents, rng):
        slices = [self.with_slices(z) for z in latents]
        for group, quantizer in enumerate(self.groups.layers):
            quantizer.prepare([parts[group][1] for parts in slices], rng)

    def latents_of_batch(self):
        return sum(quantizer.latents_of_batch() for quantizer in self.groups.layers)

    def draw_choices(self, rng):
        return choices_of(self.groups.layers, rng)

    def update(self, choices=None):
        update_each(self.groups.layers, choices)


def choices_of(quantizers, rng):
    """The random choices of several quantizers, one quantizer after the other, in one array; None if they make none."""
    choices = [quantizer.draw_choices(rng) for quantizer in quantizers]
    return None if choices[0] is None else array_module(choices[0]).concatenate(choices)


def update_each(quantizers, choices):
    """Update each quantizer with its part of `choices_of`."""
    start = 0
    for quantizer in quantizers:
        end = start + quantizer.latents_of_batch()
        quantizer.update(None if choices is None else choices[start:end])
        start = end


def joined(parts):
    """The slices one after another, along the last axis."""
    return array_module(parts[0]).concatenate(parts, axis=-1)


def check_groups(groups, code_dim):
    """Raise InputError if `groups` codebooks cannot have equal shares of `code_dim` numbers."""
    if code_dim % groups:
        raise InputError(f"{groups} codebooks cannot have equal shares of a code_dim of {code_dim}: choose a number "
                         f"that divides it.", "code_groups")
