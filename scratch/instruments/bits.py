"""The bits of an image as codes, beside the bits of its JPEG and PNG files.

A grid of I·J codes out of K costs I·J·log₂ K bits where every code is sent with equally many bits, and G times as many
with G codes a position. A frequent code can
be sent with fewer, −log₂ p (Shannon 1948); an arithmetic coder comes arbitrarily near to that. Sender and receiver have
to know p before the image. So p is counted on the training images. One is added to each count (Laplace's rule), so that
a code which only a held-out image uses has a finite cost:

    pₖ = (countₖ + 1) / (Σ count + K)        bits of an image = −Σ over its positions log₂ pₖ

This is the cross-entropy of the held-out codes under the training codes' frequencies. The grids of a model with several
levels are added up, and so are the groups of a grid, each with frequencies of its own. Positions and groups count as
independent; a learned prior over whole grids needs fewer bits (models/code_prior.py).

Where the decoder gives a probability p(x | codes) of the 8-bit values, the pixels can be sent as well, in
−log₂ p(x | codes) bits. Codes and pixels together are then a lossless code of the image, of

    (bits of the codes + bits of the pixels) / (H·W·C)

bits per dimension. That compares models whose codes differ in number.

The weights of the model and the program of JPEG are not counted. A JPEG file carries its tables in its header: 625
bytes of a colour file from Pillow, which is most of an image of 32×32. Sizes are given with and without the header.
"""

import io
import math

import numpy as np
from PIL import Image

from data_utils import printable
from scratch.bottlenecks.vector_quantizer import code_counts, of_each_codebook
from scratch.instruments.coder import pixel_bits
from scratch.losses import psnr
from scratch.options.errors import InputError

QUALITIES = range(1, 101)  # of JPEG, as Pillow takes them


def fixed_bits(shape, codes):
    """Bits of a grid of this shape, (I, J) or (I, J, G), with equally many bits for each of K codes: I·J·G·log₂ K."""
    return math.prod(shape) * math.log2(codes)


def entropy_bits(training, held_out, codes):
    """Bits of an image's grid, averaged over `held_out` (M, I, J) or (M, I, J, G), by the smoothed frequencies of
    `training`: those of each codebook."""
    pairs = zip(of_each_codebook(training), of_each_codebook(held_out), strict=True)
    return float(sum(code_bits(known, codes)[sent].sum() for known, sent in pairs) / len(held_out))


def code_bits(training, codes):
    """−log₂ p of each code, (K,), by its smoothed frequency in `training`."""
    counts = code_counts(training, codes) + 1
    return -np.log2(counts / counts.sum())


def bits_of_rows(model, training, held_out):
    """{"bits_fixed", "bits_by_frequency"}: the bits of an image's codes without the prior, for the rows (N, 1 + S + T)
    that a prior learns from. Each grid, and each group of codes, has frequencies of its own."""
    fixed = (model.length - model.text_length) * math.log2(model.codes)
    training, held_out = training[:, None, 1:], held_out[:, None, 1:]  # each stretch a grid of one row
    by_frequency = sum(entropy_bits(training[..., stretch], held_out[..., stretch], model.codes)
                       for part, stretch in model.stretches() if part is not model.text)
    return {"bits_fixed": fixed, "bits_by_frequency": by_frequency}


def picture(pixels):
    """An image (H, W, C) uint8 as Pillow's."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def compressed(pixels, **settings):
    """The bytes of the file that Pillow makes of an image (H, W, C) uint8."""
    buffer = io.BytesIO()
    picture(pixels).save(buffer, **settings)
    return buffer.getvalue()


def png_bits(images):
    """Bits of an image (H, W, C) uint8 as a PNG file, averaged over images."""
    return 8 * float(np.mean([len(compressed(image, format="png", optimize=True)) for image in images]))


def jpeg_header(file):
    """The number of bytes of a JPEG file that do not depend on its image: all segments before the data of its scan, and
    the end marker. They are the same for all images of one size and one quality.
    """
    position, marker = 2, None  # behind the start marker
    while marker != 0xDA:  # of the scan; its data follow
        marker, length = file[position + 1], int.from_bytes(file[position + 2 : position + 4], "big")
        position += 2 + length
    return position + 2


def jpeg(images, quality):
    """{quality, mse, bits, bits_without_header} of images (N, H, W, C) uint8 as Pillow's JPEG files, all averages."""
    squared_error, size, header = 0, 0, 0
    for image in images:
        file = compressed(image, format="jpeg", quality=quality)
        with Image.open(io.BytesIO(file)) as decoded:
            difference = np.asarray(decoded).reshape(image.shape).astype(np.int64) - image
        squared_error += int((difference * difference).sum())
        size, header = size + len(file), header + jpeg_header(file)
    return {
        "quality": quality,
        "mse": squared_error / 255**2 / images.size,
        "bits": 8 * size / len(images),
        "bits_without_header": 8 * (size - header) / len(images),
    }


def jpeg_of_error(images, mse):
    """`jpeg` at the quality whose mean squared error over all images is nearest to `mse`.

    The error falls as the quality rises, so the search halves the range of qualities until two neighbours are left.
    """
    low, high = QUALITIES[0], QUALITIES[-1]
    tried = {quality: jpeg(images, quality) for quality in (low, high)}
    while high - low > 1:
        middle = (low + high) // 2
        tried[middle] = jpeg(images, middle)
        if tried[middle]["mse"] > mse:
            low = middle
        else:
            high = middle
    return min(tried.values(), key=lambda found: abs(found["mse"] - mse))


def mean_squared_error(trained, images, latents):
    """The mean squared error of images decoded from the latents of stored images, as floats in [0, 1]. The PSNR of
    `evaluate` is that of the same error."""
    difference = trained.decode(latents) - trained.floats(images)
    return float((difference * difference).sum(dtype=np.float64) / images.size)


def check_pictures(data):
    """Raises InputError where the held-out images of `data` are not those of a JPEG or PNG file: uint8, of 1 or 3
    channels."""
    images = data.held_out
    if images.dtype != np.uint8 or images.shape[-1] not in (1, 3):
        raise InputError(f"bits compares with JPEG and PNG, which hold uint8 images of 1 or 3 channels, and those of "
                         f"{printable(data.name)} are {images.dtype} of {images.shape[-1]}: choose images of uint8.")


def rates(trained, data):
    """The bits of the held-out images of `data`: {name: number, text or dict of these}. A PSNR may be infinite.

    Raises InputError for a model without codes, and for images that JPEG and PNG cannot hold.
    """
    trained.needs_images("bits")
    if not trained.codes:
        raise InputError(f"bits counts codes, and the latents of {trained.options['model']} are numbers: name a run of "
                         f"a model with a codebook.")
    check_pictures(data)
    by_level = trained.model.bottleneck.by_level
    held_out = trained.encode(data.held_out)
    training, K = by_level(trained.encode(data.train)), trained.codes
    levels = {
        level: {"grid": list(grid.shape[1:]), "fixed": fixed_bits(grid.shape[1:], K),
                "entropy": entropy_bits(training[level], grid, K)}
        for level, grid in by_level(held_out).items()
    }
    mse = mean_squared_error(trained, data.held_out, held_out)
    nearest = jpeg_of_error(data.held_out, mse)
    found = {
        "model": trained.options["model"], "data": data.name, "images": len(data.held_out),
        "training_images": len(data.train), "image_shape": list(data.held_out.shape[1:]), "codes": K,
        "levels": levels,
        "fixed": sum(level["fixed"] for level in levels.values()),
        "entropy": sum(level["entropy"] for level in levels.values()),
        "mse": mse, "psnr": psnr(mse),
        "png": png_bits(data.held_out),
        "jpeg": {**nearest, "psnr": psnr(nearest["mse"])},
    }
    if trained.model.reconstruction.of_grey_levels:
        found["pixels"] = float(pixel_bits(trained, data.held_out, held_out).mean())
    return found
