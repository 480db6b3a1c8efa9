"""Latents as data: the .npz file that `encode` writes and `decode` reads.

    latents              float, of a model whose latents are continuous, or
    codes                the smallest unsigned integers that hold 0 … K − 1; of several levels codes_top, codes_bottom
    about                a JSON object: format, model, fingerprint of its weights, K, the shapes that stand behind N
                         in each of the arrays, and the shape of an image

A latent means nothing to any other weights than those it came from, so `decode` asks for the fingerprint first.
"""

import hashlib
import io
import json
import zipfile

import numpy as np

from scratch.arrays import each
from scratch.bottlenecks.bottleneck import level_name
from scratch.options.errors import InputError
from scratch.runs.run import write_atomically

FORMAT = "autoencoders-from-scratch codes 1"


def fingerprint(model):
    """SHA-256 of the model's weights, with their names, dtypes and shapes: the same for the same state dict."""
    digest = hashlib.sha256()
    for name, array in sorted(model.state_dict().items()):
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
    """What a file of this model's latents says of where they come from."""
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
    arrays = named(trained, latents)
    write_npz(path, **arrays, about=np.array(json.dumps(about(trained))))
    return arrays


def read_latents(path, trained):
    """The latents of a file, as `trained` decodes them. Raises InputError where they are not its own."""
    own = about(trained)
    try:
        with np.load(path) as file:
            theirs = json.loads(str(file["about"]))
            if theirs["format"] != FORMAT:
                raise ValueError
            origin = f"the {theirs['model']} {theirs['fingerprint'][:12]}"
            arrays = {name: file[name] for name in theirs["shapes"]}
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        raise InputError(f"{path} is no file of {FORMAT!r}: give decode what encode wrote.") from None
    if theirs["fingerprint"] != own["fingerprint"]:
        raise InputError(f"{path} was encoded by {origin}, and {trained.run.folder} holds the {own['model']} "
                         f"{own['fingerprint'][:12]}: decode it with the run that encoded it.")
    for name, array in arrays.items():
        check(path, trained, name, array, own["shapes"][name])
    latents = [array.astype(np.int64 if trained.codes else trained.dtype) for array in arrays.values()]
    return latents if len(latents) > 1 else latents[0]


def check(path, trained, name, array, shape):
    """Raises InputError for an array that is none of this model's, in a file that claims it is."""
    kind = smallest_integers(trained.codes) if trained.codes else trained.dtype
    if list(array.shape[1:]) != shape or not len(array) or array.dtype.kind != kind.kind:
        raise InputError(f"{path} holds {name} {array.shape} {array.dtype}; "
                         f"{trained.run.folder} decodes (N, {', '.join(map(str, shape))}) {kind}.")
    if trained.codes and array.max() >= trained.codes:
        raise InputError(f"{path} holds {name} up to {array.max()}; "
                         f"the codebook of {trained.run.folder} has 0 to {trained.codes - 1}.")
