"""Patches and attention."""

from torch import nn

from torch_ref.layers import GridPositions, ToGrid, ToTokens, TransformerBlock
from torch_ref.networks.network import Ends, network
from torch_ref.options import whole


@network("transformer", {"patch": whole(4), "width": whole(96), "heads": whole(4), "blocks": whole(2)})
def transformer(image_shape, reconstruction, bottleneck, options, dtype):
    """Ends of transformer blocks over the patches of an image. Raises ValueError where patches do not fill the image,
    or heads do not divide the width."""
    H, W, C = image_shape
    patch, width, heads = options["patch"], options["width"], options["heads"]
    side = patch * 2**bottleneck.halvings_inside
    if H % side or W % side:
        raise ValueError(f"patch is {patch}: patches cannot fill images of {H}×{W}")
    if width % heads:
        raise ValueError(f"heads is {heads}, which does not divide the width {width}")
    h, w = H // patch, W // patch

    def middle():
        blocks = [TransformerBlock(width, heads, 4 * width, dtype=dtype) for _ in range(options["blocks"])]
        norm = nn.LayerNorm(width, dtype=dtype)
        return [GridPositions(h, w, width, dtype=dtype), ToTokens(), *blocks, norm, ToGrid(h, w)]

    encoder = nn.Sequential(nn.Conv2d(C, width, patch, patch, dtype=dtype), *middle())
    decoder = nn.Sequential(
        *middle(), nn.ConvTranspose2d(width, reconstruction.outputs * C, patch, patch, dtype=dtype))
    if reconstruction.is_image:
        decoder.append(nn.Sigmoid())
    return Ends(encoder, decoder, (width, h, w), width)
