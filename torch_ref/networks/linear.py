"""No layer at all."""

from torch import nn

from torch_ref.networks.network import Ends, network


@network("linear", {}, has_grid=False)
def linear(image_shape, reconstruction, bottleneck, options, dtype):
    """Two empty ends: the linear maps of the bottleneck are all there is. Raises ValueError for a likelihood that needs
    several outputs for each number of the image."""
    if reconstruction.outputs > 1:
        raise ValueError(f"network is 'linear', which has one output for each number of the image: "
                         f"{reconstruction.__name__} needs {reconstruction.outputs}; choose another network or "
                         f"likelihood")
    H, W, C = image_shape
    return Ends(nn.Sequential(), nn.Sequential(), (C, H, W))
