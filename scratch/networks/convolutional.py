"""Strided convolutions down, transposed convolutions up."""

from itertools import pairwise

from scratch.layers import Conv2d, ConvTranspose2d
from scratch.layers.norm import NORM, norm_and_relu
from scratch.module import Sequential
from scratch.networks.network import Network, Networks, image_end, last_channels, outer_channels
from scratch.options.option import Option, Widths

CHANNELS = Option("channels", Widths(), [32, 64, 128], "channels of the layers, one number for each halving")


class Convolutions(Network, name="convolution"):
    """For each halving of the image a convolution with kernel 4, stride 2 and padding 1, and a ReLU.

    The decoder mirrors the encoder with transposed convolutions. Its last layer has `outputs` channels for each channel
    of the image, and a sigmoid follows if the output is the image. The first entries of `channels` are used, one for
    each halving. A norm, if one is chosen, comes before each ReLU. Then only the last layer has a bias; norm.py says
    why.
    """

    options = (CHANNELS, NORM)

    @staticmethod
    def build(task, options, dtype, rng):
        (H, W, C), norm = task.image_shape, options["norm"]
        widths = (C, *outer_channels(task, options["channels"]))
        settings = dict(kernel_size=4, stride=2, padding=1, dtype=dtype, rng=rng)
        inner = dict(bias=norm == "none", **settings)
        down, up = [], []
        for fewer, more in pairwise(widths):
            down += [Conv2d(fewer, more, **inner), *norm_and_relu(norm, more, dtype)]
            if up:
                up = [ConvTranspose2d(more, fewer, **inner), *norm_and_relu(norm, fewer, dtype), *up]
            else:
                up = [ConvTranspose2d(more, task.outputs * C, **settings), *image_end(task.is_image)]
        scale = 2 ** (len(widths) - 1)
        shape = (H // scale, W // scale, widths[-1])
        return Networks(Sequential(*down), Sequential(*up), shape, last_channels(task, options["channels"]))
