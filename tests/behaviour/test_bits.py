"""The cost of an image: how bits are counted, and how the JPEG of the same error is found."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from scratch.instruments import bits
from tests.support.tiny import images


@pytest.fixture(scope="module")
def pixels():
    return np.rint(255 * images(12)).astype(np.uint8)


def test_fixed_bits():
    assert bits.fixed_bits((4, 4), 256) == 128
    assert bits.fixed_bits((8, 8), 512) == 576
    assert bits.fixed_bits((3, 5), 3) == pytest.approx(15 * math.log2(3))


def test_entropy_bits_by_hand():
    """Of four codes the training set uses 0 five times and 1 once: p = 6/10, 2/10, 1/10, 1/10."""
    training = np.array([[[0, 0, 0]], [[0, 0, 1]]])
    held_out = np.array([[[0, 0, 1]], [[2, 0, 0]]])
    expected = -(4 * math.log2(0.6) + math.log2(0.2) + math.log2(0.1)) / 2
    assert bits.entropy_bits(training, held_out, 4) == pytest.approx(expected, rel=1e-12)


def test_codes_used_alike_cost_what_their_number_says_and_a_code_never_seen_has_a_price():
    training = np.arange(16).reshape(1, 4, 4)
    held_out = np.random.default_rng(0).integers(0, 16, (7, 4, 4))
    assert bits.entropy_bits(training, held_out, 16) == pytest.approx(bits.fixed_bits((4, 4), 16), rel=1e-12)
    assert math.isfinite(bits.entropy_bits(np.zeros((5, 4, 4), np.int64), held_out, 16))


def test_frequencies_are_those_of_the_training_codes():
    """The held-out codes' own frequencies would give too few bits: they already know these images."""
    rare, common = np.full((3, 2, 2), 1), np.zeros((100, 2, 2), np.int64)
    assert bits.entropy_bits(common, rare, 2) > 4 * 8 > 4 > bits.entropy_bits(rare, rare, 2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [5, 50, 95])
def test_a_jpeg_s_header_is_that_of_every_image_of_its_size_and_quality(pixels, quality, channels):
    """The file of a constant grey image is hardly larger than the header."""
    files = [bits.compressed(image[..., :channels], format="jpeg", quality=quality) for image in pixels]
    grey = bits.compressed(np.full((16, 16, channels), 128, np.uint8), format="jpeg", quality=quality)
    (header,) = {bits.jpeg_header(file) for file in [*files, grey]}
    assert header < len(grey) <= header + 12
    assert files[0][: header - 2] == grey[: header - 2] and files[0][-2:] == grey[-2:] == b"\xff\xd9"
    assert all(len(file) > header for file in files)


def test_jpeg_counts_its_files_and_its_errors(pixels):
    found = bits.jpeg(pixels, 30)
    files = [bits.compressed(image, format="jpeg", quality=30) for image in pixels]
    decoded = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])
    assert found["bits"] == 8 * np.mean([len(file) for file in files])
    assert found["bits"] - found["bits_without_header"] == 8 * bits.jpeg_header(files[0])
    assert found["mse"] == pytest.approx(((decoded / 255 - pixels / 255) ** 2).mean(), rel=1e-12)


@pytest.mark.parametrize("quality", [1, 7, 40, 93, 100])
def test_the_search_finds_the_quality_of_an_error(pixels, quality):
    mse = bits.jpeg(pixels, quality)["mse"]
    assert bits.jpeg_of_error(pixels, mse)["mse"] == pytest.approx(mse)


def test_an_error_out_of_jpeg_s_reach_gets_the_nearest(pixels):
    assert bits.jpeg_of_error(pixels, 0.0)["quality"] == 100
    assert bits.jpeg_of_error(pixels, 1.0)["quality"] <= 3  # where the error no longer rises


def test_png_counts_its_files(pixels):
    sizes = [len(bits.compressed(image, format="png", optimize=True)) for image in pixels]
    assert bits.png_bits(pixels) == 8 * np.mean(sizes)
    with Image.open(io.BytesIO(bits.compressed(pixels[0], format="png"))) as back:
        np.testing.assert_array_equal(np.asarray(back), pixels[0])
