"""``load``: every data set by its name, in one form."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from data_utils.core import Data, DataError
from data_utils.pictures import find_pictures, fit_channels, fit_square, read_picture
from data_utils.shapes import SHAPES, shapes
from data_utils.torchvision_sets import CLASSES, read_split

NAMES = ("shapes", "shapes:SHAPE,SHAPE", *CLASSES, "folder:PATH")


def load(
    name: str,
    *,
    root: str | Path | None = None,
    download: bool = False,
    limit: int | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    seed: int = 0,
) -> Data:
    """Load a data set: ``shapes``, ``cifar10``, ``mnist``, ``fashion-mnist``, ``svhn`` or ``folder:PATH``.

    ``shapes:pill,plus`` are shapes of these kinds alone, as many as of all four.

    root        the folder that holds torchvision's sets, "data" unless given
    download    fetch a torchvision set into ``root`` if it is not there
    limit       keep only the first ``limit`` images of each split
    image_size  side of the images in pixels: shapes are drawn at this size (32 unless given), torchvision's images
                resized to it (left as they are unless given), a folder's cut square and resized (32 unless given)
    channels    1 or 3: coloured images become grey, grey ones get three equal channels (left as they are unless given)
    seed        non-negative; chooses the drawn shapes, and which pictures of a folder are held out

    Held out are 1,000 shapes (10,000 are for training), the official test split of a torchvision set, or a tenth
    of a folder, at least one picture.

    Raises DataError if the name is unknown, a number is out of range, or the data is missing or damaged.
    """
    if limit is not None and limit < 1:
        raise DataError(f"a limit of {limit} images was given: it must be at least 1")
    if image_size is not None and image_size < 1:
        raise DataError(f"an image size of {image_size} pixels was given: it must be at least 1")
    if channels not in (None, 1, 3):
        raise DataError(f"images of {channels} channels were asked for: grey ones have 1, coloured ones 3")
    if seed < 0:
        raise DataError(f"the seed {seed} was given: it must not be negative")

    if name.partition(":")[0] == "shapes":
        data = _load_shapes(name, limit, image_size or 32, seed)
    elif name in CLASSES:
        data = _load_torchvision(name, Path(root or "data"), download, limit, image_size)
    elif name.startswith("folder:"):
        data = _load_folder(name, limit, image_size or 32, seed)
    else:
        raise DataError(f"there is no data set {name!r}: choose one of {', '.join(NAMES)}")
    if channels in (None, data.channels):
        return data
    return replace(data, train=fit_channels(data.train, channels), held_out=fit_channels(data.held_out, channels))


def _load_shapes(name: str, limit: int | None, image_size: int, seed: int) -> Data:
    wanted = SHAPES if name == "shapes" else name.removeprefix("shapes:").split(",")
    if not set(wanted) <= set(SHAPES):
        raise DataError(f"{name!r} does not name shapes: choose from {', '.join(SHAPES)}, as in shapes:pill,plus")
    kinds = [kind for kind, shape in enumerate(SHAPES) if shape in wanted]
    most = limit or 10_000
    train, factors = shapes(min(most, 10_000), image_size, seed, stream=0, kinds=kinds)
    held_out, held_out_factors = shapes(min(most, 1_000), image_size, seed, stream=1, kinds=kinds)
    return Data(name, train, held_out, factors, held_out_factors)


def _load_torchvision(name: str, root: Path, download: bool, limit: int | None, image_size: int | None) -> Data:
    splits = []
    for is_train in (True, False):
        images, labels = read_split(name, root, is_train, download)
        images, labels = images[:limit], labels[:limit]
        if image_size not in (None, images.shape[1]):
            # squeeze, reshape: Pillow keeps grey images without an axis for channels
            resized = [fit_square(Image.fromarray(image.squeeze()), image_size) for image in images]
            images = np.stack(resized).reshape(len(images), image_size, image_size, -1)
        splits.append((np.ascontiguousarray(images), {"label": labels}))
    (train, factors), (held_out, held_out_factors) = splits
    return Data(name, train, held_out, factors, held_out_factors)


def _load_folder(name: str, limit: int | None, image_size: int, seed: int) -> Data:
    given = name.removeprefix("folder:")
    if not given:
        raise DataError("'folder:' was given without a path: name a folder of pictures, as in folder:my/pictures")
    pictures = find_pictures(Path(os.path.expanduser(given)))
    if len(pictures) < 2:
        raise DataError(f"the folder {given!r} holds only one picture: two are needed, one of them to be held out")

    # The shuffled order is kept, so that a limit takes pictures from all subfolders and not from the first alone.
    order = np.random.default_rng(seed).permutation(len(pictures))
    held_out_count = max(1, len(pictures) // 10)
    held_out, train = (
        np.stack([read_picture(pictures[index], image_size) for index in part[:limit]])
        for part in (order[:held_out_count], order[held_out_count:])
    )
    return Data(name, train, held_out, {}, {})
