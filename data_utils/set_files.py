"""The files of MNIST, Fashion-MNIST and CIFAR-10, where torchvision puts them, read with NumPy alone.

    ROOT/MNIST/raw/train-images-idx3-ubyte ...    idx: a header and bytes; also compressed, with .gz after the name
    ROOT/cifar-10-batches-py/data_batch_1 ...     pickles of dictionaries

Pickles can run any program. So a file is compared with the checksum that its publishers give, where there is one, and
of a pickle nothing is built but arrays and what Python's syntax has: numbers, texts, bytes, lists and dictionaries.
"""

import gzip
import hashlib
import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np

BATCHES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}

# MD5 of each published file, and of MNIST's when unpacked. Those of Fashion-MNIST when unpacked are not known here.
CHECKSUMS = {
    "cifar10": {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    "mnist": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
}

_BUILT = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}  # by a pickle, and _reconstruct (below)
_ARRAYS = {"numpy.core.multiarray", "numpy._core.multiarray"}  # the module of _reconstruct, before and since NumPy 2


def read_mnist(name: str, folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The images (N, H, W) uint8 and the labels (N,) uint8 of "train" or "test", from two idx files in ``folder``.

    Of a file that is there twice the compressed one is read, since its publishers give its checksum.

    Raises OSError or ValueError, which name the file, if one is missing or is not what its publishers gave out.
    """
    stem = {"train": "train", "test": "t10k"}[split]
    return tuple(_read_idx(name, folder, f"{stem}-{what}-ubyte", axes) for what, axes in
                 (("images-idx3", 3), ("labels-idx1", 1)))


def read_cifar10(name: str, folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The images (N, 32, 32, 3) and the labels (N,) of "train" or "test", from pickles in ``folder``.

    Raises OSError or ValueError, which name the file, if one is missing or is not what its publishers gave out.
    """
    images, labels = [], []
    for file in BATCHES[split]:
        content = _unpickled(_checked(name, folder / file), file)
        try:
            images.append(content["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
            labels += content["labels"]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{file} holds no images of 32×32×3 with labels") from error
    return np.concatenate(images), np.array(labels)


def _checked(name: str, path: Path) -> bytes:
    """The bytes of a file. Raises ValueError if they have another checksum than its publishers give."""
    content = path.read_bytes()
    wanted = CHECKSUMS[name].get(path.name)
    if wanted and hashlib.md5(content, usedforsecurity=False).hexdigest() != wanted:
        raise ValueError(f"{path.name} is not the published file: its MD5 is not {wanted}")
    return content


def _read_idx(name: str, folder: Path, file: str, axes: int) -> np.ndarray:
    """An array of bytes with so many axes. An idx file is two zeros, 8 for bytes, the number of axes, their lengths,
    and the bytes."""
    packed = folder / f"{file}.gz"
    if packed.exists():
        try:
            content = gzip.decompress(_checked(name, packed))
        except (EOFError, zlib.error) as error:
            raise ValueError(f"{packed.name} cannot be unpacked") from error
    else:
        content = _checked(name, folder / file)
    head = 4 + 4 * axes
    if len(content) < head or content[:4] != bytes([0, 0, 8, axes]):
        raise ValueError(f"{file} is no idx file of bytes with {axes} axes")
    shape = struct.unpack(f">{axes}I", content[4:head])
    array = np.frombuffer(content, np.uint8, offset=head)
    if array.size != np.prod(shape, dtype=object):
        raise ValueError(f"{file} has {array.size} bytes of numbers, and its header says {'×'.join(map(str, shape))}")
    return array.reshape(shape)


class _ArraysAlone(pickle.Unpickler):
    def find_class(self, module, name):
        if module in _ARRAYS and name == "_reconstruct":
            return np.ndarray.__reduce__(np.empty(0))[0]
        if (module, name) in _BUILT:
            return _BUILT[module, name]
        raise pickle.UnpicklingError(f"it would build {module}.{name}, and only arrays are built")


def _unpickled(content: bytes, file: str) -> object:
    try:
        return _ArraysAlone(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to say
        raise ValueError(f"{file} cannot be read ({' '.join(str(error).split()) or type(error).__name__})") from error
