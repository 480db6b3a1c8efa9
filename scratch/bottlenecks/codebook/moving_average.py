"""A codebook moved by averages instead of gradients: every code is the mean of the latents that recently chose it."""

from scratch.arrays import array_module
from scratch.module import Buffer, Module
from scratch.options.option import Choice, Option, Real

EPSILON = 1e-5  # of the Laplace smoothing


class MovingAverages(Module):
    """eₖ = Ŝₖ / ñₖ, the quotient of two exponential moving averages.

    In a batch nₖ latents choose code k, and Sₖ is their sum. With the decay γ, every step does

        n̄ₖ ← γ n̄ₖ + (1 − γ) nₖ       S̄ₖ ← γ S̄ₖ + (1 − γ) Sₖ       ω ← γ ω + (1 − γ)

    All begin at zero, so ω = 1 − γᵗ after t steps. The first averages are too small by this factor. n̂ = n̄ / ω and
    Ŝ = S̄ / ω correct them. Laplace smoothing with eps = 1e-5 keeps the quotient finite:

        ñₖ = (n̂ₖ + eps) / (Σn̂ + K · eps) · Σn̂

    ñ is used in the quotient only. Written back into n̄, it would be averaged again at every step.
    Shapes: counts n̄ (K,), sums S̄ (K, D), weight ω (1,). All three are buffers, so they are saved with the weights.

    Codes that are not chosen move to the origin. A code that was never chosen has S̄ = 0 and goes there at the first
    update. A code that is no longer chosen goes there as n̂ falls below eps, after about log(1/eps) / (1 − γ) steps.
    DeadCodes (dead_codes.py) brings them back.
    (van den Oord et al. 2017, arXiv:1711.00937, appendix A.1; the formula is that of Sonnet's VectorQuantizerEMA)
    """

    options = (Option("ema_decay", Real(0, included=False, below=1), 0.99, "decay γ of the moving averages",
                      source="arXiv:1711.00937"),)

    def __init__(self, codebook, decay):
        xp, (K, _) = array_module(codebook), codebook.shape
        self.decay = decay
        self.counts = Buffer(xp.zeros(K, codebook.dtype))
        self.sums = Buffer(xp.zeros_like(codebook))
        self.weight = Buffer(xp.zeros(1, codebook.dtype))

    def update(self, counts, sums):
        """Add a batch to the averages: how many latents chose each code (K,), and their sums (K, D)."""
        for average, of_batch in ((self.counts, counts), (self.sums, sums), (self.weight, 1.0)):
            average.value *= self.decay
            average.value += (1 - self.decay) * of_batch

    def codes(self):
        """The codebook (K, D) that follows from the averages."""
        counts = self.counts.value / self.weight.value
        total = counts.sum()
        smoothed = (counts + EPSILON) / (total + len(counts) * EPSILON) * total
        return self.sums.value / self.weight.value / smoothed[:, None]

    def begin(self, codes, counts):
        """Set the averages as if every earlier batch had had `counts` (K,) latents at the codes (K, D)."""
        self.counts.value[...] = counts
        self.sums.value[...] = counts[:, None] * codes
        self.weight.value[...] = 1

    def restart(self, chosen, codes):
        """Where `chosen` (K,) is true, set the averages as if every earlier batch had had one latent at `codes` (K, D).
        """
        where = array_module(codes).where
        self.counts.value[...] = where(chosen, self.weight.value, self.counts.value)
        self.sums.value[...] = where(chosen[:, None], self.weight.value * codes, self.sums.value)


CODEBOOK_UPDATE = Option("codebook_update", Choice({"gradient": None, "ema": MovingAverages}), "gradient",
                         "what moves the codes: the codebook term's gradient, or moving averages of their latents",
                         source="arXiv:1711.00937")
