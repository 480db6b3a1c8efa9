"""The layers that torch.nn does not have."""

from torch_ref.layers.positions import GridPositions, ToGrid, TokenPositions, ToTokens
from torch_ref.layers.residual import ResidualBlock
from torch_ref.layers.shift import Shift
from torch_ref.layers.transformer import TransformerBlock

__all__ = ["GridPositions", "ResidualBlock", "Shift", "ToGrid", "ToTokens", "TokenPositions", "TransformerBlock"]
