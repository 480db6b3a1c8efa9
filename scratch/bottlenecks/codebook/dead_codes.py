"""Codes that nobody chooses any more, and their second chance."""

from scratch.arrays import array_module
from scratch.module import Buffer, Module
from scratch.options.option import Option, Whole

RESTART_AFTER = Option("restart_after", Whole(0), 0, "steps after which an unused code becomes a latent; 0: never",
                       source="arXiv:2005.00341")


class DeadCodes(Module):
    """A code that no latent chose for `patience` steps in a row is dead, and is set to a latent of the present batch.

    A code far from every latent is never chosen, so no gradient moves it, so it stays far; where there are latents, it
    will be chosen. (Dhariwal et al. 2020, arXiv:2005.00341, section 3.1; Łańcucki et al. 2020, arXiv:2005.08520)

    The latents of the batch are put in random order; the first dead code takes the first of them, and so on. Where more
    codes are dead than there are latents, the rest wait for the next step: no two codes get the same latent, between
    which a tie would choose. No step asks the device how many are dead: the number of dead codes before each (cumsum)
    says which latent it would take, and `where` keeps what the living have.
    Shapes: idle (K,), a buffer: for how many steps each code has not been chosen.
    """

    def __init__(self, codebook, patience):
        self.patience = patience
        self.idle = Buffer(array_module(codebook).zeros(len(codebook), codebook.dtype))

    def update(self, counts, z, choices):
        """(restarted, fresh) after a batch: which codes start anew (K,), and the latent that each would take (K, D).

        counts (K,) says how many of the latents z (M, D) chose each code, choices (M,) are random numbers.
        """
        idle = self.idle.value
        idle += 1
        idle *= counts == 0
        dead = idle >= self.patience
        turn = dead.cumsum() - 1
        restarted = dead & (turn < len(z))
        idle *= ~restarted
        return restarted, z[choices.argsort()[turn.clip(0, len(z) - 1)]]
