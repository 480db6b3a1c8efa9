"""``load``: every data set by its name, in one form.

Pillow is imported where a picture is read or resized: naming the data sets needs none.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_utils.core import Data
from data_utils.errors import LARGEST_COUNT, DataError, check_memory, integer, nearest, shown
from data_utils.shapes import LARGEST_SIDE, SHAPES, shapes
from data_utils.torchvision_sets import CLASS_NAMES, CLASSES, read_splits

NAMES = ("shapes", "shapes:SHAPE,SHAPE", *CLASSES, "folder:PATH")  # what ``load`` takes, as help and errors show it


def load(
    name: str,
    *,
    root: str | os.PathLike | None = None,
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
    limit       keep only the first ``limit`` images of each split, an integer from 1 to 10⁹
    image_size  side of the images in pixels, an integer from 1 to 4096: shapes are drawn at this size (32 unless
                given, at least 4), torchvision's images resized to it (left as they are unless given), a folder's cut
                square and resized (32 unless given)
    channels    1 or 3: coloured images become grey, grey ones get three equal channels (left as they are unless given)
    seed        an integer ≥ 0; chooses the drawn shapes, and which pictures of a folder are held out

    Held out are 1,000 shapes (10,000 are for training), the official test split of a torchvision set, or a tenth
    of a folder, at least one picture.

    Raises DataError if the name is unknown, an argument is of the wrong type or out of range, the images do not fit
    into memory, or the data is missing or damaged.
    """
    if not isinstance(name, str):
        raise DataError(f"the data set {shown(name)} was given: expected a name, such as 'shapes'")
    if root is not None and (not isinstance(root, (str, os.PathLike)) or not os.fspath(root)):
        raise DataError(f"the data root {shown(root)} was given: expected the path of a folder")
    if not isinstance(download, bool):
        raise DataError(f"as download {shown(download)} was given: expected True or False")
    if limit is not None:
        limit = integer(limit, "a limit of images of", 1, LARGEST_COUNT)
    if image_size is not None:
        image_size = integer(image_size, "an image size in pixels of", 1, LARGEST_SIDE)
    if channels is not None and (type(channels) is not int or channels not in (1, 3)):
        raise DataError(f"images of {shown(channels)} channels were asked for: grey ones have 1, coloured ones 3")
    seed = integer(seed, "the seed", 0)

    try:
        data = _load_by_name(name, "data" if root is None else root, download, limit, image_size, seed)
        if channels in (None, data.channels):
            return data
        from data_utils.pictures import fit_channels

        return replace(data, train=fit_channels(data.train, channels), held_out=fit_channels(data.held_out, channels))
    except MemoryError as error:
        raise DataError(f"{name!r} does not fit into memory: choose smaller images, or fewer by a limit") from error


def _load_by_name(name: str, root, download: bool, limit: int | None, image_size: int | None, seed: int) -> Data:
    kind = name.partition(":")[0]
    if kind == "shapes":
        return _load_shapes(name, limit, image_size or 32, seed)
    if name in CLASSES:
        return _load_torchvision(name, Path(root), download, limit, image_size)
    if name.startswith("folder:"):
        return _load_folder(name, limit, image_size or 32, seed)
    near = _nearest_name(name)
    advice = f"the nearest is {near!r}; choose" if near else "choose"
    raise DataError(f"there is no data set {shown(name)}: {advice} one of {', '.join(NAMES)}")


def _nearest_name(name: str) -> str | None:
    """The name that was probably meant; None where none is near."""
    if os.path.isdir(name):
        return f"folder:{name}"
    kind, colon, _ = name.lower().partition(":")
    # Of "shapes" and "shapes:SHAPE,SHAPE", which share a kind, the one that has a colon just as the given name does.
    known = {known.partition(":")[0]: known for known in sorted(NAMES, key=lambda each: (":" in each) == bool(colon))}
    return known.get(nearest(kind, known))


def _load_shapes(name: str, limit: int | None, image_size: int, seed: int) -> Data:
    wanted = SHAPES if name == "shapes" else name.removeprefix("shapes:").split(",")
    for word in wanted:
        if word not in SHAPES:
            near = nearest(word, SHAPES)
            advice = f"the nearest is {near!r}; choose" if near else "choose"
            raise DataError(
                f"{shown(name)} names {shown(word)}, which is not a shape: {advice} from {', '.join(SHAPES)}, "
                f"as in shapes:pill,plus"
            )
    kinds = [kind for kind, shape in enumerate(SHAPES) if shape in wanted]
    most = limit or 10_000
    check_memory(min(most, 10_000) + min(most, 1_000), image_size, image_size, 3)
    train, factors = shapes(min(most, 10_000), image_size, seed, stream=0, kinds=kinds)
    held_out, held_out_factors = shapes(min(most, 1_000), image_size, seed, stream=1, kinds=kinds)
    return Data(name, train, held_out, factors, held_out_factors, {"shape": SHAPES})


def _load_torchvision(name: str, root: Path, download: bool, limit: int | None, image_size: int | None) -> Data:
    splits = [(images[:limit], labels[:limit]) for images, labels in read_splits(name, root, download)]
    if image_size is not None:
        check_memory(sum(len(images) for images, _ in splits), image_size, image_size, splits[0][0].shape[3])
    (train, labels), (held_out, held_out_labels) = ((_resized(images, image_size), labels) for images, labels in splits)
    names = {"label": CLASS_NAMES[name]} if name in CLASS_NAMES else {}
    return Data(name, train, held_out, {"label": labels}, {"label": held_out_labels}, names)


def _resized(images: np.ndarray, size: int | None) -> np.ndarray:
    """Square images (N, S, S, C) with sides of ``size`` pixels, contiguous; as they are if it is None."""
    if size in (None, images.shape[1]):
        return np.ascontiguousarray(images)
    from PIL import Image

    from data_utils.pictures import fit_square

    resized = np.empty((len(images), size, size, images.shape[3]), np.uint8)
    for index, image in enumerate(images):
        # squeeze, reshape: Pillow keeps grey images without an axis for channels
        grey_or_colour = Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image)
        resized[index] = fit_square(grey_or_colour, size).reshape(resized.shape[1:])
    return resized


def _load_folder(name: str, limit: int | None, image_size: int, seed: int) -> Data:
    from data_utils.pictures import find_pictures

    given = name.removeprefix("folder:")
    if not given:
        raise DataError("'folder:' was given without a path: name a folder of pictures, as in folder:my/pictures")
    pictures = find_pictures(Path(os.path.expanduser(given)))
    if len(pictures) < 2:
        raise DataError(f"the folder {given!r} holds only one picture: two are needed, one of them to be held out")

    # The shuffled order is kept, so that a limit takes pictures from all subfolders and not from the first alone.
    order = np.random.default_rng(seed).permutation(len(pictures))
    held_out_count = max(1, len(pictures) // 10)
    parts = [part[:limit] for part in (order[held_out_count:], order[:held_out_count])]
    check_memory(sum(map(len, parts)), image_size, image_size, 3)
    train, held_out = (_read_all([pictures[index] for index in part], image_size) for part in parts)
    return Data(name, train, held_out, {}, {})


def _read_all(paths: list[Path], size: int) -> np.ndarray:
    from data_utils.pictures import read_picture

    images = np.empty((len(paths), size, size, 3), np.uint8)
    for index, path in enumerate(paths):
        images[index] = read_picture(path, size)
    return images
