"""The files of a run, each described once: what it may hold, and what to do if it holds something else.

    config.json             CONFIG: every option, the data, the versions, the parameter count, the runs referred to
    metrics.jsonl           METRICS, one object for each epoch
    steps.jsonl             STEPS: with log_steps L one object for every L updates, the means over them
    checkpoint.safetensors  weights(...) alone, in PyTorch's names and layouts
    best.safetensors        the same of the epoch with the lowest held-out loss, where the option `keep` is best
    resume.safetensors      the tensors of `resumable`; in its header the config and the position, a POSITION
    codes.npz               about, an ABOUT, and the arrays of `latents`
    evaluation.json         EVALUATION: what `sweep` measured of the run
    sweep.json              SWEEP, in the folder above the runs

The event file of TensorBoard holds the numbers of two of them again (tensorboard.py), and nothing reads it here.

Reading, writing and the messages about files that do not match all follow these descriptions.
"""

import math

import numpy as np

from data_utils import printable
from scratch.options.errors import InputError
from scratch.runs.files import Document
from scratch.runs.schema import Array, Either, Json, Listed, Real, Record, Text, Whole

RESUME_FORMAT = "autoencoders-from-scratch resume 1"
LATENTS_FORMAT = "autoencoders-from-scratch codes 1"
PROGRAMS = ("scratch", "torch_ref")
LARGEST_SIDE = 2**16  # of an image, in pixels
# The files that training writes, apart from temporary ones and the lock.
WEIGHTS = {"last": "checkpoint.safetensors", "best": "best.safetensors"}  # by which of a run's they are
FILES = ("config.json", "metrics.jsonl", "steps.jsonl", *WEIGHTS.values(), "resume.safetensors")
PICTURES = tuple(f"{name}.png" for name in (
    "curves", "reconstructions", "samples", "interpolation", "variations", "codebook"))

side = Whole(1, LARGEST_SIDE)
number = Real(finite=False)  # the PSNR of a perfect reconstruction is infinite
image_shape = Listed(side, length=3)

CONFIG = Document(
    Record({
        "program": Text(PROGRAMS),
        "options": Record(others=Json()),  # migrate.py checks them against their declarations
        "data": Record({
            "name": Text(),
            "image_shape": Json(),  # of an example; check_shape knows how many axes the system takes
            "training_images": Whole(1),
            "held_out_images": Whole(1),
        }, optional={"merges": Listed(Listed(Whole(), length=2))}),  # of the tokenizer that read the captions
        "parameters": Whole(),
        "versions": Record(others=Text()),
    }, optional={
        "references": Record(others=Record({"folder": Text(), "fingerprint": Text()})),
    }, others=Json()),
    "restore it, or train again",
)
METRICS = Document(Record({"epoch": Whole(1)}, others=number), "restore it, or remove it: a run goes on without")
STEPS = Document(Record({"step": Whole(1)}, others=number), "restore it, or remove it: a run goes on without")
POSITION = Document(
    Record({
        "epoch": Whole(1),
        "step": Whole(),
        "updates": Whole(),
        "totals": Record({
            "sums": Record(others=Real()),
            "examples": Whole(),
            "seconds": Real(0),
            "pending": Listed(Json(), length=0),
            "latest": Record(others=number),
        }),
        "step_means": Record({"step": Whole(), "sums": Record(others=Real())}),
        "environment": Record(others=Text()),
    }, optional={"best": Record({"epoch": Whole(1), "loss": Real()})}),
    "restore it, or train again",
)
ABOUT = Document(
    Record({
        "format": Text((LATENTS_FORMAT,)),
        "model": Text(),
        "fingerprint": Text(),
        "codes": Either((Whole(1), None)),
        "shapes": Record(others=Listed(side)),
        "image_shape": image_shape,
    }),
    "give decode what encode wrote",
)
figure = Real(finite=False, nan=True)  # 0/0 is NaN, such as the gap of a factor that never varies
WHOLE_FIGURES = ("parameters", "active_units", "codes_used")
REAL_FIGURES = ("rate", "distortion", "elbo", "bits_per_dim", "importance_weighted_bound", "mig", "share_of_zeros",
                "psnr", "ssim", "denoising_gain", "squared_error")
figures = Record(  # those that a table or a picture of a sweep shows are numbers; None is one that is infinite or NaN
    optional={name: Whole() for name in WHOLE_FIGURES} | {name: Either((figure, None)) for name in REAL_FIGURES},
    others=Either((figure, Text(), Listed(figure), None)))
EVALUATION = Document(
    Record({"about": Record({"version": Whole(), "updates": Whole()}), "figures": figures}),
    "remove it, and it is measured again",
)
SWEEP = Document(
    Record({
        "over": Record(others=Listed(Text())),
        "runs": Listed(Record({"name": Text(), "settings": Record(others=Text())}, figures.optional, figures.others)),
        "diverged": Listed(Text()),
    }),
    "remove it, or name another folder",
)

NEVER_NEGATIVE = (".running_var", ".num_batches_tracked", ".counts", ".idle")  # buffers of counts and variances


def array_like(array, **bounds):
    """The kind of an array with this array's dtype and shape."""
    return Array(str(array.dtype), tuple(array.shape), **bounds)


def weights(state):
    """The kind of the tensors in checkpoint.safetensors, for a model whose state dict is `state`."""
    return Record({
        name: array_like(value, least=0 if name.endswith(NEVER_NEGATIVE) else -math.inf)
        for name, value in state.items()
    })


def moments(state):
    """The kind of an optimiser's moments. Adam's v, an average of squares, is never negative, and may have overflowed.
    """
    return Record({
        name: array_like(value, least=0 if name.startswith("v.") else -math.inf, finite=False)
        for name, value in state.items()
    })


def resumable(state, optimizer_state, sums, codes, best):
    """The kind of the tensors in resume.safetensors. They include the best weights if `best` is true.

    In the middle of an epoch they include, for every perplexity among the sums, how often each of the K codes was used.
    Without codes (K is None) a perplexity is a number like any other.
    """
    kinds = {f"{part}.{name}": kind for part in ("model", *(["best"] if best else []))
             for name, kind in weights(state).entries.items()}
    kinds |= {f"optimizer.{name}": kind for name, kind in moments(optimizer_state).entries.items()}
    levels = [] if codes is None else [
        name.removeprefix("perplexity").removeprefix("_") for name in sums if name.startswith("perplexity")]
    return Record(kinds | {f"counts.{level}": Array("int64", (codes,), least=0) for level in levels})


def latents(shapes, dtype, codes):
    """The kind of the arrays in a file of latents. `shapes` is {name: shape after N}; `codes` is K of a codebook, or
    None."""
    bounds = {"least": 0, "most": codes - 1} if codes else {}
    return Record({name: Array(str(np.dtype(dtype)), (None, *shape), **bounds) for name, shape in shapes.items()})


def check_shape(shape, axes):
    """Raises Mismatch where the examples of a run have another number of axes than its system takes."""
    Record({"data": Record({"image_shape": Listed(side, length=axes)})}).check({"data": {"image_shape": shape}})


def check_position(position, config, place):
    """Raise InputError if a run of this config never reaches such a position."""
    options, totals = config["options"], position["totals"]
    best = position.get("best", {"epoch": 1})["epoch"]
    an_epoch = math.ceil(config["data"]["training_images"] / options["batch_size"])
    step, updates = position["step"], (position["epoch"] - 1) * an_epoch + position["step"]
    for name, found, expected in (
        ("step", step, min(step, an_epoch - 1)),
        ("updates", position["updates"], updates),
        ("totals.examples", totals["examples"], step * options["batch_size"]),
        ("step_means.step", position["step_means"]["step"], updates if options["log_steps"] else None),
        ("best.epoch", best, min(best, position["epoch"])),
    ):
        if expected is not None and found != expected:
            raise InputError(f"{place}: {name} is {found}; expected {expected}: {POSITION.advice}.")
    if odd := totals["sums"].keys() ^ totals["latest"].keys():
        raise InputError(f"{place}: totals.sums and totals.latest differ in {printable(', '.join(sorted(odd)))}; "
                         f"expected the same names: {POSITION.advice}.")
