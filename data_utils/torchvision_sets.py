"""The well-known small sets, where torchvision keeps them, brought into one form: uint8 images (N, H, W, C)."""

import os
from pathlib import Path

import numpy as np

from data_utils.errors import DataError, cause_of
from data_utils.set_files import read_cifar10, read_mnist

CLASSES = {"cifar10": "CIFAR10", "mnist": "MNIST", "fashion-mnist": "FashionMNIST", "svhn": "SVHN"}
CLASS_NAMES = {  # of the labels 0 … 9, where a label is no digit; a test compares them with torchvision's
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "fashion-mnist": ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
                      "Ankle boot"),
}
LABELS = 10  # every one of these sets has ten classes


def read_splits(name: str, root: Path, download: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """The official splits, training and test: each is (images (N, H, W, C) uint8, labels (N,) int64 in 0..9); H = W.

    torchvision is needed to download, and to read svhn (with scipy). Raises DataError if it is not installed then, if
    the files in ``root`` are missing or damaged or cannot be downloaded, or if what they hold does not fit together.
    """
    try:
        splits = _read(name, root, download)
    except DataError:
        raise
    except Exception as error:  # the network, the disk or a parser: torchvision passes on whatever they raise
        folder = os.path.abspath(root)
        if download:
            advice = "check the connection, or delete its files there and try again"
            raise DataError(
                f"{name} could not be fetched into {folder!r} and read ({cause_of(error)}): {advice}"
            ) from error
        advice = "add --download to fetch it, or --data-root DIR to name the folder that holds it"
        raise DataError(
            f"{name} is missing from the folder {folder!r} or damaged ({cause_of(error)}): {advice}") from error
    splits = [_uniform(name, root, which, *split) for which, split in zip(("training", "test"), splits, strict=True)]
    shapes = ["×".join(map(str, images.shape[1:])) for images, _ in splits]
    if shapes[0] != shapes[1]:
        raise _unfit(name, root, f"training images of {shapes[0]} and test images of {shapes[1]}")
    return splits


def _read(name: str, root: Path, download: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both splits as the files hold them."""
    if name == "svhn":
        return _read_svhn(_torchvision(name), root, download)
    folder, read = (root / "cifar-10-batches-py", read_cifar10) if name == "cifar10" else (
        root / CLASSES[name] / "raw", read_mnist)
    try:
        return [read(name, folder, split) for split in ("train", "test")]
    except (OSError, ValueError):
        if not download:
            raise
    getattr(_torchvision(name), CLASSES[name])(root, download=True)
    return [read(name, folder, split) for split in ("train", "test")]


def _torchvision(name: str):
    packages = "torch torchvision"
    try:
        from torchvision import datasets  # only here: the rest of this project's data does without

        if name == "svhn":
            packages += " scipy"
            import scipy.io  # noqa: F401  torchvision reads SVHN with it, and would say so only after downloading
    except ImportError as error:
        raise DataError(f"{name} needs a package that is missing ({error}): pip install {packages}") from error
    return datasets


def _read_svhn(datasets, root: Path, download: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    splits = [datasets.SVHN(root, split=which, download=download) for which in ("train", "test")]
    # stored channels first; and torchvision squeezes a single label too far
    return [(split.data.transpose(0, 2, 3, 1) if np.ndim(split.data) == 4 else split.data,
             split.labels[None] if np.ndim(split.labels) == 0 else split.labels) for split in splits]


def _uniform(name: str, root: Path, which: str, images, labels) -> tuple[np.ndarray, np.ndarray]:
    """A split in the form of all of them. Raises DataError if it holds what it cannot hold."""
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim == 3:  # the grey sets have no axis for channels
        images = images[..., None]
    if (problem := _problem(images, labels)) is not None:
        raise _unfit(name, root, f"{problem} in its {which} split")
    return images, labels.astype(np.int64)


def _problem(images: np.ndarray, labels: np.ndarray) -> str | None:
    """What a split holds that it cannot hold, None if all is well."""
    if images.ndim != 4 or images.dtype != np.uint8:
        return f"an array of shape {images.shape} and type {images.dtype} instead of bytes of images"
    if not images.size:
        return "no images"
    if images.shape[1] != images.shape[2]:
        return f"images of {images.shape[1]}×{images.shape[2]} pixels, which are not square,"
    if labels.shape != (len(images),):
        count = str(len(labels)) if labels.ndim == 1 else f"an array {labels.shape} of"
        return f"{len(images)} images and {count} labels"
    if labels.dtype.kind not in "iu":
        return f"labels of type {labels.dtype} instead of integers"
    if len(wrong := labels[(labels < 0) | (labels >= LABELS)]):
        return f"the label {wrong[0]}, which is not from 0 to {LABELS - 1},"
    return None


def _unfit(name: str, root: Path, what: str) -> DataError:
    return DataError(
        f"the files of {name} in the folder {os.path.abspath(root)!r} hold {what}: delete them and fetch them again "
        f"with --download"
    )
