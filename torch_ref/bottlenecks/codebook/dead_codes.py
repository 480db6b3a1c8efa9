"""Codes that have fallen out of use."""

from torch import nn


class DeadCodes(nn.Module):
    """For how many steps in a row each code has not been chosen."""

    def __init__(self, codebook, patience):
        super().__init__()
        self.patience = patience
        self.register_buffer("idle", codebook.new_zeros(len(codebook)))

    def update(self, chosen, most):
        """Indices of the codes that have now waited long enough, the first `most` of them; these begin to wait again.

        chosen (K,) says which codes were just in use.
        """
        self.idle.add_(1).masked_fill_(chosen, 0)
        dead = (self.idle >= self.patience).nonzero().flatten()[:most]
        self.idle[dead] = 0
        return dead
