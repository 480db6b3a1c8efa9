"""The block of a transformer."""

import torch
from torch import nn


class TransformerBlock(nn.TransformerEncoderLayer):
    """torch.nn's encoder layer with its norms first, and with a causal mask where `causal`.

    Shapes: x, y (N, T, embed_dim).
    """

    def __init__(self, embed_dim, num_heads, hidden, dropout=0.0, causal=False, *, dtype):
        super().__init__(embed_dim, num_heads, hidden, dropout, nn.GELU("tanh"), batch_first=True, norm_first=True,
                         dtype=dtype)
        self.causal = causal

    def forward(self, x):
        hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1) if self.causal else None
        return super().forward(x, src_mask=hidden)
