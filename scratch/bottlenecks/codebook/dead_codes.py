"""Codes that are no longer chosen are set to latents of the batch."""

from scratch.arrays import array_module
from scratch.module import Buffer, Module
from scratch.options.option import Option, Whole

RESTART_AFTER = Option("restart_after", Whole(0), 0, "steps after which an unused code is set to a latent; 0: never",
                       source="arXiv:2005.00341")


class DeadCodes(Module):
    """A code that no latent chose for `patience` steps in a row is dead. It is set to a latent of the current batch.

    Shapes: idle (K,), a buffer that counts for how many steps each code has not been chosen.

    A code far from every latent is never chosen. So no gradient moves it, and it stays far. In the place of a latent it
    is chosen again.

    The latents of the batch are put in random order. The first dead code takes the first latent, and so on. If there
    are more dead codes than latents, the rest wait for the next step, because of two equal codes only the first is ever
    chosen. The number of dead codes is not read from the device. The cumulative sum of `dead` says which latent each
    dead code takes, and `where` keeps the other codes.
    (Dhariwal et al. 2020, arXiv:2005.00341, section 3.1; Łańcucki et al. 2020, arXiv:2005.08520)
    """

    def __init__(self, codebook, patience):
        self.patience = patience
        self.idle = Buffer(array_module(codebook).zeros(len(codebook), codebook.dtype))

    def update(self, counts, z, choices):
        """(restarted, fresh) after a batch: which codes are set anew (K,), and the latent that each would take (K, D).

        counts (K,) says how many of the batch's latents (M, D) chose each code; choices (M,) are random numbers. z are
        the latents of this share of the batch.
        """
        idle = (self.idle.value + 1) * (counts == 0)
        dead = idle >= self.patience
        turn = dead.cumsum() - 1
        restarted = dead & (turn < len(choices))
        fresh = self.batch.rows(z, choices.argsort()[turn.clip(0, len(choices) - 1)])
        if self.batch.writes:
            self.idle.value[...] = idle * ~restarted
        return restarted, fresh
