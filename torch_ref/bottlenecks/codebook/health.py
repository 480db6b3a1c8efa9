"""The vector quantizer with cures for a codebook that uses few of its codes. Each is optional, and all combine."""

import torch
from torch.nn import functional as F

from torch_ref.bottlenecks.codebook.dead_codes import DeadCodes
from torch_ref.bottlenecks.codebook.initial import CODEBOOK_INITS
from torch_ref.bottlenecks.codebook.kmeans import kmeans
from torch_ref.bottlenecks.codebook.moving_average import MovingAverages
from torch_ref.bottlenecks.codebook.soft_assignment import entropy_gap
from torch_ref.bottlenecks.codebook.unit_length import unit_length
from torch_ref.bottlenecks.vector_quantizer import VectorQuantizer, nearest_grid
from torch_ref.losses import vector_quantization
from torch_ref.options import choice, needing, number, whole


class CuredVectorQuantizer(VectorQuantizer, variant=True):
    """VectorQuantizer with any of: k-means initialisation, moving averages, restarts, entropy term, cosine distance."""

    options = {
        "codebook_init": choice(*CODEBOOK_INITS, "kmeans"),
        "codebook_update": choice("gradient", "ema"),
        "ema_decay": needing("codebook_update", "ema", number(0.99, above=True, below=1.0)),
        "restart_after": whole(0, least=0),
        "entropy_weight": number(0.0),
        "entropy_temperature": needing("entropy_weight", None, number(1.0, above=True)),
        "code_metric": choice("euclidean", "cosine"),
    }

    def __init__(self, codes, code_dim, init, dtype, *, ema_decay=None, restart_after=None, entropy_temperature=None,
                 cosine=False):
        super().__init__(codes, code_dim, "normal" if init == "kmeans" else init, dtype)
        self.prepared_from = 10 if init == "kmeans" else 0
        self.entropy_temperature, self.cosine = entropy_temperature, cosine
        self.averages = self.dead_codes = None
        if ema_decay is not None:
            codebook = self.codebook.detach()
            del self.codebook
            self.register_buffer("codebook", codebook)
            self.averages = MovingAverages(codebook, ema_decay)
        if restart_after is not None:
            self.dead_codes = DeadCodes(self.codebook.detach(), restart_after)

    @staticmethod
    def cures(options):
        """What the options ask for, as the constructor takes it; None and False are what they do not ask for."""
        return {
            "ema_decay": options["ema_decay"] if options["codebook_update"] == "ema" else None,
            "restart_after": options["restart_after"] or None,
            "entropy_temperature": options["entropy_temperature"] if options["entropy_weight"] else None,
            "cosine": options["code_metric"] == "cosine",
        }

    @classmethod
    def asked_for(cls, options):
        return options["codebook_init"] == "kmeans" or any(cls.cures(options).values())

    @classmethod
    def from_options(cls, options, dtype):
        return cls(options["codes"], options["code_dim"], options["codebook_init"], dtype, **cls.cures(options))

    @classmethod
    def weights(cls, options, positions):
        weights = super().weights(options, positions)
        if options["codebook_update"] == "ema":
            del weights["codebook"]
        if options["entropy_weight"]:
            weights["entropy_gap"] = options["entropy_weight"]
        return weights

    def compared(self, vectors, dim):
        """Latents or codes as they are compared: on the unit sphere under the cosine distance."""
        return unit_length(vectors, dim) if self.cosine else vectors

    def forward(self, z):
        self.indices = self.nearest(z)
        z, q = self.compared(z, 1), self.lookup(self.indices)
        codebook, commitment = vector_quantization(z, q)
        terms = {"commitment": commitment} if self.averages else {"codebook": codebook, "commitment": commitment}
        vectors = z.movedim(1, -1).flatten(0, -2)
        if self.entropy_temperature is not None:
            terms["entropy_gap"] = entropy_gap(vectors, self.compared(self.codebook, 1), self.entropy_temperature)
        self.latents = vectors.detach()
        return z + (q - z).detach(), terms

    def nearest(self, z):
        return nearest_grid(self.compared(z, 1), self.compared(self.codebook, 1))

    def lookup(self, indices):
        return F.embedding(indices, self.compared(self.codebook, 1)).movedim(-1, 1)

    @torch.no_grad()
    def prepare(self, latents, rng):
        vectors = torch.cat([self.compared(z, 1).movedim(1, -1).flatten(0, -2) for z in latents])
        codes = len(self.codebook)
        picks = torch.from_numpy(rng.choice(len(vectors), codes, replace=len(vectors) < codes)).to(vectors.device)
        codebook, counts = kmeans(vectors, vectors[picks], iterations=10)
        self.codebook.copy_(codebook)
        if self.averages:
            self.averages.begin(codebook, counts.clamp(min=1) / len(latents))

    def draw_choices(self, rng):
        return rng.random(len(self.latents)) if self.dead_codes else None

    @torch.no_grad()
    def update(self, choices=None):
        if not self.averages and not self.dead_codes:
            return
        assignments = F.one_hot(self.indices.flatten(), len(self.codebook)).to(self.latents)
        if self.averages:
            self.codebook.copy_(self.averages.update(self.latents, assignments))
        if self.dead_codes:
            dead = self.dead_codes.update(assignments.any(0), most=len(self.latents))
            fresh = self.latents[choices.argsort()[: len(dead)]]
            self.codebook[dead] = fresh
            if self.averages:
                self.averages.restart(dead, fresh)
