"""What stands behind `scratch.build`, `scratch.train` and `scratch.load`: runs on an array of images, in a folder or in
memory alone."""

import os
import warnings
from functools import partial

import numpy as np

from data_utils import DataError, from_array
from scratch.arrays import device_of
from scratch.models.build import build
from scratch.models.model import Model
from scratch.models.summary import summary
from scratch.models.system import find_system
from scratch.options.errors import InputError
from scratch.options.option import Choice, Flag, Option, Text
from scratch.options.resolve import long_enough, model_options, resolve
from scratch.options.training import IMAGES, MACHINE, TRAINING
from scratch.runs.descriptions import WEIGHTS
from scratch.runs.run import Run
from scratch.runs.session import ARRAY, begin, resume
from scratch.runs.trained import Trained
from scratch.training.loop import Interrupted, Unsaved, fit
from scratch.training.make import make_trainer
from scratch.training.progress import epoch_line

OPTIONS = {option.name: option for option in (*TRAINING, *MACHINE)}
PROGRESS = Option("progress", Flag(), True, "print a line an epoch")
WHICH = Option("which", Choice(WEIGHTS), "last", "the weights of the last epoch, or of the best")
FOLDER = Text("a folder")
ITS_OWN = tuple(option.name for option in IMAGES)  # options that name images, which are given instead


def new_model(model, shape, dtype, seed, device, options):
    """See scratch.build."""
    dtype = OPTIONS["dtype"].check(name_of_dtype(dtype))
    if seed is not None:
        seed = OPTIONS["seed"].check(seed)
    device = OPTIONS["device"].check(device)
    return build(model, shape, options, dtype=dtype, rng=np.random.default_rng(seed)).to(device)


def name_of_dtype(dtype):
    """"float32" of np.float32 and np.dtype("float32"); what names no dtype stays as it is."""
    try:
        return dtype if dtype is None else np.dtype(dtype).name
    except TypeError:
        return dtype


def load_run(folder, device, which):
    """See scratch.load."""
    return Trained(Run.open(checked_folder(folder, "folder")), OPTIONS["device"].check(device),
                   which=WHICH.check(which))


def summary_of(model):
    """See scratch.summary."""
    model = model.model if isinstance(model, Trained) else model
    if not isinstance(model, Model) or not hasattr(model, "shape"):
        raise InputError(f"expected a model that scratch.build made, or a run, got a {type(model).__name__}.")
    return summary(model)


def checked_folder(folder, name):
    """A path, given as text or as a path. Raises InputError for anything else."""
    path = os.fspath(folder) if isinstance(folder, os.PathLike) else folder
    return Option(name, FOLDER, "runs", "").check(path)


def train_on_array(model, images, held_out, out, progress, given, say):
    """See scratch.train. `say` is called with the line of each epoch, if there is to be progress."""
    progress = PROGRESS.check(progress)
    for name in ITS_OWN:
        if name in given:
            raise InputError("names images, and these are given as an array: leave it out.", name)
    if isinstance(model, Trained):
        session = continued(model, images, held_out, out, given)
    else:
        session = begun(model, images, held_out, out, given)
    for note in session.notes:
        warnings.warn(note, RuntimeWarning, stacklevel=3)
    with session.run:
        try:
            fit(session.trainer, session.data, session.run, session.progress,
                on_epoch=(lambda *found: say(epoch_line(*found))) if progress else ignore, bar=progress)
        except Interrupted:
            raise KeyboardInterrupt(how_to_go_on(session.run, model)) from None
    return Trained(session.run, session.run.options["device"], session.trainer.model, session.data.train)


def begun(model, images, held_out, out, given):
    """The Session of a new run."""
    folder = None if out is None else checked_folder(out, "out")
    options, maker = options_of(model, given)
    if "data" not in options:
        raise InputError(f"train takes images, and {options['model']} learns from other examples: train it with "
                         f"python -m scratch.")
    data = as_data(images, held_out, options["seed"])
    options = long_enough(options, given, len(data.train)) | {"data": data.name}
    if folder is None and options["keep"] == "best":
        raise InputError("is best, and the best weights are kept in a folder: give one as out.", "keep")
    if folder is None and options["tensorboard"]:
        raise InputError("is True, and TensorBoard reads from a folder: give one as out.", "tensorboard")
    return begin(options, data, folder, make_trainer=maker)


def continued(run, images, held_out, out, given):
    """The Session of a run that goes on."""
    if out is not None:
        raise InputError("names a folder, and a run that goes on stays in its own: leave it out.", "out")
    if isinstance(run.run, Unsaved):
        raise InputError("this run was written to no folder, which could say where it stopped: give its `model`, whose "
                         "weights are trained on, or train with `out`.")
    if run.options.get("data") != ARRAY:
        raise InputError(f"{run.run.folder} was trained on {run.run.config['data']['name']}, by the command line: "
                         f"continue it there, or give its `model`, whose weights are trained on.")
    return resume(run.run.folder, given, data=as_data(images, held_out, run.options["seed"]))


def as_data(images, held_out, seed):
    """The images as a data set in two parts. Raises InputError."""
    if isinstance(images, np.ndarray) and images.ndim == 3 and images.shape[2] in (1, 3):
        raise InputError(f"expected images (N, H, W, C), or (N, H, W) if they are grey, got one image, an array of "
                         f"shape {images.shape}: put several into one array.")
    try:
        return from_array(images, held_out=held_out, seed=seed, name=ARRAY)
    except DataError as error:
        raise InputError(f"{error}.") from None


def options_of(model, given):
    """(every option of the run, what makes its trainer): of a system that is named, or of a model that is built."""
    if isinstance(model, str):
        return resolve(model, given), make_trainer
    if not isinstance(model, Model) or not hasattr(model, "options"):
        raise InputError(f"expected the name of a system such as 'vqvae', a model that scratch.build made, or a run, "
                         f"got a {type(model).__name__}.")
    fixed = {"preset": None, **model_options(find_system(model.options["model"]))}
    for option in given:
        if option in fixed:
            raise InputError("is an option of the model, which is built already: give it to build.", option)
    weights = next(iter(model.named_parameters().values())).value
    built = {"dtype": weights.dtype.name, "device": device_of(weights)}
    if given.get("dtype", built["dtype"]) != built["dtype"]:
        raise InputError(f"expected {built['dtype']}, in which the model was built, got {given['dtype']!r}.", "dtype")
    preset = model.options["preset"]
    options = {**resolve(model.options["model"], {"preset": preset, **built, **given}), **model.options}
    return options, partial(make_trainer, model=model)


def how_to_go_on(run, model):
    """Where the weights are after Ctrl-C, in a sentence."""
    if not isinstance(run, Unsaved):
        return f"stopped and saved: scratch.train(scratch.load({str(run.folder)!r}), images) goes on."
    if isinstance(model, Model):
        return "stopped: the model has the weights of its last update, and training goes on from them."
    return "stopped: nothing is kept, for neither a folder was given nor a model that build made."


def ignore(metrics, shares):
    """Print nothing."""
