"""What every data set shares: its container, its one error, and the way from stored bytes to batches."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


class DataError(Exception):
    """Data cannot be had; the message says in one sentence what was given, what is wrong and what to do."""


@dataclass(frozen=True, eq=False)  # eq=False: comparing arrays gives arrays, not one truth value
class Data:
    """One data set, split in two.

    train             (N, H, W, C) uint8, the images to learn from; H = W
    held_out          (M, H, W, C) uint8, images never trained on
    factors           name -> array of length N, what is known of each training image:
                      the generative factors of ``shapes``, the "label" of a torchvision set, {} for a folder
    held_out_factors  the same for the held-out images, arrays of length M
    """

    name: str
    train: np.ndarray
    held_out: np.ndarray
    factors: dict[str, np.ndarray]
    held_out_factors: dict[str, np.ndarray]

    @property
    def image_size(self) -> int:
        """Height, and width, of every image in pixels."""
        return self.train.shape[1]

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for red, green, blue."""
        return self.train.shape[3]

    def describe(self) -> str:
        """One line, such as "shapes: 10000 training and 1000 held-out images of 32×32×3"."""
        size = "×".join(map(str, self.train.shape[1:]))
        return f"{self.name}: {len(self.train)} training and {len(self.held_out)} held-out images of {size}"


def to_float(images: np.ndarray, dtype) -> np.ndarray:
    """images / 255 in ``dtype``: uint8 in 0..255 becomes float in [0, 1], same shape.

    The conversion comes first because uint8 / 255 alone would pass through float64; the plain 255 takes on
    the dtype of the array.
    """
    return images.astype(dtype) / 255


def batches(count: int, batch_size: int, seed: int, epoch: int, shuffle: bool = True) -> Iterator[np.ndarray]:
    """Cut the indices 0..count-1 into batches: yields integer arrays of length ``batch_size``, the last one shorter
    if it must be.

    The order follows from (seed, epoch) alone, both non-negative, so that a run resumed at epoch 7 sees what an
    unbroken run would have seen.  Without ``shuffle`` the order is 0, 1, 2, ...

    Raises DataError if batch_size < 1.
    """
    if batch_size < 1:
        raise DataError(f"a batch of {batch_size} images was asked for: the batch size must be at least 1")
    # A spawn key, not [seed, epoch]: NumPy pads lists of seeds with zeros, and [seed, epoch, 0] would be the same.
    stream = np.random.SeedSequence(seed, spawn_key=(epoch,))
    order = np.random.default_rng(stream).permutation(count) if shuffle else np.arange(count)
    for start in range(0, count, batch_size):
        yield order[start : start + batch_size]
