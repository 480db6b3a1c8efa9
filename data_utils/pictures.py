"""Pictures from files: any folder of images becomes small square ones, all made alike."""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from data_utils.core import DataError


def find_pictures(folder: Path) -> list[Path]:
    """All files in ``folder`` and below whose extension Pillow can open, sorted; nothing hidden.

    Raises DataError if there is no such folder or it holds no picture.
    """
    if not os.path.isdir(folder):  # unlike folder.is_dir(), it answers for every path instead of raising
        raise DataError(f"there is no folder {str(folder)!r}: name an existing one, as in folder:my/pictures")
    readable = {extension for extension, kind in Image.registered_extensions().items() if kind in Image.OPEN}

    def is_picture(path: Path) -> bool:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        return path.suffix.lower() in readable and not hidden and os.path.isfile(path)

    # As text with forward slashes, the order is the same on every system.
    found = sorted(filter(is_picture, folder.rglob("*")), key=Path.as_posix)
    if not found:
        raise DataError(f"the folder {str(folder)!r} holds no pictures: put some there, such as .png or .jpg files")
    return found


def read_picture(path: Path, size: int) -> np.ndarray:
    """The picture in a file as (size, size, 3) uint8: upright, over white where transparent, the middle cut out.

    Raises DataError, naming the file, if it cannot be read to its end.
    """
    try:
        with Image.open(path) as opened:
            picture = _eight_bit(ImageOps.exif_transpose(opened)).convert("RGBA")
    except Exception as error:  # OSError, SyntaxError, ValueError, ...: each format fails in its own way
        raise DataError(f"the picture {str(path)!r} cannot be read ({error}): repair it or take it away") from error
    white = Image.new("RGBA", picture.size, "white")
    return fit_square(Image.alpha_composite(white, picture).convert("RGB"), size)


def fit_square(picture: Image.Image, size: int) -> np.ndarray:
    """Cut the largest centred square out of a picture and resize it: (size, size) uint8 if grey, else (size, size, 3).

    Bicubic; when shrinking, Pillow widens the filter so that every pixel of the square counts.
    """
    return np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC))


def fit_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Images (N, H, W, 1) or (N, H, W, 3) uint8 with 1 or 3 channels: grey thrice, or the luma of the colours.

    Luma is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), as Pillow takes it, so that grey stays the same there and back.
    """
    if images.shape[-1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    luma = (images @ np.array([0.299, 0.587, 0.114])).round()
    return luma.astype(np.uint8)[..., None]


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Scale 16-bit grey down to 8 bits, which Pillow's own conversion would clip to white instead."""
    if picture.mode == "F":
        raise ValueError("pixels of floating-point numbers have no agreed white")
    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))
    return picture
