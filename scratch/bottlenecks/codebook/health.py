"""The vector quantizer with cures for a codebook that uses few of its codes. Each is optional, and all combine."""

from functools import partial

import numpy as np

from scratch.arrays import array_module
from scratch.bottlenecks.codebook.dead_codes import RESTART_AFTER, DeadCodes
from scratch.bottlenecks.codebook.kmeans import lloyd
from scratch.bottlenecks.codebook.moving_average import CODEBOOK_UPDATE, MovingAverages
from scratch.bottlenecks.codebook.reversed_straight_through import STRAIGHT_THROUGH, ReversedVectorQuantizer
from scratch.bottlenecks.codebook.soft_assignment import ENTROPY_TEMPERATURE, ENTROPY_WEIGHT, SoftAssignmentEntropy
from scratch.bottlenecks.codebook.unit_length import CODE_METRIC, UnitLength
from scratch.bottlenecks.grouped_quantizer import GroupedQuantizer
from scratch.bottlenecks.vector_quantizer import VectorQuantizer, code_counts
from scratch.module import Buffer
from scratch.options.errors import InputError

KMEANS_BATCHES = 10
KMEANS_ITERATIONS = 10


class CuredVectorQuantizer(VectorQuantizer):
    """A VectorQuantizer with any of these cures; docs/lessons/6_codebooks.md derives them.

    init="kmeans"         the initial codes are means of the first latents                  (kmeans.py)
    ema_decay             moving averages move the codes; there is no term "codebook"       (moving_average.py)
    restart_after         a code not chosen for this number of steps is set to a latent     (dead_codes.py)
    entropy_temperature   one more term, "entropy_gap", rewards equal use of all codes      (soft_assignment.py)
    cosine                latents and codes are compared, and decoded, at unit length       (unit_length.py)

    With cosine, the unit vectors ẑ and ê take the place of z and e in everything else.
    """

    def __init__(self, codes, code_dim, init="uniform", *, ema_decay=None, restart_after=None,
                 entropy_temperature=None, cosine=False, dtype=np.float32, rng=None):
        drawn = "normal" if init == "kmeans" else init  # used until `prepare` replaces it
        super().__init__(codes, code_dim, drawn, dtype=dtype, rng=rng)
        self.prepared_from = KMEANS_BATCHES if init == "kmeans" else 0
        self.unit_latents, self.unit_codes = (UnitLength(), UnitLength()) if cosine else (None, None)
        self.averages = self.dead_codes = self.entropy = None
        if ema_decay is not None:
            self.codebook = Buffer(self.codebook.value)
            self.averages = MovingAverages(self.codebook.value, ema_decay)
        if restart_after is not None:
            self.dead_codes = DeadCodes(self.codebook.value, restart_after)
        if entropy_temperature is not None:
            self.entropy = SoftAssignmentEntropy(entropy_temperature)
        self.moves, self.chooses = bool(self.averages or self.dead_codes), bool(self.dead_codes)
        self.latents = None

    def latent_vectors(self, z):
        return self.unit_latents.forward(z) if self.unit_latents else z

    def code_vectors(self):
        return self.unit_codes.forward(self.codebook.value) if self.unit_codes else self.codebook.value

    def quantize(self, z, e, k):
        q, terms = super().quantize(z, e, k)
        if self.averages:
            del terms["codebook"]
        if self.entropy:
            terms["entropy_gap"] = self.entropy.forward(z.reshape(-1, z.shape[-1]), e)
        self.latents = z if self.training and self.moves else None
        return q, terms

    def gradients(self, dq, dterms):
        dz, de = super().gradients(dq, dterms)
        if self.entropy:
            dz_entropy, de_entropy = self.entropy.backward(dterms["entropy_gap"])
            dz += dz_entropy.reshape(dz.shape)
            de = de_entropy if de is None else de + de_entropy
        if self.unit_latents:
            dz = self.unit_latents.backward(dz)
            if self.averages:
                self.unit_codes.recall()  # no gradient moves the codes
            else:
                de = self.unit_codes.backward(de)
        return dz, None if self.averages else de

    def prepare(self, latents, rng):
        """Set the codes to k-means centres of the latents z (N, ..., D) of some batches.

        `rng`, a NumPy generator, picks the first centres.
        """
        K, D = self.codebook.value.shape
        xp = array_module(self.codebook.value)
        vectors = xp.concatenate([self.latent_vectors(z).reshape(-1, D) for z in latents])
        picks = rng.choice(len(vectors), K, replace=len(vectors) < K)
        codes, counts = lloyd(vectors, vectors[xp.asarray(picks)], KMEANS_ITERATIONS)
        self.codebook.value[...] = codes
        if self.averages:
            # a centre without latents counts as if it had one; otherwise the average would send it to the origin
            self.averages.begin(codes, xp.maximum(counts, 1) / len(latents))

    def draw_choices(self, rng):
        """A random number for each latent of the last forward: the order in which dead codes take them."""
        return rng.random(self.latents_of_batch()) if self.dead_codes else None

    def update(self, choices=None):
        """Move the codes after the optimiser's step, with the latents of the last forward."""
        z, k, e = self.latents, self.indices, self.codebook.value
        (counts,) = self.batch.total(code_counts(k, len(e)).astype(e.dtype))
        if self.averages:
            (sums,) = self.batch.total(self.scatter(z, k))
        if self.dead_codes:
            restarted, fresh = self.dead_codes.update(counts, z.reshape(-1, z.shape[-1]), choices)
        if not self.batch.writes:
            return
        if self.averages:
            self.averages.update(counts, sums)
            e[...] = self.averages.codes()
        if self.dead_codes:
            e[...] = array_module(e).where(restarted[:, None], fresh, e)
            if self.averages:
                self.averages.restart(restarted, fresh)


CURES = (CODEBOOK_UPDATE, RESTART_AFTER, ENTROPY_WEIGHT, ENTROPY_TEMPERATURE, CODE_METRIC, STRAIGHT_THROUGH)


def quantizer_for(options):
    """The class or function that makes the quantizer for these options: plain, or with the cures that they choose, and
    one for each group of channels if there are several."""
    kind = kind_for(options)
    return partial(GroupedQuantizer, options["code_groups"], quantizer=kind) if options["code_groups"] > 1 else kind


def kind_for(options):
    """The class or function that makes the quantizer of one codebook."""
    if options["straight_through"] == "reversed":
        return ReversedVectorQuantizer
    cures = {
        "ema_decay": options["ema_decay"] if options["codebook_update"] == "ema" else None,
        "restart_after": options["restart_after"] or None,
        "entropy_temperature": options["entropy_temperature"] if options["entropy_weight"] else None,
        "cosine": options["code_metric"] == "cosine",
    }
    if options["codebook_init"] == "kmeans" or any(cures.values()):
        return partial(CuredVectorQuantizer, **cures)
    return VectorQuantizer


def check_cures(options, given):
    """Raise InputError for an option without effect, and for cures together with the reversed straight-through line."""
    if "entropy_temperature" in given and not options["entropy_weight"]:
        raise InputError("counts only with an entropy_weight above 0: give both, or neither.", "entropy_temperature")
    chosen = [cure.name for cure in CURES if cure is not STRAIGHT_THROUGH and options[cure.name] != cure.default]
    chosen += ["codebook_init"] if options["codebook_init"] == "kmeans" else []
    if options["straight_through"] == "reversed" and chosen:
        raise InputError(f"reversed shows a program that quantizes nothing: leave out {chosen[0]}.", "straight_through")
