"""Images of your own, as NumPy arrays: checked, in one form, and split in two."""

import numpy as np

from data_utils.core import Data
from data_utils.errors import DataError, integer, shown

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def from_array(
    images: np.ndarray, held_out: int | np.ndarray | None = None, seed: int = 0, name: str = "array"
) -> Data:
    """A data set of your own images: (N, H, W, C), or (N, H, W) if they are grey.

    images    uint8 in 0..255, or float32 or float64 in [0, 1]; they are stored in the type that they have
    held_out  how many of the images are held out, chosen by the seed (a tenth unless given, at least one); or an array
              of other images of the same size and type, and then all of ``images`` are for training
    seed      an integer ≥ 0
    name      what ``describe`` and the pictures call the data set

    Both parts keep the order of the array.

    Raises DataError for anything else, in one sentence.
    """
    seed = integer(seed, "the seed", 0)
    if not isinstance(name, str):
        raise DataError(f"the name {shown(name)} was given: expected a string")
    images = as_images(images)
    if isinstance(held_out, np.ndarray) and held_out.ndim:  # without axes it is a number
        train, held_out = images, as_images(held_out, "held-out images")
        if held_out.shape[1:] != train.shape[1:] or held_out.dtype != train.dtype:
            raise DataError(
                f"held-out images of {_described(held_out)} were given beside images of {_described(train)}: "
                f"expected one size and one type for both"
            )
        return Data(name, train, held_out, {}, {})
    if len(images) < 2:
        raise DataError("one image was given: two are needed, one of them to be held out, or give held_out an array")
    if isinstance(held_out, (list, tuple, str, float)):
        raise DataError(f"held_out {shown(held_out)} was given: expected a number of images, or an array of images")
    count = max(1, len(images) // 10)
    if held_out is not None:
        count = integer(held_out, f"of {len(images)} images, a number of held-out ones of", 1, len(images) - 1)
    order = np.random.default_rng(seed).permutation(len(images))
    return Data(name, images[np.sort(order[count:])], images[np.sort(order[:count])], {}, {})


def as_images(array: np.ndarray, what: str = "images") -> np.ndarray:
    """An array of images in the form of ``Data``: (N, H, W, C), where (N, H, W) gets an axis for one channel.

    uint8 in 0..255 stays, and so do float32 and float64 in [0, 1].

    Raises DataError, naming ``what``, for anything else: another type, another number of axes, channels in front of
    height and width, no images, NaN, or floats outside [0, 1].
    """
    if not isinstance(array, np.ndarray):
        raise DataError(
            f"{what} of type {type(array).__name__} were given: expected a NumPy array (N, H, W, C) or (N, H, W)"
        )
    if array.ndim not in (3, 4):
        raise DataError(f"{what} of shape {array.shape} were given: expected (N, H, W, C), or (N, H, W) if grey")
    if 0 in array.shape:
        raise DataError(f"{what} of shape {array.shape} were given: expected at least one image of at least one pixel")
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3) and array.shape[2] > 3:
        raise DataError(
            f"{what} of shape {array.shape} were given, which has its channels first: expected (N, H, W, C), "
            f"so give images.transpose(0, 2, 3, 1)"
        )
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype in FLOATS:
        _check_range(array, what)
    elif array.dtype != np.uint8:
        raise DataError(
            f"{what} of type {array.dtype} were given: expected uint8 in 0..255, or float32 or float64 in [0, 1]; "
            f"convert them first, as by images.astype(np.uint8)"
        )
    return np.ascontiguousarray(array if array.ndim == 4 else array[..., None])


def _check_range(floats: np.ndarray, what: str) -> None:
    low, high = float(floats.min()), float(floats.max())  # either is NaN as soon as one value is
    if 0 <= low and high <= 1:
        return
    values = "NaN among their values" if low != low else f"values from {low:g} to {high:g}"
    advice = "find out where it comes from" if low != low else "scale them first"
    if low >= 0 and 2 < high <= 255:
        advice = "divide them by 255"
    raise DataError(f"{what} of type {floats.dtype} with {values} were given: expected floats in [0, 1]; {advice}")


def _described(images: np.ndarray) -> str:
    return f"{'×'.join(map(str, images.shape[1:]))} and type {images.dtype}"
