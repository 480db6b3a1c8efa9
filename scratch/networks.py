"""Pairs of an encoder and a decoder that mirror each other, for any bottleneck between them."""

from itertools import pairwise

from scratch.layers import Conv2d, ConvTranspose2d, ReLU, ResidualBlock, Shift, Sigmoid
from scratch.module import Sequential

NETWORKS = ("convolution", "residual", "linear")


def halvings(height, width, at_most):
    """How often both sides of an image can be halved exactly, up to `at_most` times."""
    count = 0
    while count < at_most and height % 2 ** (count + 1) == 0 and width % 2 ** (count + 1) == 0:
        count += 1
    if count == 0:
        raise ValueError(f"images of {height}×{width} cannot be halved: both sides have to be even")
    return count


def outer_channels(image_shape, channels, inside):
    """Those of `channels` that stay for the encoder and the decoder: one for each halving outside of the bottleneck,
    which itself makes `inside` of an image's halvings. Raises ValueError where none stays."""
    H, W, _ = image_shape
    depth = halvings(H, W, len(channels))
    if depth <= inside:
        raise ValueError(f"the model halves an image at least {inside + 1} times, and images of {H}×{W} with "
                         f"{len(channels)} channel count(s) can be halved {depth} time(s)")
    return channels[: depth - inside]


def convolutions(image_shape, channels, outputs, is_image, dtype, rng):
    """(encoder, decoder, feature shape): a convolution of kernel 4, stride 2, padding 1 and a ReLU for each halving.

    The decoder mirrors the encoder with transposed convolutions; its last layer has `outputs` channels for each of the
    image and is followed by a sigmoid where the output is the image. Of `channels` the first are used, one for each
    halving.
    """
    H, W, C = image_shape
    widths = (C, *channels[: halvings(H, W, len(channels))])
    settings = dict(kernel_size=4, stride=2, padding=1, dtype=dtype, rng=rng)
    down, up = [], []
    for fewer, more in zip(widths, widths[1:], strict=False):
        down += [Conv2d(fewer, more, **settings), ReLU()]
        up = [ConvTranspose2d(more, fewer if up else outputs * C, **settings), ReLU(), *up]
    up[-1:] = [Sigmoid()] if is_image else []
    scale = 2 ** (len(widths) - 1)
    return Sequential(*down), Sequential(*up), (H // scale, W // scale, widths[-1])


def residual(image_shape, options, latent_channels, outputs, is_image, dtype, rng):
    """(encoder, decoder, feature shape) of the VQ-VAE as published (arXiv:1711.00937, section 4.1), for `hidden` = h:

        encoder   x − ½, a convolution of kernel 4, stride 2 and a ReLU for each of the `halvings`, conv3×3, residual
                  blocks, ReLU; h channels, after the first halving h/2
        decoder   conv3×3 from `latent_channels`, residual blocks, ReLU, a transposed convolution of kernel 4, stride 2
                  for each halving with a ReLU between two of them, + ½

    The output is linear, so that an image may leave [0, 1]; where it is no image, nothing is added to it. It has
    `outputs` channels for each of the image. Raises ValueError where the image cannot be halved so often. The details
    are those of the authors' notebook; presets.py says where.
    """
    (H, W, C), hidden, depth = image_shape, options["hidden"], options["halvings"]
    if H % 2**depth or W % 2**depth:
        raise ValueError(f"images of {H}×{W} cannot be halved {depth} times: {2**depth} has to divide both sides")
    common = dict(dtype=dtype, rng=rng)
    halve = dict(kernel_size=4, stride=2, padding=1, **common)

    def blocks():
        narrow, count = options["residual_channels"], options["residual_blocks"]
        return [ResidualBlock(hidden, narrow, **common) for _ in range(count)]

    widths = [C, hidden // 2, *[hidden] * (depth - 1)]
    down = [Shift(-0.5)]
    for before, after in pairwise(widths):
        down += [Conv2d(before, after, **halve), ReLU()]
    down += [Conv2d(widths[-1], hidden, 3, padding=1, **common), *blocks(), ReLU()]

    up = [Conv2d(latent_channels, hidden, 3, padding=1, **common), *blocks()]
    for before, after in pairwise([hidden, *widths[-2:0:-1], outputs * C]):
        up += [ReLU(), ConvTranspose2d(before, after, **halve)]
    if is_image:
        up.append(Shift(0.5))
    return Sequential(*down), Sequential(*up), (H // 2**depth, W // 2**depth, hidden)


def linear(image_shape, model, likelihood):
    """(encoder, decoder, feature shape) without any layer: the bottleneck's linear maps are all there is.

    Around the AE's dense code that is x ≈ (x W₁ + b₁) W₂ + b₂. Its least squared error is that of PCA with as many
    components, and at the least error the rows of W₂ span the space of the first principal components; they need not
    be the components themselves, as z → z A with any invertible A leaves the output as it is. There is no sigmoid: an
    output may leave [0, 1]. (Bourlard & Kamp 1988, doi:10.1007/BF00332918; Baldi & Hornik 1989,
    doi:10.1016/0893-6080(89)90014-2, who show that every other stationary point is a saddle)

    Around the VAE's Gaussian code it is the linear VAE. Raises ValueError for a model whose code is a grid, and for a
    likelihood whose output is no image.
    """
    check_linear(model, likelihood)
    return Sequential(), Sequential(), image_shape


def check_linear(model, likelihood):
    """Raises ValueError where no linear network can stand around the model's bottleneck."""
    if model not in ("ae", "vae"):
        raise ValueError(f"--network linear is for ae and vae, whose code is a vector; that of {model} is a grid")
    if likelihood == "logit_laplace":
        raise ValueError("--network linear has one output for each number of the image, and --likelihood logit_laplace "
                         "asks for two")
