"""A codebook that no gradient moves: every code is the mean of the latents that lately chose it."""

from scratch.arrays import array_module
from scratch.module import Buffer, Module
from scratch.options.option import Choice, Option, Real

EPSILON = 1e-5  # of the Laplace smoothing


class MovingAverages(Module):
    """eₖ = m̂ₖ / Ñₖ, the quotient of two exponential moving averages. (van den Oord et al. 2017, appendix A.1)

    With nₖ latents z choosing the code k in a batch, and γ the decay, every step does

        Nₖ ← γ Nₖ + (1 − γ) nₖ       mₖ ← γ mₖ + (1 − γ) Σ z       w ← γ w + (1 − γ)

    all from zero, so that after t steps w = 1 − γᵗ. Without correction the first averages would be too small by just
    that factor: N̂ = N / w and m̂ = m / w are free of it. Laplace smoothing keeps the quotient finite,

        Ñₖ = (N̂ₖ + ε) / (ΣN̂ + K ε) · ΣN̂

    and is used in the quotient only; written back into N it would be averaged again at every step.
    Shapes: counts N (K,), sums m (K, D), weight w (1,). All are buffers: they are saved, and resumed from.

    The formula is that of Sonnet's VectorQuantizerEMA, and so is what becomes of codes that nobody chooses: with
    m = N = 0 a code that was never chosen goes to the origin with the first update, and one that is chosen no more is
    drawn there as N̂ sinks below ε, after some ln(1/ε) / (1 − γ) steps. DeadCodes (dead_codes.py) fetches them back.
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
        """Take in a batch: how many latents chose each code (K,), and their sums (K, D)."""
        for average, of_batch in ((self.counts, counts), (self.sums, sums), (self.weight, 1.0)):
            average.value *= self.decay
            average.value += (1 - self.decay) * of_batch

    def codes(self):
        """The codebook (K, D) that the averages make."""
        counts = self.counts.value / self.weight.value
        total = counts.sum()
        smoothed = (counts + EPSILON) / (total + len(counts) * EPSILON) * total
        return self.sums.value / self.weight.value / smoothed[:, None]

    def begin(self, codes, counts):
        """Go on as if the codes (K, D) had been averaged for ever from so many latents a batch (K,)."""
        self.counts.value[...] = counts
        self.sums.value[...] = counts[:, None] * codes
        self.weight.value[...] = 1

    def restart(self, chosen, codes):
        """Where `chosen` (K,) is true, go on as if one latent a batch, always this one, had chosen the code."""
        where = array_module(codes).where
        self.counts.value[...] = where(chosen, self.weight.value, self.counts.value)
        self.sums.value[...] = where(chosen[:, None], self.weight.value * codes, self.sums.value)


CODEBOOK_UPDATE = Option("codebook_update", Choice({"gradient": None, "ema": MovingAverages}), "gradient",
                         "what moves the codes: the codebook term's gradient, or moving averages of their latents",
                         source="arXiv:1711.00937")
