"""Codes that nobody chooses any more, and their second chance."""

from scratch.arrays import array_module
from scratch.module import Buffer, Module


class DeadCodes(Module):
    """A code that no latent chose for `patience` steps in a row is dead, and is set to a latent of the present batch.

    A code far from every latent is never chosen, so no gradient moves it, so it stays far; where there are latents, it
    will be chosen. (Dhariwal et al. 2020, arXiv:2005.00341, section 3.1; Łańcucki et al. 2020, arXiv:2005.08520)

    For each code one latent is drawn, dead or not, and those of the dead are used: that way no step has to ask the
    device how many are dead. Two dead codes may draw the same latent. Then the first one is chosen (a tie), the second
    one is dead again after `patience` steps and draws anew.
    Shapes: idle (K,), a buffer: for how many steps each code has not been chosen.
    """

    def __init__(self, codebook, patience):
        self.patience = patience
        self.idle = Buffer(array_module(codebook).zeros(len(codebook), codebook.dtype))

    def update(self, counts):
        """Which codes are dead now (K,), after a batch in which so many latents chose each (K,); they start anew."""
        idle = self.idle.value
        idle += 1
        idle *= counts == 0
        dead = idle >= self.patience
        idle *= ~dead
        return dead


def drawn_latents(z, choices):
    """A row of z (M, D) for each uniform random number of choices (K,) in [0, 1)."""
    return z[(choices * len(z)).astype(array_module(z).int64)]
