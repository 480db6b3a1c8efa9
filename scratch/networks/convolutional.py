"""Pairs of an encoder and a decoder that mirror each other, for any bottleneck between them."""

from itertools import pairwise

from scratch.layers import (
    Conv2d,
    ConvTranspose2d,
    Flatten,
    Linear,
    MaxPool2d,
    ReLU,
    ResidualBlock,
    Shift,
    Sigmoid,
    Unflatten,
    Upsample,
)
from scratch.layers.norm import norm_and_relu
from scratch.module import Sequential

NETWORKS = ("convolution", "pooling", "residual", "mlp", "linear")


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


def convolutions(image_shape, channels, outputs, is_image, norm, dtype, rng):
    """(encoder, decoder, feature shape): a convolution of kernel 4, stride 2, padding 1 and a ReLU for each halving.

    The decoder mirrors the encoder with transposed convolutions; its last layer has `outputs` channels for each of the
    image and is followed by a sigmoid where the output is the image. Of `channels` the first are used, one for each
    halving. A `norm` stands before each ReLU, and then only the last layer has a bias: a norm has its own.
    """
    H, W, C = image_shape
    widths = (C, *channels[: halvings(H, W, len(channels))])
    settings = dict(kernel_size=4, stride=2, padding=1, dtype=dtype, rng=rng)
    inner = dict(bias=norm == "none", **settings)
    down, up = [], []
    for fewer, more in pairwise(widths):
        down += [Conv2d(fewer, more, **inner), *norm_and_relu(norm, more, dtype)]
        if up:
            up = [ConvTranspose2d(more, fewer, **inner), *norm_and_relu(norm, fewer, dtype), *up]
        else:
            up = [ConvTranspose2d(more, outputs * C, **settings), *image_end(is_image)]
    scale = 2 ** (len(widths) - 1)
    return Sequential(*down), Sequential(*up), (H // scale, W // scale, widths[-1])


def pooling(image_shape, channels, outputs, is_image, norm, dtype, rng):
    """(encoder, decoder, feature shape), as `convolutions`, but no convolution changes an image's size:

        encoder   for each halving conv3×3, ReLU, the maximum of each 2×2 pixels
        decoder   for each halving every pixel four times, conv3×3, and a ReLU but for the last

    An upsampled image is the same wherever it is taken up, where the taps of a strided transposed convolution can leave
    a pattern of their own. (Odena et al. 2016, Deconvolution and checkerboard artifacts)
    """
    H, W, C = image_shape
    widths = (C, *channels[: halvings(H, W, len(channels))])
    settings = dict(kernel_size=3, padding=1, dtype=dtype, rng=rng)
    inner = dict(bias=norm == "none", **settings)
    down, up = [], []
    for fewer, more in pairwise(widths):
        down += [Conv2d(fewer, more, **inner), *norm_and_relu(norm, more, dtype), MaxPool2d(2)]
        if up:
            up = [Conv2d(more, fewer, **inner), *norm_and_relu(norm, fewer, dtype), *up]
        else:
            up = [Conv2d(more, outputs * C, **settings), *image_end(is_image)]
        up.insert(0, Upsample(scale_factor=2))
    scale = 2 ** (len(widths) - 1)
    return Sequential(*down), Sequential(*up), (H // scale, W // scale, widths[-1])


def mlp(image_shape, widths, outputs, is_image, dtype, rng):
    """(encoder, decoder, feature shape): a linear layer and a ReLU for each of the hidden `widths`.

    The decoder mirrors the encoder. Its first linear layer is the bottleneck's `expand`, so it begins with that one's
    ReLU. The features are a vector, which counts as a map of a single pixel. With a width of 400 and a bottleneck of 20
    numbers this is the usual VAE of MNIST: 784–400–20–400–784. (Kingma & Welling 2014, arXiv:1312.6114, appendix C)
    """
    H, W, C = image_shape
    last = widths[-1]
    down, up = [Flatten()], [ReLU(), Flatten()]
    for before, after in pairwise((H * W * C, *widths)):
        down += [Linear(before, after, dtype=dtype, rng=rng), ReLU()]
    for before, after in pairwise(widths[::-1]):
        up += [Linear(before, after, dtype=dtype, rng=rng), ReLU()]
    down.append(Unflatten(1, (last, 1, 1)))
    up += [Linear(widths[0], H * W * outputs * C, dtype=dtype, rng=rng), Unflatten(1, (outputs * C, H, W))]
    return Sequential(*down), Sequential(*up, *image_end(is_image)), (1, 1, last)


def image_end(is_image):
    """What ends a decoder: a sigmoid where its output is the image."""
    return [Sigmoid()] if is_image else []


def residual(image_shape, options, latent_channels, outputs, is_image, dtype, rng):
    """(encoder, decoder, feature shape) of the VQ-VAE as published (arXiv:1711.00937, section 4.1), for `hidden` = h:

        encoder   x − ½, a convolution of kernel 4, stride 2 and a ReLU for each of the `halvings`, conv3×3, residual
                  blocks, ReLU; h channels, after the first halving h/2
        decoder   conv3×3 from `latent_channels`, residual blocks, ReLU, a transposed convolution of kernel 4, stride 2
                  for each halving with a ReLU between two of them, + ½

    The output is linear, so that an image may leave [0, 1]; where it is no image, nothing is added to it. It has
    `outputs` channels for each of the image. Raises ValueError where the image cannot be halved so often. The details
    are those of the authors' notebook; presets.py says where. Theirs have no norm; one stands before each ReLU, and
    then only the last layer has a bias.
    """
    (H, W, C), hidden, depth = image_shape, options["hidden"], options["halvings"]
    norm = options.get("norm", "none")
    if H % 2**depth or W % 2**depth:
        raise ValueError(f"images of {H}×{W} cannot be halved {depth} times: {2**depth} has to divide both sides")
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
    up.append(ConvTranspose2d(way_up[-1], outputs * C, **halve, **common))
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
