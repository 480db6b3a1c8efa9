"""The networks of the VQ-VAE as published: residual blocks between strided convolutions."""

from itertools import pairwise

from scratch.layers import Conv2d, ConvTranspose2d, ResidualBlock, Shift
from scratch.layers.norm import NORM, norm_and_relu
from scratch.module import Sequential
from scratch.networks.network import Network, Networks
from scratch.options.errors import InputError
from scratch.options.option import MOST_BLOCKS, Option, Whole

SOURCE = "arXiv:1711.00937"


class Residual(Network, name="residual"):
    """The networks of van den Oord et al. (2017, arXiv:1711.00937, section 4.1):

        encoder   x − ½, a convolution of kernel 4, stride 2 and a ReLU for each of the `halvings`, conv3×3, residual
                  blocks, ReLU; `hidden` channels, after the first halving hidden/2
        decoder   conv3×3 from the code vectors, or from `hidden` channels, residual blocks, ReLU, a
                  transposed convolution of kernel 4, stride 2 for each halving with a ReLU between two of them, + ½

    The output is linear, so an image may leave [0, 1]. The + ½ is left out if the output is not the image. The output
    has `outputs` channels for each channel of the image. The details are those of the authors' notebook, which
    options/presets.py names. Their networks have no norm. Here one may come before each ReLU, and then only the last
    layer has a bias. Raises InputError if the image cannot be halved `halvings` times.
    """

    options = (
        Option("halvings", Whole(1, 30), 2, "how often the sides of an image are halved", source=SOURCE),
        Option("hidden", Whole(2), 128, "channels of the layers", source=SOURCE),
        Option("residual_blocks", Whole(0, MOST_BLOCKS), 2, "residual blocks on each side", source=SOURCE),
        Option("residual_channels", Whole(1), 32, "channels inside a residual block", source=SOURCE),
        NORM,
    )
    takes_codes = True

    @staticmethod
    def build(task, options, dtype, rng):
        (H, W, C), hidden, depth = task.image_shape, options["hidden"], options["halvings"]
        norm, latent_channels = options["norm"], hidden if task.code_dim is None else task.code_dim
        if H % 2**depth or W % 2**depth:
            raise InputError(f"images of {H}×{W} cannot be halved {depth} times: {2**depth} has to divide both sides. "
                             f"Choose another image size.")
        common = dict(dtype=dtype, rng=rng)
        inner = dict(bias=norm == "none", **common)
        halve = dict(kernel_size=4, stride=2, padding=1)

        def blocks():
            narrow, count = options["residual_channels"], options["residual_blocks"]
            return [ResidualBlock(hidden, narrow, norm=norm, **common) for _ in range(count)]

        widths = [C, hidden // 2, *[hidden] * (depth - 1)]
        down = [Shift(-0.5)]
        for before, after in pairwise(widths):
            down += [Conv2d(before, after, **halve, **inner), *norm_and_relu(norm, after, dtype)]
        down += [Conv2d(widths[-1], hidden, 3, padding=1, **inner), *blocks(), *norm_and_relu(norm, hidden, dtype)]

        up = [Conv2d(latent_channels, hidden, 3, padding=1, **inner), *blocks(), *norm_and_relu(norm, hidden, dtype)]
        way_up = [hidden, *widths[-2:0:-1]]
        for before, after in pairwise(way_up):
            up += [ConvTranspose2d(before, after, **halve, **inner), *norm_and_relu(norm, after, dtype)]
        up.append(ConvTranspose2d(way_up[-1], task.outputs * C, **halve, **common))
        if task.is_image:
            up.append(Shift(0.5))
        return Networks(Sequential(*down), Sequential(*up), (H // 2**depth, W // 2**depth, hidden), hidden)
