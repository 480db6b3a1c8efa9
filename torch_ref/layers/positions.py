"""What tells the patches of a picture where they stand, and patches as a row."""

import torch
from torch import nn


class GridPositions(nn.Module):
    """y = x + the vector of the row + the vector of the column. Shapes: x, y (N, C, H, W)."""

    def __init__(self, height, width, channels, *, dtype):
        super().__init__()
        self.rows = nn.Parameter(0.02 * torch.randn(height, channels, dtype=dtype))
        self.columns = nn.Parameter(0.02 * torch.randn(width, channels, dtype=dtype))

    def forward(self, x):
        return x + self.rows.T.unsqueeze(2) + self.columns.T.unsqueeze(1)


class TokenPositions(nn.Module):
    """y = x + the vector of the place. Shapes: x, y (N, T, C)."""

    def __init__(self, length, channels, *, dtype):
        super().__init__()
        self.places = nn.Parameter(0.02 * torch.randn(length, channels, dtype=dtype))

    def forward(self, x):
        return x + self.places


class ToTokens(nn.Module):
    """(N, C, H, W) as (N, H·W, C)."""

    def forward(self, x):
        return x.flatten(2).mT


class ToGrid(nn.Module):
    """(N, H·W, C) as (N, C, H, W)."""

    def __init__(self, height, width):
        super().__init__()
        self.size = height, width

    def forward(self, x):
        return x.mT.unflatten(2, self.size)
