"""What stands behind `scratch.train`: a run on an array of images, in a folder or in memory alone."""

from functools import partial

from data_utils import from_array
from scratch.models.system import find_system
from scratch.module import Module
from scratch.options.errors import InputError
from scratch.options.resolve import model_options, resolve
from scratch.runs.session import begin
from scratch.runs.trained import Trained
from scratch.training.loop import fit
from scratch.training.make import make_trainer
from scratch.training.progress import epoch_line

ITS_OWN = ("data", "data_root", "image_size", "limit")  # options that name images, which are given instead


def train_on_array(model, images, held_out, out, progress, given):
    """See scratch.train."""
    for name in ITS_OWN:
        if name in given:
            raise InputError("names images, and these are given as an array: leave it out.", name)
    options, maker = options_of(model, given)
    if "data" not in options:
        raise InputError(f"train takes images, and {options['model']} learns from other examples: train it with "
                         f"python -m scratch.")
    data = from_array(images, held_out=held_out, seed=options["seed"])
    options["data"] = data.name
    session = begin(options, data, out, make_trainer=maker)
    fit(session.trainer, data, session.run, session.progress, on_epoch=show if progress else ignore)
    return Trained(session.run, options["device"], session.trainer.model)


def options_of(model, given):
    """(every option of the run, what makes its trainer): of a system that is named, or of a model that is built."""
    if not isinstance(model, Module):
        return resolve(model, given), make_trainer
    if not hasattr(model, "options"):
        raise InputError(f"expected the name of a system, or a model that scratch.build made, got a "
                         f"{type(model).__name__}.")
    name, fixed = model.options["model"], model_options(find_system(model.options["model"]))
    for option in given:
        if option in fixed:
            raise InputError("is an option of the model, which is built already: give it to build.", option)
    weights = next(iter(model.named_parameters().values())).value
    options = {**resolve(name, given), **model.options}
    if given.get("dtype", weights.dtype.name) != weights.dtype.name:
        raise InputError(f"expected {weights.dtype.name}, in which the model was built, got {given['dtype']!r}.",
                         "dtype")
    return {**options, "dtype": weights.dtype.name}, partial(make_trainer, model=model)


def show(metrics):
    """A line an epoch."""
    print(epoch_line(metrics), flush=True)


def ignore(metrics):
    """No line."""
