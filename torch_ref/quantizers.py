"""The quantizers of the VQ-VAEs: the plain one, the article's as printed, and the one with cures for unused codes."""

import torch
from torch import nn
from torch.nn import functional as F

from torch_ref.codebooks import DeadCodes, MovingAverages, entropy_gap, kmeans, nearest_codes
from torch_ref.losses import vector_quantization

SEARCH_ROWS = 4096  # latent vectors whose distances to all codes are held at a time


def new_codebook(codes, code_dim, init, dtype):
    """A codebook (K, D), filled as `init` says."""
    codebook = torch.empty(codes, code_dim, dtype=dtype)
    if init == "uniform":
        return nn.init.uniform_(codebook, -1 / codes, 1 / codes)
    if init == "normal":
        return nn.init.normal_(codebook)
    if init == "xavier":
        return nn.init.xavier_normal_(codebook)
    if init == "variance_scaling":
        return nn.init.kaiming_uniform_(codebook, nonlinearity="linear")  # ±√(3/D)
    raise ValueError(f"a codebook is initialised uniform, normal, xavier or variance_scaling, not {init!r}")


class VectorQuantizer(nn.Module):
    """The nearest codebook vector at every position, with the straight-through estimator.

    Shapes: z (N, D, H, W), codebook (K, D), indices (N, H, W).
    """

    prepared_from = 0  # how many batches `prepare` wants to see

    def __init__(self, codes, code_dim, init, dtype):
        super().__init__()
        self.codebook = nn.Parameter(new_codebook(codes, code_dim, init, dtype))
        self.indices = None

    def forward(self, z):
        self.indices = self.nearest(z)
        q = self.lookup(self.indices)
        codebook, commitment = vector_quantization(z, q)
        straight_through = z + (q - z).detach()
        return straight_through, {"codebook": codebook, "commitment": commitment}

    @torch.no_grad()
    def nearest(self, z):
        vectors = z.movedim(1, -1)
        rows = vectors.flatten(0, -2).split(SEARCH_ROWS)
        return torch.cat([nearest_codes(row, self.codebook) for row in rows]).view(vectors.shape[:-1])

    def lookup(self, indices):
        return F.embedding(indices, self.codebook).movedim(-1, 1)

    def mix(self, a, b, t):
        """The codes nearest to the points between the code vectors of a and b."""
        return self.nearest(torch.lerp(self.lookup(a), self.lookup(b), t))

    def draw_choices(self, rng):
        return None

    def update(self, choices=None):
        """Change what no gradient changes."""


class ReversedVectorQuantizer(VectorQuantizer):
    """The article's program as it is printed: the straight-through line the wrong way round, the losses behind it."""

    def forward(self, z):
        self.indices = self.nearest(z)
        q = self.lookup(self.indices)
        q = q + (z - q).detach()
        codebook, commitment = vector_quantization(z, q)
        return q, {"codebook": codebook, "commitment": commitment}


class CuredVectorQuantizer(VectorQuantizer):
    """VectorQuantizer with any of: k-means initialisation, moving averages, restarts, entropy term, cosine distance."""

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

    def compared(self, vectors, dim):
        """Latents or codes as they are compared: on the unit sphere under the cosine distance."""
        return F.normalize(vectors, dim=dim) if self.cosine else vectors

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

    @torch.no_grad()
    def nearest(self, z):
        vectors, codebook = self.compared(z, 1).movedim(1, -1), self.compared(self.codebook, 1)
        rows = vectors.flatten(0, -2).split(SEARCH_ROWS)
        return torch.cat([nearest_codes(row, codebook) for row in rows]).view(vectors.shape[:-1])

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


def quantizer(options, dtype):
    """The quantizer that the options ask for. Where they say nothing of cures, it is the plain one."""
    arguments = options["codes"], options["code_dim"], options["codebook_init"], dtype
    if options.get("straight_through") == "reversed":
        return ReversedVectorQuantizer(*arguments)
    cures = {}
    if options.get("codebook_update") == "ema":
        cures["ema_decay"] = options["ema_decay"]
    if options.get("restart_after"):
        cures["restart_after"] = options["restart_after"]
    if options.get("entropy_weight"):
        cures["entropy_temperature"] = options["entropy_temperature"]
    if options.get("code_metric") == "cosine":
        cures["cosine"] = True
    if cures or options["codebook_init"] == "kmeans":
        return CuredVectorQuantizer(*arguments, **cures)
    return VectorQuantizer(*arguments)
