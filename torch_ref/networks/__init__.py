"""Pairs of an encoder and a decoder, by name, for any bottleneck between them."""

from torch_ref.layers.norm import NORMS
from torch_ref.networks.convolutional import convolutions
from torch_ref.networks.linear import linear
from torch_ref.networks.mlp import mlp
from torch_ref.networks.network import Network
from torch_ref.networks.pooling import pooling
from torch_ref.networks.residual import residual
from torch_ref.options import choice, whole, widths

NORM, CHANNELS = choice(*NORMS), widths(32, 64, 128)
NETWORKS = {
    "convolution": Network(convolutions, {"channels": CHANNELS, "norm": NORM}),
    "pooling": Network(pooling, {"channels": CHANNELS, "norm": NORM}),
    "residual": Network(residual, {
        "hidden": whole(128, least=2), "residual_blocks": whole(2, least=0), "residual_channels": whole(32),
        "halvings": whole(2), "norm": NORM}),
    "mlp": Network(mlp, {"widths": widths(400)}, has_grid=False),
    "linear": Network(linear, {}, has_grid=False),
}
