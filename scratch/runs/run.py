"""A run: its options, its folder, its metrics, its checkpoints, and how it is taken up again.

    config.json             every option, the data, the versions, the parameter count
    metrics.jsonl           a JSON object an epoch
    steps.jsonl             with --log-steps L: one every L updates, the means over them
    checkpoint.safetensors  the weights alone, in PyTorch's names and layouts
    resume.safetensors      all that continuing needs: weights, optimiser moments, position, and the config itself

Every file is written beside its place and renamed into it, so that a kill at any moment leaves the last good one. Only
to steps.jsonl lines are appended as they come; resuming cuts off those that came after the last checkpoint.
"""

import json
import os
import platform
import tempfile
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from scratch.options.errors import InputError
from scratch.training.progress import Diverged, Progress, StepMeans, Totals

FORMAT = "autoencoders-from-scratch resume 1"


def write_atomically(path, content):
    """Write bytes to a temporary file in the same folder, and rename it to `path` when it is complete on the disk."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def versions():
    """{package: version} of what a run's numbers may depend on."""
    found = {"python": platform.python_version()}
    for package in ("numpy", "torch", "cupy-cuda13x", "cupy-cuda12x", "matplotlib", "pillow", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def describe_data(data):
    """What of the data a run depends on, for its config."""
    return {
        "name": data.name,
        "image_shape": list(data.train.shape[1:]),
        "training_images": len(data.train),
        "held_out_images": len(data.held_out),
    }


class Run:
    """A run's folder and config."""

    def __init__(self, folder, config):
        self.folder, self.config = Path(folder), config

    @property
    def options(self):
        return self.config["options"]

    @classmethod
    def create(cls, folder, config):
        """A new run in a folder that holds none yet."""
        folder = Path(folder)
        if any((folder / name).exists() for name in ("checkpoint.safetensors", "resume.safetensors")):
            raise InputError(f"{folder} holds a run already: name another --out, or continue with --resume {folder}.")
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder, config)
        run.write_config()
        return run

    @staticmethod
    def open_config(folder):
        """The config that continuing a run would use, from the header of its resume.safetensors."""
        return read_position(Path(folder) / "resume.safetensors")[0]

    @classmethod
    def open(cls, folder):
        """A run that was trained before."""
        path = Path(folder) / "config.json"
        try:
            config = json.loads(path.read_text())
            config["options"]["model"], config["data"]["image_shape"]
        except FileNotFoundError:
            raise InputError(f"{folder} holds no config.json: name a folder that train wrote.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no config of a run ({error}): restore it, or train again.") from None
        return cls(folder, config)

    def write_config(self):
        write_atomically(self.folder / "config.json", (json.dumps(self.config, indent=2) + "\n").encode())

    def metrics(self):
        """The metrics written so far, an object an epoch."""
        return self.read_lines("metrics.jsonl")

    def read_lines(self, name):
        """The JSON objects of a file of lines; a line cut off by a kill is passed over."""
        path, objects = self.folder / name, []
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                objects.append(json.loads(line))
            except ValueError:
                continue
        return objects

    def write_lines(self, name, objects):
        content = "".join(json.dumps(entry) + "\n" for entry in objects)
        write_atomically(self.folder / name, content.encode())

    def append_steps(self, line):
        """Add an object to steps.jsonl."""
        with open(self.folder / "steps.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")

    def save(self, trainer, progress, metrics=None):
        """Save where training stands, and the metrics of a finished epoch. Raises Diverged at weights not finite."""
        weights, moments, steps = trainer.state()
        for name, value in weights.items():
            if not np.isfinite(value).all():
                raise Diverged(f"{name} is not finite after step {steps}")
        if metrics is not None:
            earlier = [m for m in self.metrics() if m["epoch"] < metrics["epoch"]]
            self.write_lines("metrics.jsonl", [*earlier, metrics])
        write_atomically(self.folder / "checkpoint.safetensors", save(weights))
        tensors = {f"model.{name}": value for name, value in weights.items()}
        tensors |= {f"optimizer.{name}": value for name, value in moments.items()}
        totals = asdict(progress.totals)
        tensors |= {f"counts.{level}": counts for level, counts in totals.pop("counts").items()}
        position = {"epoch": progress.epoch, "step": progress.step, "updates": steps, "totals": totals}
        position["step_means"] = asdict(progress.step_means)
        position["environment"] = trainer.environment()
        metadata = {"format": FORMAT, "config": json.dumps(self.config), "position": json.dumps(position)}
        write_atomically(self.folder / "resume.safetensors", save(tensors, metadata=metadata))

    @classmethod
    def resume(cls, folder):
        """(run, tensors, position) from resume.safetensors alone."""
        path = Path(folder) / "resume.safetensors"
        tensors = read_tensors(path)
        config, position = read_position(path)
        return cls(folder, config), tensors, position

    def restore(self, trainer, tensors, position):
        """Put the trainer where the tensors say, cut the metrics back to there, and return the progress."""
        parts = {"model": {}, "optimizer": {}, "counts": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = value
        trainer.load(parts["model"], parts["optimizer"], position["updates"])
        for leftover in self.folder.glob(".*.safetensors.*"):  # a write that a kill cut short
            leftover.unlink()
        # Where --steps ended in the middle of an epoch, the epoch has its line already, until it ends once more.
        begun = position["epoch"] + (position["step"] > 0)
        self.write_lines("metrics.jsonl", [m for m in self.metrics() if m["epoch"] < begun])
        if steps := self.read_lines("steps.jsonl"):
            self.write_lines("steps.jsonl", [line for line in steps if line["step"] <= position["updates"]])
        totals = Totals(**position["totals"], counts=parts["counts"])
        step_means = StepMeans(**position.get("step_means", {"step": position["updates"]}))
        return Progress(position["epoch"], position["step"], totals, step_means)

    def load_weights(self, model):
        """Read checkpoint.safetensors into a model that the config built."""
        path = self.folder / "checkpoint.safetensors"
        try:
            model.load_state_dict(read_tensors(path))
        except ValueError as error:
            model = self.options["model"]
            raise InputError(f"{path} does not fit the {model} that config.json describes: {error}.") from None
        return model


def read_position(path):
    """(config, position) of a resume.safetensors, from its header alone."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise KeyError("format")
        return json.loads(metadata["config"]), json.loads(metadata["position"])
    except (KeyError, ValueError, SafetensorError) as error:
        raise InputError(f"{path} was not written by train ({error}): name a run that it wrote.") from None


def read_tensors(path):
    """{name: NumPy array} of a safetensors file."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: name a run that has finished an epoch.") from None
    except SafetensorError as error:
        raise InputError(f"{path} is damaged or no safetensors file ({error}): restore it, or train again.") from None
