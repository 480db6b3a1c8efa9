"""``load``: every data set by its name, in one form.

Pillow is imported where a picture is read or resized: naming the data sets needs none.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_utils.captions import composed
from data_utils.core import Data
from data_utils.errors import LARGEST_COUNT, DataError, advice, check_memory, integer, nearest, shown
from data_utils.shapes import LARGEST_SIDE, SHAPES, draw, random_factors
from data_utils.torchvision_sets import CLASS_NAMES, CLASSES, read_splits

NAMES = ("shapes", "shapes:SHAPE,SHAPE", *CLASSES, "folder:PATH")  # what ``load`` takes, as help and errors show it
MOST_DRAWN = 10**7  # shapes for training; at 32 pixels they take 31 GB
_ONLY_FOR = {  # option: the kind of data that it is for, what that is called, and what the other kinds lack
    "drawn": ("shapes", "shapes", "is not drawn"),
    "without": ("shapes", "shapes", "is not drawn"),
    "skip_unreadable": ("folder", "folders of pictures", "is no folder"),
}


def load(
    name: str,
    *,
    root: str | os.PathLike | None = None,
    download: bool = False,
    limit: int | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    seed: int = 0,
    drawn: int | None = None,
    without: str | None = None,
    skip_unreadable: bool = False,
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
    drawn       how many shapes are drawn for training, an integer from 1 to 10⁷ (10,000 unless given)
    without     compositions such as "red triangle, small plus" (``composed``): shapes that show all words of one of
                them are left out of training; the held-out ones stay whole
    skip_unreadable  pass over pictures of a folder that cannot be read, and name them in the result's ``skipped``

    A folder may have a caption for each picture, as ``texts``: in picture.txt beside picture.png, or in captions.jsonl,
    which has a line {"file_name": "cats/1.png", "text": "a cat"} for each picture.

    Held out are 1,000 shapes, the official test split of a torchvision set, or a tenth
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
    if not isinstance(skip_unreadable, bool):
        raise DataError(f"as skip_unreadable {shown(skip_unreadable)} was given: expected True or False")
    seed = integer(seed, "the seed", 0)
    if drawn is not None:
        drawn = integer(drawn, "a number of drawn shapes of", 1, MOST_DRAWN)

    try:
        chosen = {"drawn": drawn, "without": without, "skip_unreadable": skip_unreadable or None}
        data = _load_by_name(name, "data" if root is None else root, download, limit, image_size, seed, chosen)
        if channels in (None, data.channels):
            return data
        from data_utils.pictures import fit_channels

        return replace(data, train=fit_channels(data.train, channels), held_out=fit_channels(data.held_out, channels))
    except MemoryError as error:
        raise DataError(f"{name!r} does not fit into memory: choose smaller images, or fewer by a limit") from error


def _load_by_name(
    name: str, root, download: bool, limit: int | None, image_size: int | None, seed: int, chosen: dict[str, object]
) -> Data:
    kind = name.partition(":")[0]
    for option, value in chosen.items():
        wanted, group, lacking = _ONLY_FOR[option]
        if value is not None and kind != wanted and (kind in ("shapes", "folder") or name in CLASSES):
            raise DataError(
                f"{option} {shown(value)} was given, which is for {group}, and {shown(name)} {lacking}: leave it out")
    if kind == "shapes":
        return _load_shapes(name, limit, image_size or 32, seed, chosen["drawn"], chosen["without"])
    if name in CLASSES:
        return _load_torchvision(name, Path(root), download, limit, image_size)
    if name.startswith("folder:"):
        return _load_folder(name, limit, image_size or 32, seed, bool(chosen["skip_unreadable"]))
    wanted = advice(_nearest_name(name), "choose")
    raise DataError(f"there is no data set {shown(name)}: {wanted} one of {', '.join(NAMES)}")


def _nearest_name(name: str) -> str | None:
    """The name that was probably meant; None where none is near."""
    if os.path.isdir(name):
        return f"folder:{name}"
    kind, colon, _ = name.lower().partition(":")
    # Of "shapes" and "shapes:SHAPE,SHAPE", which share a kind, the one that has a colon just as the given name does.
    known = {known.partition(":")[0]: known for known in sorted(NAMES, key=lambda each: (":" in each) == bool(colon))}
    return known.get(nearest(kind, known))


def _load_shapes(
    name: str, limit: int | None, image_size: int, seed: int, drawn: int | None, without: str | None
) -> Data:
    wanted = SHAPES if name == "shapes" else name.removeprefix("shapes:").split(",")
    for word in wanted:
        if word not in SHAPES:
            raise DataError(
                f"{shown(name)} names {shown(word)}, which is not a shape: "
                f"{advice(nearest(word, SHAPES), 'choose')} from {', '.join(SHAPES)}, "
                f"as in shapes:pill,plus"
            )
    kinds = [kind for kind, shape in enumerate(SHAPES) if shape in wanted]
    drawn = drawn or 10_000
    most = min(drawn, limit or drawn)
    factors = random_factors(most if without is None else drawn, seed, stream=0, kinds=kinds)
    if without is not None:
        left = np.flatnonzero(~composed(factors, without))[:most]
        if not len(left):
            raise DataError(
                f"without {shown(without)}, none of the {drawn} training images of {name!r} is left: leave out less"
            )
        factors = {factor: values[left] for factor, values in factors.items()}
    held_out_factors = random_factors(min(limit or 1_000, 1_000), seed, stream=1, kinds=kinds)
    check_memory(len(factors["x"]) + len(held_out_factors["x"]), image_size, image_size, 3)
    train, held_out = draw(factors, image_size), draw(held_out_factors, image_size)
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


def _load_folder(name: str, limit: int | None, image_size: int, seed: int, skip: bool) -> Data:
    from data_utils.pictures import find_pictures
    from data_utils.texts import read_texts

    given = name.removeprefix("folder:")
    if not given:
        raise DataError("'folder:' was given without a path: name a folder of pictures, as in folder:my/pictures")
    folder = Path(os.path.expanduser(given))
    pictures = find_pictures(folder)
    if len(pictures) < 2:
        raise DataError(f"the folder {given!r} holds only one picture: two are needed, one of them to be held out")

    # The shuffled order is kept, so that a limit takes pictures from all subfolders and not from the first alone.
    order = np.random.default_rng(seed).permutation(len(pictures))
    held_out_count = max(1, len(pictures) // 10)
    parts = [order[held_out_count:], order[:held_out_count]]
    check_memory(sum(len(part[:limit]) for part in parts), image_size, image_size, 3)
    (train, held_out), parts, skipped = zip(*(_read_part(pictures, part, limit, image_size, skip) for part in parts),
                                            strict=True)
    texts, missing = (None, None), ""
    try:
        texts = read_texts(folder, pictures, parts)
    except DataError as error:  # the pictures load all the same; captions_of raises this error
        missing = str(error)
    return Data(name, train, held_out, {}, {}, texts=texts[0], held_out_texts=texts[1], texts_missing=missing,
                skipped=skipped[0] + skipped[1])


def _read_part(
    pictures: list[Path], part: np.ndarray, limit: int | None, size: int, skip: bool
) -> tuple[np.ndarray, list[int], tuple[str, ...]]:
    """(images, their indices, sentences about the others) of the first ``limit`` pictures of a part.

    Without ``skip`` a picture that cannot be read is an error.
    """
    from data_utils.pictures import read_picture

    images, read, skipped = np.empty((len(part[:limit]), size, size, 3), np.uint8), [], []
    for index in part:
        if len(read) == len(images):
            break
        try:
            images[len(read)] = read_picture(pictures[index], size)
        except DataError as error:
            if not skip:
                raise
            skipped.append(str(error))
        else:
            read.append(index)
    if not read:
        raise DataError(f"none of {len(part)} pictures, to train on or to hold out, can be read: {skipped[0]}")
    return images[: len(read)], read, tuple(skipped)
