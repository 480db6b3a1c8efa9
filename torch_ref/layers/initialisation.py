"""How weights begin where it is not as PyTorch's do."""

import torch
from torch import nn

from torch_ref.options import choice

WEIGHT_INIT = choice("uniform", "truncated_normal")


@torch.no_grad()
def start_from_truncated_normal(module):
    """Sonnet 1's initial weights for one layer, to be applied to all of a model's."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        outputs = 1 if isinstance(module, nn.ConvTranspose2d) else 0  # the axis; a transposed one has its inputs first
        std = (module.weight.shape[outputs] / module.weight.numel()) ** 0.5
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
