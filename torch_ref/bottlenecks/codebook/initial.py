"""How a codebook begins."""

import torch
from torch import nn

CODEBOOK_INITS = ("uniform", "normal", "xavier", "variance_scaling")


def new_codebook(codes, code_dim, init, dtype):
    """A codebook (K, D), filled as `init` says. Raises ValueError where it says nothing known."""
    codebook = torch.empty(codes, code_dim, dtype=dtype)
    if init == "uniform":
        return nn.init.uniform_(codebook, -1 / codes, 1 / codes)
    if init == "normal":
        return nn.init.normal_(codebook)
    if init == "xavier":
        return nn.init.xavier_normal_(codebook)
    if init == "variance_scaling":
        return nn.init.kaiming_uniform_(codebook, nonlinearity="linear")  # ±√(3/D)
    raise ValueError(f"codebook_init is {init!r}: expected one of {', '.join(CODEBOOK_INITS)}")
