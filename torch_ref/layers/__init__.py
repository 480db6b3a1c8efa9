"""The layers that torch.nn does not have."""

from torch_ref.layers.residual import ResidualBlock
from torch_ref.layers.shift import Shift

__all__ = ["ResidualBlock", "Shift"]
