"""A run in training: a new one, or one continued from its last save."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path

from data_utils import printable
from scratch.options.errors import InputError
from scratch.options.resolve import resolve_resumed
from scratch.runs.examples import completed, load_examples
from scratch.runs.files import make_folder, reason
from scratch.runs.references import check_references, references_of
from scratch.runs.run import Run, describe_data, progress_at, versions
from scratch.runs.tensorboard import check_tensorboard
from scratch.training.loop import Unsaved, prepare, steps_to_do
from scratch.training.make import make_trainer
from scratch.training.progress import Progress
from scratch.training.world import world

ARRAY = "array"  # the option `data` of a run on an array of images, which a run does not keep


class Follower(Unsaved):
    """The run of a rank other than the first, which alone writes. It knows the metrics of earlier epochs."""

    began_anew = False

    def __init__(self, config, metrics=()):
        super().__init__(config)
        self.history = list(metrics)

    def restore(self, trainer, tensors, position):
        return progress_at(trainer, tensors, position)[0]

    def write_config(self):
        """The first rank writes it."""


@dataclass
class Session:
    """What `fit` takes: trainer, data, run and progress. `notes` are sentences for the user about the run."""

    trainer: object
    data: object
    run: object
    progress: Progress
    notes: list = field(default_factory=list)


def begin(options, data, folder=None, *, program="scratch", make_trainer=make_trainer, on_ready=lambda run: None):
    """The Session of a new run in `folder`; a run without a folder writes nothing. Raises InputError.

    options    every option, as `resolve` gives them
    folder     a path, or a function that makes a folder and returns its path
    on_ready   called with the run before its model sees the first images
    """
    options = completed(options, data)
    check_tensorboard(options)
    trainer, parameters = make_trainer(options, data.train.shape[1:])
    check_last_batch(trainer, data, options)
    config = {
        "program": program,
        "options": options,
        "data": describe_data(data),
        "parameters": parameters,
        "versions": versions(),
    }
    if references := references_of(options):
        config["references"] = references
    if world().rank > 0:
        run = Follower(config)
    else:
        if callable(folder):
            folder = folder()
        run = Unsaved(config) if folder is None else Run.create(folder, config)
    with run.closed_on_error():
        on_ready(run)
        prepare(trainer, data, options)
    return Session(trainer, data, run, Progress(), list(getattr(trainer, "notes", ())))


def resume(folder, given, *, program="scratch", make_trainer=make_trainer, download=False, data=None):
    """The Session of a run at its last save. `given` are options that may change. Raises InputError.

    data   the examples, if the options name no data set for them
    """
    resumed = Run.resume(folder) if world().rank == 0 else None
    if world().size > 1:
        resumed = followed(resumed)
    run, tensors, position = resumed
    with run.closed_on_error():
        return continued(run, tensors, position, given, program, make_trainer, download, data)


def followed(resumed):
    """(run, tensors, position) at every rank, where the first has them; the others have a Follower."""
    def state():
        run, tensors, position = resumed
        metrics = [line for line in run.metrics() if line["epoch"] < position["epoch"] + (position["step"] > 0)]
        return run.config, metrics, tensors, position

    config, metrics, tensors, position = world().from_first(state)
    return resumed or (Follower(config, metrics), tensors, position)


def continued(run, tensors, position, given, program, make_trainer, download, data):
    """The Session of a run from its resume.safetensors. Nothing is written before everything has been checked."""
    if run.config["program"] != program:
        raise InputError(f"{run.folder} was trained by {run.config['program']}: continue it there.")
    run.config["options"] = resolve_resumed(run.options, given)
    check_tensorboard(run.options)
    check_references(run)
    if references := references_of(run.options):
        run.config["references"] = references
    if data is None:
        if run.options.get("data") == ARRAY:
            raise InputError(f"{printable(run.folder)} was trained on an array, which it does not keep: go on in "
                             f"Python with scratch.train(scratch.load({str(run.folder)!r}), images).")
        data = load_examples(run.options, download)
    if describe_data(data) != run.config["data"]:
        raise InputError(f"the data has changed since {run.folder} was trained: {data.describe()}, "
                         f"where the run had {run.config['data']}.")
    trainer, _ = make_trainer(run.options, data.train.shape[1:])
    progress = run.restore(trainer, tensors, position)
    run.write_config()
    notes = list(getattr(trainer, "notes", ()))
    for name, now in trainer.environment().items():
        if (before := position["environment"].get(name)) != now:
            notes.append(f"Note: {name} was {before}, is now {now}: the run goes on, but not bit for bit as before.")
    return Session(trainer, data, run, progress, notes)


def is_finished(session):
    """Are all epochs or steps of a continued run done?"""
    return not steps_to_do(session.progress, session.run.options, len(session.data.train))


def check_last_batch(trainer, data, options):
    """Raise InputError if the last batch of an epoch holds a single example and the model cannot be trained on one,
    as with batch normalisation over a single pixel."""
    count, size = len(data.train), options["batch_size"]
    if (count % size or min(size, count)) != 1:
        return
    try:
        trainer.try_one(trainer.inputs(data.train[:1], options["dtype"]))
    except ValueError as error:
        works = next((other for other in itertools.chain(range(size - 1, 1, -1), range(size + 1, count + 1))
                      if count % other != 1), None)
        advice = [f"a batch_size of {works}"] if works else []
        advice += [f"a limit of {count - 1}"] if count > 2 and size > 1 else []
        raise InputError(f"the last of the batches of {size} out of {count} images holds one image, which the model "
                         f"cannot be trained on ({error}): choose {' or '.join(advice) or 'more images'}.") from None


def make_free_folder(options, parent="runs"):
    """Make runs/MODEL-PRESET-DATA, with a number appended if that folder exists; its path. A model without the option
    has no DATA.

    Of several processes that do this at once each makes its own: the system lets only one make a folder of a name.
    """
    parts = [options["model"], options["preset"], *([options["data"].partition(":")[0]] if "data" in options else [])]
    name = "-".join(parts)
    make_folder(parent)
    for number in itertools.count(1):
        folder = Path(parent) / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise InputError(f"the folder {printable(folder)} cannot be made ({reason(error)}): choose another."
                             ) from None
        return folder
