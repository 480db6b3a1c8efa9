"""Latents as data: the .npz file that `encode` writes and `decode` reads.

    latents              floats, for a model with continuous latents, or
    codes                the smallest unsigned integers that hold 0 … K − 1; with two levels codes_top and codes_bottom
    about                a JSON object: format, model, fingerprint of its weights, K, the shape of each array after its
                         first axis N, and the shape of an image

Only the weights that made a latent can decode it, so `decode` first compares the fingerprints.
"""

import hashlib
import io
import json
import lzma
import math
import tokenize
import warnings
import zipfile
import zlib

import numpy as np

from data_utils import printable
from scratch.arrays import each
from scratch.bottlenecks.bottleneck import level_name
from scratch.options.errors import InputError
from scratch.runs.descriptions import ABOUT
from scratch.runs.descriptions import LATENTS_FORMAT as FORMAT
from scratch.runs.descriptions import latents as kind_of_latents
from scratch.runs.files import opened, parsed, write_atomically
from scratch.runs.schema import Form, Mismatch

LARGEST = 2**31  # bytes of a file of latents
LARGEST_ABOUT = 2**20  # bytes that `about` takes in memory
# What zipfile, its decompressors and NumPy's reader raise for bytes that are damaged, encrypted or of another kind.
UNREADABLE = (OSError, ValueError, LookupError, TypeError, RuntimeError, EOFError, SyntaxError, OverflowError,
              MemoryError, UserWarning, tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


def fingerprint(model):
    """SHA-256 of the model's weights, with their names, dtypes and shapes: the same for the same state dict."""
    return fingerprint_of(model.state_dict())


def fingerprint_of(state):
    """The same of a state dict."""
    digest = hashlib.sha256()
    for name, array in sorted(state.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def smallest_integers(codes):
    """The unsigned dtype of fewest bytes that holds 0 … codes − 1."""
    return np.min_scalar_type(codes - 1)


def named(trained, latents):
    """{name in the file: array} of a model's latents."""
    if not trained.codes:
        return {"latents": latents}
    return {level_name("codes", level): grid for level, grid in trained.model.bottleneck.by_level(latents).items()}


def about(trained):
    """The object `about` for a file of this model's latents: where they come from."""
    H, W, C = trained.run.config["data"]["image_shape"]
    probe = named(trained, trained.encode(np.zeros((1, H, W, C), trained.dtype)))
    return {
        "format": FORMAT,
        "model": trained.options["model"],
        "fingerprint": fingerprint(trained.model),
        "codes": trained.codes,
        "shapes": {name: list(array.shape[1:]) for name, array in probe.items()},
        "image_shape": [H, W, C],
    }


def write_npz(path, **arrays):
    """Write named arrays to a compressed .npz, complete or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def write_latents(path, trained, latents):
    """Write what `trained` encoded. Returns {name: array} of what was written."""
    if trained.codes:
        latents = each(lambda grid: grid.astype(smallest_integers(trained.codes)), latents)
    arrays, origin = named(trained, latents), about(trained)
    ABOUT.check(origin, path)
    try:
        kind_of(trained, origin["shapes"]).check(arrays)
    except Mismatch as mismatch:
        raise InputError(f"{printable(path)} is not written: {mismatch}: encode other images, or with another run."
                         ) from None
    if (size := sum(array.nbytes for array in arrays.values())) > LARGEST:
        raise InputError(f"{printable(path)} would hold {size:,} bytes, and such a file has at most {LARGEST:,}: "
                         f"encode fewer images.")
    write_npz(path, **arrays, about=np.array(json.dumps(origin)))
    return arrays


def kind_of(trained, shapes):
    """The description of the arrays of this model's latents; `shapes` are those after the first axis N."""
    dtype = smallest_integers(trained.codes) if trained.codes else trained.dtype
    return kind_of_latents(shapes, dtype, trained.codes)


def read_latents(path, trained):
    """The latents of a file, in the form that `trained` decodes. Raises InputError if another model encoded them."""
    own, folder = about(trained), printable(trained.run.folder)
    with opened(path, LARGEST) as file:
        try:
            with warnings.catch_warnings(action="error"), zipfile.ZipFile(file) as archive:
                theirs = parsed(str(read_array(archive, "about", LARGEST_ABOUT)[()]))
                ABOUT.kind.check(theirs)
                if theirs["fingerprint"] != own["fingerprint"]:
                    raise InputError(
                        f"{printable(path)} was encoded by the {printable(theirs['model'])} "
                        f"{printable(theirs['fingerprint'][:12])}, and {folder} holds the {own['model']} "
                        f"{own['fingerprint'][:12]}: decode it with the run that encoded it.")
                for name, value in own.items():
                    if theirs[name] != value:
                        raise Mismatch(f"about.{name}", printable(json.dumps(theirs[name])[:80]), json.dumps(value))
                kind = kind_of(trained, own["shapes"])
                names = [name.removesuffix(".npy") for name in archive.namelist()]
                kind.check({name: read_form(archive, name) for name in names if name != "about"})
                arrays = {name: read_array(archive, name, LARGEST) for name in own["shapes"]}
                kind.check(arrays)
        except InputError:
            raise
        except Mismatch as mismatch:
            raise InputError(f"{printable(path)} holds what {folder} does not decode: {mismatch}: "
                             f"{ABOUT.advice}.") from None
        except UNREADABLE as error:
            raise InputError(f"{printable(path)} is damaged or not a file of {FORMAT!r} ({printable(error)}): "
                             f"{ABOUT.advice}.") from None
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise InputError(f"{printable(path)} holds the codes of unlike numbers of images, {counts}: {ABOUT.advice}.")
    latents = [array.astype(np.int64 if trained.codes else trained.dtype) for array in arrays.values()]
    return latents if len(latents) > 1 else latents[0]


def read_form(archive, name):
    """The Form of an array of an open .npz archive, from the first bytes of its entry."""
    with archive.open(f"{name}.npy") as entry:
        shape, _, dtype = read_start(entry)
    return Form(str(dtype), shape)


def read_start(entry):
    """(shape, Fortran order, dtype) at the start of a .npy entry."""
    if np.lib.format.read_magic(entry) == (1, 0):
        return np.lib.format.read_array_header_1_0(entry)
    return np.lib.format.read_array_header_2_0(entry)


def read_array(archive, name, limit):
    """An array of at most `limit` bytes of an open .npz archive."""
    with archive.open(f"{name}.npy") as entry:
        shape, _, dtype = read_start(entry)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize > limit:
            raise ValueError(f"{name} is {dtype} {shape}, more than {limit:,} bytes of numbers")
    with archive.open(f"{name}.npy") as entry:
        return np.lib.format.read_array(entry, allow_pickle=False)
