"""The well-known small sets, as torchvision keeps them, brought into one form: uint8 images (N, H, W, C)."""

from pathlib import Path

import numpy as np

from data_utils.core import DataError

CLASSES = {"cifar10": "CIFAR10", "mnist": "MNIST", "fashion-mnist": "FashionMNIST", "svhn": "SVHN"}


def read_split(name: str, root: Path, train: bool, download: bool) -> tuple[np.ndarray, np.ndarray]:
    """One official split, training or test: returns (images (N, H, W, C) uint8, labels (N,) int64 in 0..9).

    Raises DataError if torchvision (for svhn also scipy) is not installed, or if the files in ``root`` are missing
    or damaged, or cannot be downloaded.
    """
    packages = "torch torchvision"
    try:
        from torchvision import datasets  # only here: the rest of this project's data does without

        if name == "svhn":
            packages += " scipy"
            import scipy.io  # noqa: F401  torchvision reads SVHN with it, and would say so only after downloading
    except ImportError as error:
        raise DataError(f"{name} needs a package that is missing ({error}): pip install {packages}") from error

    dataset = getattr(datasets, CLASSES[name])
    which = {"split": "train" if train else "test"} if name == "svhn" else {"train": train}
    try:
        split = dataset(root, download=download, **which)
    except Exception as error:  # torchvision passes on whatever the network, the disk or the parser raised
        folder = str(root.resolve())
        if download:
            cause = " ".join(str(error).split())  # some of these messages run over several lines
            advice = "check the connection, or delete its files there and try again"
            raise DataError(f"{name} could not be fetched into {folder!r} and read ({cause}): {advice}") from error
        advice = "add --download to fetch it, or --data-root DIR to name the folder that holds it"
        raise DataError(f"{name} is missing from the folder {folder!r} or damaged: {advice}") from error

    if name == "svhn":
        images, labels = split.data.transpose(0, 2, 3, 1), split.labels  # stored channels first
    else:
        images, labels = np.asarray(split.data), np.asarray(split.targets)
    if images.ndim == 3:  # the grey sets have no axis for channels
        images = images[..., None]
    return images, labels.astype(np.int64)
