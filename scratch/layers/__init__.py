"""Every layer, under PyTorch's class and argument names, with `dtype=` and `rng=` beside them.

Images and feature maps are NHWC: (N, H, W, C). A layer raises ValueError for an input of another shape, and TypeError
for one of another dtype or on another device than its weights (checks.py).
"""

from scratch.layers.activation import GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Tanh
from scratch.layers.attention import MultiheadAttention
from scratch.layers.batch_norm import BatchNorm2d
from scratch.layers.concatenate import Concatenate
from scratch.layers.conv import Conv2d, ConvTranspose2d
from scratch.layers.dropout import Dropout
from scratch.layers.embedding import Embedding
from scratch.layers.group_norm import GroupNorm
from scratch.layers.layer_norm import LayerNorm
from scratch.layers.linear import Linear, LinearOfTokens
from scratch.layers.pooling import AvgPool2d, MaxPool2d, Upsample
from scratch.layers.positions import GridPositions, ToGrid, TokenPositions, ToTokens
from scratch.layers.residual import ResidualBlock
from scratch.layers.shape import Flatten, Unflatten
from scratch.layers.shift import Shift
from scratch.layers.softmax import Softmax
from scratch.layers.transformer import TransformerBlock

__all__ = [
    "GELU",
    "AvgPool2d",
    "BatchNorm2d",
    "Concatenate",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "GridPositions",
    "GroupNorm",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LinearOfTokens",
    "MaxPool2d",
    "MultiheadAttention",
    "ReLU",
    "ResidualBlock",
    "Shift",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "ToGrid",
    "ToTokens",
    "TokenPositions",
    "TransformerBlock",
    "Unflatten",
    "Upsample",
]
