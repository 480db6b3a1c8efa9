"""Pictures from files: a folder of any pictures becomes images of one size, square and RGB."""

import errno
import os
import stat
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps

from data_utils.errors import DataError, cause_of

LARGEST_FILE = 2**30  # bytes of a picture's file; within Pillow's limit on pixels no picture needs more

# Pillow names these formats, but it cannot read MPEG at all, and for EPS it runs Ghostscript, if that is installed.
_NOT_READ = {"MPEG", "EPS"}
_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}

# Tags of TIFF, and their values.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _UNSIGNED = 0, 1


def picture_formats() -> list[str]:
    """The formats that count as pictures: those that Pillow itself reads, on every machine alike.

    Left out are MPEG, EPS and PostScript, and the formats that Pillow recognises and leaves to a plugin of someone
    else's: HDF5, BUFR, GRIB, WMF and EMF. PDF it only writes.
    """
    Image.init()
    return [name for name in Image.ID if name not in _NOT_READ and not _is_stub(Image.OPEN[name][0])]


def find_pictures(folder: Path) -> list[Path]:
    """All pictures in ``folder`` and below, sorted: files whose extension belongs to one of ``picture_formats``.

    Linked folders are searched, too. A folder that can be reached in several ways counts once, under its own path if
    it lies in ``folder``. So a link to a folder above adds nothing. Passed over are hidden files and folders, links to
    nothing, and what is not a regular file (a pipe, a device).

    Raises DataError if there is no such folder, if it or one below cannot be read, or if it holds no picture.
    """
    if not _is_folder(folder):
        raise DataError(f"there is no folder {str(folder)!r}: name an existing one, as in folder:my/pictures")
    formats = set(picture_formats())
    readable = {extension for extension, name in Image.registered_extensions().items() if name in formats}
    found, other = [], set()
    for path in _files_below(folder):
        if path.suffix.lower() not in readable:
            other.add(path.suffix.lower())
        elif _is_regular(path):
            found.append(path)
    if not found:
        endings = ", ".join(sorted(other - {""})[:5])
        passed = f" (passed over: {endings})" if endings else ""
        raise DataError(f"the folder {str(folder)!r} holds no pictures{passed}: put some there, such as .png or .jpg")
    return sorted(found, key=Path.as_posix)  # as text with forward slashes, the order is the same on every system


def read_picture(path: Path, size: int) -> np.ndarray:
    """The picture in a file as (size, size, 3) uint8: upright, over white where transparent, the middle cut out.

    Raises DataError, naming the file, if it cannot be read to its end, is larger than a gibibyte, or has more pixels
    than Pillow holds for safe (Image.MAX_IMAGE_PIXELS, about 89 million).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            check_file(path)
            with Image.open(path, formats=picture_formats()) as opened:
                picture = _eight_bit(ImageOps.exif_transpose(opened), opened).convert("RGBA")
    except Exception as error:  # OSError, SyntaxError, ValueError, ...: each format fails in its own way
        cause = cause_of(error)
        raise DataError(f"the picture {str(path)!r} cannot be read ({cause}): repair it or take it away") from error
    white = Image.new("RGBA", picture.size, "white")
    return fit_square(Image.alpha_composite(white, picture).convert("RGB"), size)


def fit_square(picture: Image.Image, size: int) -> np.ndarray:
    """Cut the largest centred square out of a picture and resize it: (size, size) uint8 if grey, else (size, size, 3).

    Bicubic; when shrinking, Pillow widens the filter so that every pixel of the square counts.
    """
    return np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC))


def fit_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Images (N, H, W, 1) or (N, H, W, 3) uint8 with 1 or 3 channels: grey thrice, or the luma of the colours.

    Luma is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), as in Pillow. Grey made RGB and made grey again is the same.
    """
    if images.shape[-1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    luma = (images @ np.array([0.299, 0.587, 0.114])).round()
    return luma.astype(np.uint8)[..., None]


def _is_stub(opener) -> bool:
    return isinstance(opener, type) and issubclass(opener, ImageFile.StubImageFile)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except ValueError:  # a path with a null character
        return False
    except OSError as error:
        if error.errno in _NO_FILE:
            return False
        raise _unreadable(path, error) from error


def _is_regular(path: Path) -> bool:
    """Of a link: is it one to a regular file? Raises DataError if the system does not let us know."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        if error.errno in _NO_FILE:  # a link to nothing, or to itself
            return False
        raise DataError(
            f"the picture {str(path)!r} cannot be read ({error.strerror}): change its permissions or take it away"
        ) from error


def _files_below(folder: Path):
    """Yields the paths of all files in a folder and below, hidden ones left out; linked folders come last."""

    def refuse(error: OSError):
        raise _unreadable(error.filename, error) from error

    seen, waiting = set(), [os.fspath(folder)]
    while waiting:
        for where, folders, files in os.walk(waiting.pop(0), onerror=refuse):
            try:
                at = os.stat(where)
            except OSError as error:
                refuse(error)
            if (at.st_dev, at.st_ino) in seen:
                folders.clear()  # os.walk goes on with what is left in this list
                continue
            seen.add((at.st_dev, at.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            inside = [os.path.join(where, name) for name in folders]
            waiting += filter(os.path.islink, inside)  # os.walk does not follow these
            yield from (Path(where, name) for name in files if not name.startswith("."))


def _unreadable(folder, error: OSError) -> DataError:
    cause = error.strerror or cause_of(error)
    return DataError(f"the folder {str(folder)!r} cannot be read ({cause}): change its permissions or take it away")


def check_file(path: Path, most: int = LARGEST_FILE) -> None:
    """Raises ValueError for what would never end: a pipe, a device, or a file of more than ``most`` bytes."""
    at = os.stat(path)
    if not stat.S_ISREG(at.st_mode):
        raise ValueError("it is not a regular file")
    if at.st_size > most:
        raise ValueError(f"its {at.st_size} bytes are more than the {most} that such a file may have")


def _eight_bit(picture: Image.Image, source: Image.Image) -> Image.Image:
    """Scale grey of more than 8 bits down to 8, which Pillow's own conversion would clip to white instead.

    ``source`` is the picture as it was opened: it knows its format. Raises ValueError where white is not agreed.
    """
    if picture.mode == "F":
        raise ValueError("pixels of floating-point numbers have no agreed white")
    if not picture.mode.startswith("I"):
        return picture
    tags = source.tag_v2 if source.format == "TIFF" else {}
    values = np.asarray(picture).astype(np.int64)
    if picture.mode == "I" and source.format == "TIFF" and tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)) == (_UNSIGNED,):
        values %= 2**32  # Pillow holds them as signed numbers
    bits = 16 if picture.mode.startswith("I;16") or source.format in ("PNG", "PPM") else 32
    (bits,) = tags.get(_BITS_PER_SAMPLE, (bits,))
    grey = values * 255 // _white(values, bits)
    if picture.mode == "I;16" and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey  # Pillow turns such pictures round in 8 bits, but not in 16
    return Image.fromarray(grey.astype(np.uint8))


def _white(values: np.ndarray, bits: int) -> int:
    """The number that means white: 2^bits - 1, with the bits that the file says it has.

    32 bits are more than any picture uses, and only a container. There the range decides: values up to 255 are taken
    for 8 bits, values up to 65535 for 16.
    """
    low, high = int(values.min()), int(values.max())
    if bits > 16:
        bits = 8 if high <= 255 else 16
    if low < 0 or high >= 2**bits:
        raise ValueError(
            f"its grey values go from {low} to {high}, where 8 bits hold 0 to 255 and 16 bits hold 0 to 65535"
        )
    return 2**bits - 1
