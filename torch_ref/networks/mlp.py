"""Linear layers."""

from torch import nn

from torch_ref.networks.network import Ends, network
from torch_ref.options import widths


@network("mlp", {"widths": widths(400)}, has_grid=False)
def mlp(image_shape, reconstruction, bottleneck, options, dtype):
    """Ends of linear layers with ReLUs, for a bottleneck that expands to the last width."""
    H, W, C = image_shape
    hidden, outputs = options["widths"], reconstruction.outputs
    encoder, decoder = nn.Sequential(nn.Flatten()), nn.Sequential(nn.ReLU(), nn.Flatten())
    features = H * W * C
    for width in hidden:
        encoder.extend([nn.Linear(features, width, dtype=dtype), nn.ReLU()])
        features = width
    for width in reversed(hidden[:-1]):
        decoder.extend([nn.Linear(features, width, dtype=dtype), nn.ReLU()])
        features = width
    encoder.append(nn.Unflatten(1, (hidden[-1], 1, 1)))
    decoder.extend([nn.Linear(features, outputs * C * H * W, dtype=dtype), nn.Unflatten(1, (outputs * C, H, W))])
    if reconstruction.is_image:
        decoder.append(nn.Sigmoid())
    return Ends(encoder, decoder, (hidden[-1], 1, 1))
