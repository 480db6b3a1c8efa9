"""Convolutions that keep an image's size; pooling and upsampling change it."""

from itertools import pairwise

from scratch.layers import Conv2d, MaxPool2d, Upsample
from scratch.layers.norm import NORM, norm_and_relu
from scratch.module import Sequential
from scratch.networks.convolutional import CHANNELS
from scratch.networks.network import Network, Networks, image_end, last_channels, outer_channels


class Pooling(Network, name="pooling"):
    """Like Convolutions, but no convolution changes an image's size:

        encoder   for each halving conv3×3, ReLU, the maximum of each 2×2 pixels
        decoder   for each halving every pixel repeated 2×2 times, conv3×3, and a ReLU except after the last

    Upsampling treats all pixels alike. The taps of a strided transposed convolution can overlap unevenly and leave a
    pattern. (Odena et al. 2016, Deconvolution and checkerboard artifacts)
    """

    options = (CHANNELS, NORM)

    @staticmethod
    def build(task, options, dtype, rng):
        (H, W, C), norm = task.image_shape, options["norm"]
        widths = (C, *outer_channels(task, options["channels"]))
        settings = dict(kernel_size=3, padding=1, dtype=dtype, rng=rng)
        inner = dict(bias=norm == "none", **settings)
        down, up = [], []
        for fewer, more in pairwise(widths):
            down += [Conv2d(fewer, more, **inner), *norm_and_relu(norm, more, dtype), MaxPool2d(2)]
            if up:
                up = [Conv2d(more, fewer, **inner), *norm_and_relu(norm, fewer, dtype), *up]
            else:
                up = [Conv2d(more, task.outputs * C, **settings), *image_end(task.is_image)]
            up.insert(0, Upsample(scale_factor=2))
        scale = 2 ** (len(widths) - 1)
        shape = (H // scale, W // scale, widths[-1])
        return Networks(Sequential(*down), Sequential(*up), shape, last_channels(task, options["channels"]))
