"""Transformers: the image is a row of patches, and each patch attends to all others."""

from scratch.layers import Conv2d, ConvTranspose2d, GridPositions, LayerNorm, ToGrid, ToTokens, TransformerBlock
from scratch.module import Sequential
from scratch.networks.network import Network, Networks, image_end
from scratch.options.errors import InputError
from scratch.options.option import MOST_BLOCKS, Option, Whole


class Transformer(Network, name="transformer"):
    """Patches in, patches out:

        encoder   each patch × patch pixels become one vector (a convolution whose stride is its kernel), plus the
                  vectors of its place; then transformer blocks over all patches, and a norm
        decoder   plus the vectors of the place, transformer blocks, a norm; then each vector becomes patch × patch
                  pixels

    A sigmoid follows if the output is the image. The grid between them has a place for each patch, with `width`
    numbers.
    (Dosovitskiy et al. 2021, arXiv:2010.11929; with a quantizer: Yu et al. 2022, arXiv:2110.04627)
    """

    options = (
        Option("patch", Whole(1), 4, "side of a patch in pixels", source="arXiv:2010.11929"),
        Option("width", Whole(1), 96, "numbers for a patch between the blocks"),
        Option("heads", Whole(1), 4, "heads of attention; they divide the width"),
        Option("blocks", Whole(1, MOST_BLOCKS), 2, "transformer blocks of the encoder, and as many of the decoder"),
    )

    @staticmethod
    def build(task, options, dtype, rng):
        (H, W, C), patch, width = task.image_shape, options["patch"], options["width"]
        check(H, W, patch, 2**task.halvings_inside)
        if width % options["heads"]:
            raise InputError(f"{options['heads']} heads cannot share a width of {width} equally: choose a number that "
                             f"divides it.", "heads")
        h, w = H // patch, W // patch
        settings = dict(dtype=dtype, rng=rng)

        def middle():
            blocks = [TransformerBlock(width, options["heads"], 4 * width, **settings)
                      for _ in range(options["blocks"])]
            positions = GridPositions(h, w, width, **settings)
            return [positions, ToTokens(), *blocks, LayerNorm(width, dtype=dtype), ToGrid(h, w)]

        encoder = Sequential(Conv2d(C, width, patch, stride=patch, **settings), *middle())
        pixels = ConvTranspose2d(width, task.outputs * C, patch, stride=patch, **settings)
        return Networks(encoder, Sequential(*middle(), pixels, *image_end(task.is_image)), (h, w, width), width)


def check(H, W, patch, places):
    """Raise InputError unless patches fill images of H × W, with a multiple of `places` of them in each direction."""
    if H % (patch * places) or W % (patch * places):
        inside = f", in each direction a multiple of {places} of them" if places > 1 else ""
        raise InputError(f"{patch}: patches of {patch}×{patch} pixels cannot fill images of {H}×{W}{inside}. Choose "
                         f"another size of patches or images.", "patch")
