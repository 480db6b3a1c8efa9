"""Images of your own: what is accepted, how it is split, and what each mistake is answered with."""

import numpy as np
import pytest

from data_utils import DataError, as_images, from_array, to_float

RNG = np.random.default_rng(0)


def bytes_of(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_bytes_stay_as_they_are(channels):
    images = bytes_of(20, 8, 8, channels)
    data = from_array(images)
    assert data.train.dtype == data.held_out.dtype == np.uint8
    assert data.describe() == f"array: 18 training and 2 held-out images of 8×8×{channels}"
    assert data.factors == data.held_out_factors == {}
    assert (data.image_size, data.channels) == (8, channels)


def test_grey_images_get_their_axis():
    images = bytes_of(20, 8, 8)
    data = from_array(images, held_out=bytes_of(3, 8, 8))
    np.testing.assert_array_equal(data.train, images[..., None])
    assert data.held_out.shape == (3, 8, 8, 1)


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", ">f8"])
def test_floats_stay_floats(dtype):
    images = np.linspace(0, 1, 20 * 8 * 8).reshape(20, 8, 8).astype(dtype)
    data = from_array(images, held_out=5)
    assert data.train.dtype == np.dtype(dtype).newbyteorder("=")
    together = np.concatenate([data.train, data.held_out])
    assert sorted(together.ravel()) == sorted(images.ravel())
    assert to_float(data.train, np.float32).dtype == np.float32


def test_images_need_not_be_square():
    assert from_array(bytes_of(4, 8, 12, 3)).describe().endswith("8×12×3")


def test_an_array_that_is_not_contiguous_becomes_so():
    data = from_array(bytes_of(4, 3, 8, 8).transpose(0, 2, 3, 1), held_out=bytes_of(4, 3, 8, 8).transpose(0, 2, 3, 1))
    assert data.train.flags.c_contiguous and data.held_out.flags.c_contiguous


def numbered(count):
    return np.arange(count, dtype=np.uint8)[:, None, None] * np.ones((4, 4), np.uint8)


def numbers(images):
    return images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("count", "given", "held_out"), [(2, None, 1), (9, None, 1), (35, None, 3), (9, 8, 8), (9, np.int64(2), 2)]
)
def test_each_image_is_in_one_part_and_parts_keep_the_order(count, given, held_out):
    data = from_array(numbered(count), held_out=given)
    assert len(data.held_out) == held_out
    assert numbers(data.train) == sorted(numbers(data.train))
    assert numbers(data.held_out) == sorted(numbers(data.held_out))
    assert sorted(numbers(data.train) + numbers(data.held_out)) == list(range(count))


def test_the_seed_chooses_what_is_held_out():
    chosen = [tuple(numbers(from_array(numbered(50), seed=seed).held_out)) for seed in (0, 0, 1, 2)]
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) == 3


def test_held_out_images_of_their_own():
    train, held_out = bytes_of(1, 8, 8, 3), bytes_of(5, 8, 8, 3)
    data = from_array(train, held_out=held_out, name="mine")
    np.testing.assert_array_equal(data.train, train)
    np.testing.assert_array_equal(data.held_out, held_out)
    assert data.name == "mine"


# --- refusals -------------------------------------------------------------------------------------------------------

FLOATS = np.full((4, 8, 8, 3), 0.5)


def with_value(value):
    images = FLOATS.copy()
    images[2, 3, 4, 1] = value
    return images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([[1, 2], [3, 4]], "images of type list were given: expected a NumPy array"),
        (None, "images of type NoneType were given"),
        (bytes_of(8, 8), r"shape \(8, 8\) were given: expected \(N, H, W, C\), or \(N, H, W\) if grey"),
        (bytes_of(1, 2, 3, 4, 5), r"shape \(1, 2, 3, 4, 5\)"),
        (np.array(3), r"shape \(\) were given"),
        (bytes_of(0, 8, 8, 3), r"shape \(0, 8, 8, 3\) were given: expected at least one image"),
        (bytes_of(4, 8, 8, 0), r"shape \(4, 8, 8, 0\) were given: expected at least one"),
        (bytes_of(4, 3, 8, 8), r"channels first: expected \(N, H, W, C\), so give images.transpose\(0, 2, 3, 1\)"),
        (bytes_of(4, 1, 28, 28), "channels first"),
        (FLOATS.astype(np.int64), "type int64 were given: expected uint8 in 0..255, or float32 or float64"),
        (FLOATS.astype(bool), "type bool were given"),
        (FLOATS.astype(np.float16), "type float16 were given"),
        (FLOATS.astype(object), "type object were given"),
        (FLOATS.astype(complex), "type complex128 were given"),
        (FLOATS * 510, "float64 with values from 255 to 255 were given: expected floats in .0, 1.; divide them by 255"),
        (with_value(-1), "values from -1 to 0.5 were given: expected floats in .0, 1.; scale them first"),
        (with_value(1.001), "values from 0.5 to 1.001 .*; scale them first"),
        (with_value(300), "values from 0.5 to 300 were given: .*; scale them first"),
        (with_value(np.nan), "NaN among their values were given"),
        (with_value(np.inf), "values from 0.5 to inf"),
    ],
)
def test_what_is_not_images_is_refused(images, message):
    for function in (as_images, from_array):
        with pytest.raises(DataError, match=message):
            function(images)


def test_held_out_images_are_checked_under_their_name():
    with pytest.raises(DataError, match="held-out images of type float64 with NaN among their values"):
        from_array(FLOATS, held_out=with_value(np.nan))
    with pytest.raises(DataError, match=r"held-out images of shape \(8, 8\) were given"):
        from_array(FLOATS, held_out=bytes_of(8, 8))


@pytest.mark.parametrize("held_out", [0, -1, 10, 11, True])
def test_a_number_held_out_that_cannot_be(held_out):
    message = f"of 10 images, a number of held-out ones of {held_out} was given: expected an integer from 1 to 9"
    with pytest.raises(DataError, match=message):
        from_array(bytes_of(10, 8, 8), held_out=held_out)


@pytest.mark.parametrize("held_out", [0.1, "3", [1, 2]])
def test_held_out_of_another_type(held_out):
    with pytest.raises(DataError, match="expected a number of images, or an array of images"):
        from_array(bytes_of(10, 8, 8), held_out=held_out)


@pytest.mark.parametrize("held_out", [bytes_of(2, 8, 8), bytes_of(2, 8, 12, 3), FLOATS], ids=["C", "W", "type"])
def test_held_out_images_that_do_not_fit(held_out):
    with pytest.raises(DataError, match=r"held-out images of .* beside images of 8×8×3 and type uint8: expected one"):
        from_array(bytes_of(10, 8, 8, 3), held_out=held_out)


def test_a_single_image():
    with pytest.raises(DataError, match="one image was given: two are needed"):
        from_array(bytes_of(1, 8, 8, 3))


@pytest.mark.parametrize(("given", "message"), [({"seed": -1}, "the seed -1"), ({"name": 3}, "the name 3 was given")])
def test_a_seed_and_a_name_that_cannot_be(given, message):
    with pytest.raises(DataError, match=message):
        from_array(bytes_of(10, 8, 8, 3), **given)
