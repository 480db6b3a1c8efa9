"""The vector quantizer: every latent vector is replaced by the nearest of K learned vectors, the codes."""

import math

import numpy as np

from scratch.arrays import array_module
from scratch.layers.checks import check_input
from scratch.layers.embedding import sums_by_index
from scratch.losses import batch_mean_of_sums, squared_difference
from scratch.module import Module, Parameter, elementwise
from scratch.options.option import Choice, Option, Real, Whole

HELD = 2**22  # distances that a search holds at a time


def offsets(codebook, centre):
    """(e − centre, ½ (e − centre)²), elementwise."""
    e = codebook - centre
    return e, 0.5 * e * e


def centred(codebook, offsets=offsets):
    """(centre, e − centre, ½‖e − centre‖²), where centre is the mean of the codes: (D,), (K, D), (K,)."""
    centre = codebook.mean(axis=0)
    e, half_squares = offsets(codebook, centre)
    return centre, e, half_squares.sum(axis=1)


def nearest_codes(z, codebook, held=HELD, offsets=offsets):
    """indices[m] = argmin_k ‖z_m − e_k‖²; of equally near codes the first.

    Shapes: z (M, D), codebook (K, D), indices (M,) of int64. With z′ = z − centre and e′ = e − centre for any
    centre,

        ‖z − e‖² = ‖z′‖² − 2 (⟨z′, e′⟩ − ½‖e′‖²)

    and ‖z′‖² is the same for every k. So the nearest code has the largest ⟨z′, e′ₖ⟩ − ½‖e′ₖ‖². That takes one matrix
    product for each block of rows, with `held` distances at a time, and never an array of M × K × D. The
    centre is the mean of the codes. Without it, codes far from zero would differ by less than the rounding of the
    products.
    """
    xp = array_module(z)
    centre, e, half_squared_norms = centred(codebook, offsets)
    indices = xp.empty(len(z), xp.int64)
    rows = max(1, held // len(codebook))
    for start in range(0, len(z), rows):
        block = slice(start, start + rows)
        closeness = (z[block] - centre) @ e.T
        closeness -= half_squared_norms
        closeness.argmax(axis=1, out=indices[block])
    return indices


def code_counts(indices, codes):
    """How often each of the codes 0 … codes − 1 occurs in an array of indices."""
    xp = array_module(indices)
    counts = xp.zeros(codes, xp.int64)
    xp.add.at(counts, indices.ravel(), xp.ones((), xp.int64))  # a plain 1 would be sent to the device each time
    return counts


def of_each_codebook(indices):
    """The indices (N, I, J) into each codebook: a list of one, or of G for indices (N, I, J, G) into G codebooks."""
    return [indices] if indices.ndim == 3 else [indices[..., group] for group in range(indices.shape[-1])]


def perplexity(counts):
    """exp(−Σ_k p_k log p_k) with p = counts / Σ counts: the number of equally frequent codes with the same entropy.

    An unused code counts 0·log 0 = 0. Over a batch it is at most the number of vectors in the batch, so perplexities of
    batches of different sizes cannot be compared.
    """
    xp = array_module(counts)
    p = counts / counts.sum()
    return xp.exp(-(p * xp.log(xp.maximum(p, float(np.finfo(p.dtype).tiny)))).sum())


CODEBOOK_INITS = ("uniform", "normal", "xavier", "variance_scaling", "kmeans")

CODES = Option("codes", Whole(1), 256, "K, the number of vectors in the codebook")
CODE_DIM = Option("code_dim", Whole(1), 8, "D, the numbers in a vector of the codebook")
CODE_GROUPS = Option("code_groups", Whole(1), 1, "G, the codebooks, each for its share of the D numbers",
                     source="doi:10.1109/TPAMI.2010.57")
CODEBOOK_INIT = Option("codebook_init", Choice(CODEBOOK_INITS), "uniform",
                       "the initial codebook; kmeans: means of the first batches' latents")
COMMITMENT = Option("commitment", Real(0), 0.25, "weight of the commitment term", source="arXiv:1711.00937")


def initial_codebook(how, codes, code_dim, dtype, rng):
    """A codebook (K, D) of independent numbers:

        "uniform"             U(−1/K, 1/K)
        "normal"              N(0, 1)
        "xavier"              N(0, 2/(K + D))         (Glorot & Bengio 2010)
        "variance_scaling"    U(−√(3/D), √(3/D)), of variance 1/D: the length of a code is near 1
    """
    shape = (codes, code_dim)
    if how == "uniform":
        return rng.uniform(-1 / codes, 1 / codes, shape).astype(dtype)
    if how == "normal":
        return rng.standard_normal(shape).astype(dtype)
    if how == "xavier":
        return (math.sqrt(2 / (codes + code_dim)) * rng.standard_normal(shape)).astype(dtype)
    if how == "variance_scaling":
        bound = math.sqrt(3 / code_dim)
        return rng.uniform(-bound, bound, shape).astype(dtype)
    raise ValueError(f"a codebook's init is uniform, normal, xavier or variance_scaling, not {how!r}")


def straight_through(dq, residual, weight):
    """∂L/∂q + weight · (z − q)."""
    return dq + residual * weight


class VectorQuantizer(Module):
    """q = e_k with k = argmin_j ‖z − e_j‖², at every position.       (van den Oord et al. 2017, arXiv:1711.00937)

    Shapes: z, q (N, ..., D), the codebook e (K, D), k (N, ...) kept in `indices`. Two loss terms, equal in value:

        codebook = (1/N) Σ ‖sg[z] − e_k‖²        moves the codes to the encoder's outputs
        commitment = (1/N) Σ ‖z − sg[e_k]‖²      keeps the encoder's outputs near their codes

    where sg[·] (stop-gradient) is a constant for the backward pass. The option
    commitment is the weight of the second term; papers call it β. The argmin has no useful derivative. The
    straight-through estimator passes the decoder's gradient on to the encoder as if quantizing added a constant,
    q = z + sg[e_k − z] (Bengio et al. 2013, arXiv:1308.3432):

        ∂L/∂z = ∂L/∂q + ∂L/∂commitment · 2 (z − e_k) / N
        ∂L/∂e_j = ∂L/∂codebook · Σ_{positions with k = j} 2 (e_j − z) / N
    """

    held = HELD  # how many distances a search holds at a time
    moves = False  # True if `update` does something (codebook/health.py)
    chooses = False  # True if `update` makes random choices
    prepared_from = 0  # how many batches `prepare` needs
    decodes_latents = True  # False if q is not the code vectors
    formula, derivative = elementwise(squared_difference), elementwise(straight_through)
    offsets = elementwise(offsets)

    def __init__(self, codes, code_dim, init="uniform", *, dtype=np.float32, rng=None):
        self.codebook = Parameter(initial_codebook(init, codes, code_dim, dtype, rng or np.random.default_rng()))
        self.indices = None

    @property
    def codes(self):
        """K"""
        return len(self.codebook.value)

    def forward(self, z, indices=None):
        e = self.codebook.value
        check_input(self, z, ("N", *(f"D{axis}" for axis in range(1, z.ndim - 1)), e.shape[1]), e)
        z, e = self.latent_vectors(z), self.code_vectors()
        self.indices = self.search(z, e) if indices is None else indices
        return self.quantize(z, e, self.indices)

    def backward(self, dq, dterms):
        dz, de = self.gradients(dq, dterms)
        if de is not None:
            self.codebook.accumulate(de)
        return dz

    def quantize(self, z, e, k):
        """(q, terms) from latents, codes and indices."""
        q = e[k]
        squares, residual = self.formula(z, q)
        self.save(residual, k)
        distance = batch_mean_of_sums(squares)
        return q, {"codebook": distance, "commitment": distance}

    def gradients(self, dq, dterms):
        """(∂L/∂z, ∂L/∂e). ∂L/∂e is None if there is no term "codebook"."""
        residual, k = self.recall()
        scale = 2 / len(residual)
        de = self.scatter(residual * (-scale * dterms["codebook"]), k) if "codebook" in dterms else None
        return self.derivative(dq, residual, scale * dterms["commitment"]), de

    def latent_vectors(self, z):
        """z (N, ..., D) in the form that is compared with the codes: here z itself."""
        return z

    def code_vectors(self):
        """The codes (K, D) in the form that is compared and decoded: here the codebook itself."""
        return self.codebook.value

    def nearest(self, z):
        """The indices (N, ...) of the codes nearest to z (N, ..., D)."""
        return self.search(self.latent_vectors(z), self.code_vectors())

    def search(self, z, e):
        """The indices (N, ...) of the rows of e (K, D) nearest to z (N, ..., D)."""
        return nearest_codes(z.reshape(-1, e.shape[1]), e, self.held, self.offsets).reshape(z.shape[:-1])

    def lookup(self, indices):
        """The code vectors (N, ..., D) of indices (N, ...)."""
        return self.code_vectors()[indices]

    def mix(self, a, b, t):
        """The codes nearest to the points between a's and b's code vectors, because the decoder takes codes alone."""
        return self.nearest((1 - t) * self.lookup(a) + t * self.lookup(b))

    def scatter(self, vectors, k):
        """(K, D), whose row k is the sum of the vectors (N, ..., D) at all positions with the index k."""
        return sums_by_index(vectors, k, len(self.codebook.value))

    def latents_of_batch(self):
        """How many latents the last forward quantized, over the whole batch."""
        return self.batch.total(self.indices.size)[0]

    def draw_choices(self, rng):
        """The random choices that `update` takes, drawn from `rng`; None if it makes none."""
        return None

    def update(self, choices=None):
        """After the optimiser's step: change what gradients do not change. Here it does nothing."""
