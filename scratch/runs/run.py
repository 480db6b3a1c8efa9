"""A run: its options, its folder, its metrics, its checkpoints, and how it is continued.

descriptions.py says what the files hold. A file is written under a temporary name and then renamed, so a kill at any
moment leaves the last good file. Lines of steps.jsonl alone are appended as they come. A save writes the metrics first,
then resume.safetensors, which holds everything, then the checkpoints. After a kill resume.safetensors therefore says
how far the run has come, and resuming brings the other files to that point. A folder without resume.safetensors belongs
to a run that was never saved; training into it starts from the beginning.
"""

import json
import os
import platform
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from data_utils import printable
from scratch.options.errors import InputError
from scratch.runs import descriptions as described
from scratch.runs.descriptions import CONFIG, METRICS, POSITION, STEPS
from scratch.runs.files import (
    check_writable,
    make_folder,
    names_in,
    present,
    read_tensors,
    remove_leftovers,
    write_atomically,
)
from scratch.runs.lock import Lock
from scratch.runs.opening import checked_config, checked_resume, is_config, read_position
from scratch.runs.schema import Mismatch
from scratch.runs.tensorboard import EventFile, remove_events
from scratch.training.progress import Best, Diverged, Progress, StepMeans, Totals

LINES = {"metrics.jsonl": METRICS, "steps.jsonl": STEPS}


class AlreadyARun(InputError):
    """The folder for a new run already holds a run that was saved."""


def versions():
    """{package: version} of the packages that a run's numbers may depend on."""
    found = {"python": platform.python_version()}
    for package in ("numpy", "torch", "cupy-cuda13x", "cupy-cuda12x", "matplotlib", "pillow", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def describe_data(data):
    """The facts about the data that a run depends on, for its config."""
    found = {
        "name": data.name,
        "image_shape": list(data.train.shape[1:]),
        "training_images": len(data.train),
        "held_out_images": len(data.held_out),
    }
    if tokenizer := getattr(data, "tokenizer", None):
        found["merges"] = [list(pair) for pair in tokenizer.merges]
    return found


class Run:
    """A run's folder and config. Writing into the folder needs its lock; reading does not.

    The lock is taken when a run is created, resumed or first written to. It is released by `close`, at the end of a
    `with` block, or when the Run is deleted.
    """

    began_anew = False  # True if `create` found a run that was never saved
    history = None  # of a run in training: the metrics of its epochs, also of those since the last save
    lock = None
    events = None  # the EventFile of a run in training, with the option tensorboard

    def __init__(self, folder, config):
        self.folder, self.config = Path(folder), config

    @property
    def options(self):
        return self.config["options"]

    def hold(self):
        """Take the lock for writing into the folder. Raises InputError if another process or Run holds it."""
        if self.lock is None:
            self.lock = Lock(self.folder)

    def close(self):
        """Let others write into the folder."""
        if self.lock is not None:
            self.lock.close()
            self.lock = None

    @contextmanager
    def closed_on_error(self):
        """Within a `with` block, an exception closes the run."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    @classmethod
    def create(cls, folder, config):
        """A new run. Raises InputError if the folder holds a saved run, or another file with a name that a run writes.
        """
        make_folder(folder)
        run = cls(folder, config)
        run.hold()
        with run.closed_on_error():
            run.began_anew = run.make_room()
            run.write_config()
            run.begin_events()
            run.history = []
        return run

    def make_room(self):
        """Remove the files of a run that was never saved, and return whether there was one. Raises InputError if one of
        the names that a run writes belongs to anything else."""
        folder, names = printable(self.folder), names_in(self.folder)
        if "resume.safetensors" in names:
            raise AlreadyARun(f"{folder} holds a run already: continue that one, or choose another folder.")
        if set(names) & set(described.WEIGHTS.values()):
            raise InputError(f"{folder} holds the weights of a run and no resume.safetensors to continue it from: "
                             f"choose another folder.")
        own = "config.json" in names and is_config(self.folder / "config.json")
        for name in (*described.FILES, *described.PICTURES):
            if name in names and not own:
                raise InputError(f"{folder} holds a {name} that train did not write: choose another folder.")
        for name in LINES.keys() & set(names):
            os.unlink(self.folder / name)
        remove_leftovers(self.folder)
        remove_events(self.folder)
        return own

    @staticmethod
    def open_config(folder):
        """The config that continuing a run would use, from the header of its resume.safetensors."""
        return read_position(checked_resume(folder))[0]

    @classmethod
    def open(cls, folder):
        """A run that was trained before, for reading."""
        path = Path(folder) / "config.json"
        if not present(path):
            raise InputError(f"{printable(folder)} holds no config.json: name a folder that train wrote.")
        return cls(folder, checked_config(CONFIG.read(path), path))

    def write_config(self):
        self.hold()
        CONFIG.write(self.folder / "config.json", self.config)

    def metrics(self):
        """The metrics so far, one dict for each epoch."""
        return self.read_lines("metrics.jsonl") if self.history is None else list(self.history)

    def add_metrics(self, line):
        """Add the metrics of an epoch, which the next save writes. They replace those of the same epoch, unfinished."""
        ended = [earlier for earlier in self.history if earlier["epoch"] < line["epoch"]]
        if len(ended) < len(self.history):
            self.begin_events(self.read_lines("steps.jsonl"), ended)
        self.history = [*ended, line]

    def begin_events(self, steps=(), metrics=(), updates=None):
        """Begin the event file anew with these lines, if the run is to have one."""
        if self.options.get("tensorboard"):
            self.events = EventFile(self, steps, metrics, updates)

    def read_lines(self, name):
        """The JSON objects of metrics.jsonl or steps.jsonl; an empty list if the file does not exist."""
        path = self.folder / name
        return LINES[name].read_lines(path) if present(path) else []

    def write_lines(self, name, objects):
        self.hold()
        LINES[name].write_lines(self.folder / name, objects)

    def append_steps(self, line):
        """Add an object to steps.jsonl."""
        self.hold()
        STEPS.append_line(self.folder / "steps.jsonl", line)
        if self.events:
            self.events.add_steps(line)

    def save(self, trainer, progress):
        """Save the state of training and the metrics so far. Raises Diverged if a weight is not finite."""
        weights, moments, steps = trainer.state()
        for name, value in weights.items():
            if not np.isfinite(value).all():
                raise Diverged(f"{name} is not finite after step {steps}")
        tensors = {f"model.{name}": value for name, value in weights.items()}
        tensors |= {f"optimizer.{name}": value for name, value in moments.items()}
        totals = asdict(progress.totals)
        tensors |= {f"counts.{level}": counts for level, counts in totals.pop("counts").items()}
        position = {"epoch": progress.epoch, "step": progress.step, "updates": steps, "totals": totals}
        position["step_means"] = asdict(progress.step_means)
        position["environment"] = trainer.environment()
        if best := progress.best:
            tensors |= {f"best.{name}": value for name, value in best.weights.items()}
            position["best"] = {"epoch": best.epoch, "loss": best.loss}
        POSITION.check(position, self.folder / "resume.safetensors")
        metadata = {
            "format": described.RESUME_FORMAT, "config": json.dumps(self.config), "position": json.dumps(position)}
        self.hold()
        if self.history:
            self.write_lines("metrics.jsonl", self.history)
        if self.events:
            self.events.add_epochs(self.history, steps)
        write_atomically(self.folder / "resume.safetensors", save(tensors, metadata=metadata))
        self.write_weights(weights, best)

    def write_weights(self, last, best):
        """Write the checkpoints: the last weights, and those of a Best if there is one."""
        write_atomically(self.folder / described.WEIGHTS["last"], save(last))
        if best:
            write_atomically(self.folder / described.WEIGHTS["best"], save(best.weights))

    @classmethod
    def resume(cls, folder):
        """(run, tensors, position) from resume.safetensors alone."""
        path = checked_resume(folder)
        run = cls(folder, {})
        run.hold()
        with run.closed_on_error():
            run.config, position = read_position(path)
            return run, read_tensors(path), position

    def restore(self, trainer, tensors, position):
        """Load the tensors into the trainer, bring the folder's files to the same point, and return the progress.

        Raises InputError, before anything is changed, if the tensors do not fit the trainer or a file is damaged.
        """
        path, sums = self.folder / "resume.safetensors", position["totals"]["sums"]
        weights, moments, _ = trainer.state()
        try:
            described.resumable(weights, moments, sums, self.options.get("codes"), "best" in position).check(tensors)
        except Mismatch as mismatch:
            raise InputError(f"{printable(path)} does not fit its own config: {mismatch}: restore it, or train again."
                             ) from None
        # If `steps` ended in the middle of an epoch, the epoch already has a line, which its end will replace.
        begun = position["epoch"] + (position["step"] > 0)
        metrics = [m for m in self.metrics() if m["epoch"] < begun]
        steps = [line for line in self.read_lines("steps.jsonl") if line["step"] <= position["updates"]]
        for name in (*described.FILES, *described.PICTURES):
            if present(self.folder / name):
                check_writable(self.folder / name)
        self.hold()

        progress, weights = progress_at(trainer, tensors, position)
        remove_leftovers(self.folder)
        self.write_weights(weights, progress.best)
        self.history = metrics
        self.write_lines("metrics.jsonl", metrics)
        if steps or present(self.folder / "steps.jsonl"):
            self.write_lines("steps.jsonl", steps)
        self.begin_events(steps, metrics, position["updates"])
        return progress

    def load_weights(self, model, which="last"):
        """Read the last weights, or the best ones, into a model that the config built. Raises InputError."""
        path = self.folder / described.WEIGHTS[which]
        if which == "best" and not present(path):
            raise InputError(f"is best, and {printable(self.folder)} has no {path.name}: name a run that was trained "
                             f"to keep the best, or take the last weights.", "which")
        if not present(path):
            raise InputError(f"{printable(path)} does not exist: name a run that has finished an epoch, or continue "
                             f"this one.")
        try:
            model.load_state_dict(read_tensors(path, described.weights(model.state_dict())))
        except Mismatch as mismatch:
            raise InputError(f"{printable(path)} does not fit the {self.options['model']} that config.json describes: "
                             f"{mismatch}: restore it, or train again.") from None
        return model

    def check_destination(self, path):
        """Raise InputError if `path`, which a command is about to write, is a file of this run."""
        for name in described.FILES:
            if same_file(path, self.folder / name):
                raise InputError(f"{printable(path)} is a file of the run itself: choose another name.")


def progress_at(trainer, tensors, position):
    """(the Progress, the weights) of a resume.safetensors, whose tensors are loaded into the trainer."""
    parts = {"model": {}, "optimizer": {}, "counts": {}, "best": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    trainer.load(parts["model"], parts["optimizer"], position["updates"])
    best = Best(**position["best"], weights=parts["best"]) if "best" in position else None
    totals, step_means = Totals(**position["totals"], counts=parts["counts"]), StepMeans(**position["step_means"])
    return Progress(position["epoch"], position["step"], totals, step_means, best), parts["model"]


def same_file(path, other):
    """Do two paths name one file, which need not exist?"""
    return os.path.realpath(path) == os.path.realpath(other)
