"""What every data set shares: its container, and the way from stored bytes to batches."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from data_utils.errors import LARGEST_COUNT, DataError, integer, printable

__all__ = ["Data", "DataError", "batches", "to_float"]


@dataclass(frozen=True, eq=False)  # eq=False: comparing arrays gives arrays, not one truth value
class Data:
    """One data set, split in two.

    train             (N, H, W, C), the images to learn from: uint8 in 0..255, or floats in [0, 1] if they came so
    held_out          (M, H, W, C), images never trained on, stored alike
    factors           name -> array of length N, what is known of each training image: the generative factors of
                      ``shapes``, the "label" of a torchvision set, {} for a folder and for an array
    held_out_factors  the same for the held-out images, arrays of length M
    value_names       name -> what the values 0, 1, 2, ... of a factor are called, such as the kinds of ``shapes``
    texts             a caption of each training image, where the data has its own, as a folder may have
    held_out_texts    the same for the held-out images
    texts_missing     why a folder has no texts, in one sentence
    skipped           a sentence about each picture of a folder that could not be read, where ``load`` was to skip them
    determines        options of a model that follow from the examples, such as how many codes there are

    H = W for every set that ``load`` gives; an array of your own may have H ≠ W.
    """

    name: str
    train: np.ndarray
    held_out: np.ndarray
    factors: dict[str, np.ndarray]
    held_out_factors: dict[str, np.ndarray]
    value_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    texts: tuple[str, ...] | None = None
    held_out_texts: tuple[str, ...] | None = None
    texts_missing: str = ""
    skipped: tuple[str, ...] = ()
    determines: dict[str, object] = field(default_factory=dict)

    def named(self, factor: str, value) -> str:
        """What a value of a factor is called: "square" of the shape 1; a value without a name as a number."""
        names = self.value_names.get(factor, ())
        return names[int(value)] if value in range(len(names)) else f"{value:g}"

    @property
    def image_size(self) -> int:
        """Height of every image in pixels, which is the width of a square one, too."""
        return self.train.shape[1]

    @property
    def channels(self) -> int:
        """C: 1 for grey images, 3 for red, green, blue."""
        return self.train.shape[3]

    def describe(self) -> str:
        """One line, such as "shapes: 10000 training and 1000 held-out images of 32×32×3"."""
        size = "×".join(map(str, self.train.shape[1:]))
        return f"{printable(self.name)}: {len(self.train)} training and {len(self.held_out)} held-out images of {size}"


def to_float(images: np.ndarray, dtype) -> np.ndarray:
    """Stored images as floats in [0, 1] of the wanted ``dtype``, same shape: x = byte / 255.

    Images that are stored as floats in [0, 1] are copied into ``dtype`` and otherwise stay as they are.

    The conversion comes before the division because uint8 / 255 alone would pass through float64; the plain 255 takes
    on the dtype of the array.

    Raises DataError for images of another type than uint8 and floats, and for a ``dtype`` that is not a float.
    """
    if np.dtype(dtype).kind != "f":
        raise DataError(f"images were wanted as {np.dtype(dtype)}: expected a float type, such as float32")
    if images.dtype == np.uint8:
        return images.astype(dtype) / 255
    if images.dtype.kind == "f":
        return images.astype(dtype)
    raise DataError(
        f"images of type {images.dtype} were given: expected uint8 in 0..255 or floats in [0, 1]; convert them first"
    )


def batches(count: int, batch_size: int, seed: int, epoch: int, shuffle: bool = True) -> Iterator[np.ndarray]:
    """Cut the indices 0..count-1 into batches: yields integer arrays of length ``batch_size``, the last one shorter
    if it must be.

    The order follows from (seed, epoch) alone. So a run that is resumed at epoch 7 sees what an unbroken run would
    have seen. Without ``shuffle`` the order is 0, 1, 2, ...

    Raises DataError unless count, seed and epoch are integers ≥ 0 and batch_size is an integer ≥ 1.
    """
    count = integer(count, "a number of images of", 0, LARGEST_COUNT)
    batch_size = integer(batch_size, "a batch size of", 1)
    seed, epoch = integer(seed, "the seed", 0), integer(epoch, "the epoch", 0)
    # A spawn key, not [seed, epoch]: NumPy pads lists of seeds with zeros, and [seed, epoch, 0] would be the same.
    stream = np.random.SeedSequence(seed, spawn_key=(epoch,))
    order = np.random.default_rng(stream).permutation(count) if shuffle else np.arange(count)
    return (order[start : start + batch_size] for start in range(0, count, batch_size))
