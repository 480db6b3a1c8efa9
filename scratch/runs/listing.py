"""The runs in a folder: what each is, how far it was trained, and its held-out figures."""

import os
from pathlib import Path

from data_utils import printable
from scratch.options.errors import InputError
from scratch.runs.files import present, unreadable
from scratch.runs.run import Run

DEPTH = 3  # folders below the one that is listed: a sweep has its runs in folders of its own
MARKS = ("config.json", "resume.safetensors", "checkpoint.safetensors")  # a folder with one of these holds a run


def runs_in(folder):
    """[{name: value}] of every run in a folder or below it, the oldest first. Raises InputError if there is no folder.

    A run that cannot be read has `problem`, a sentence, instead of figures, and does not end the list.
    """
    try:
        found = [about(path) for path in folders_of_runs(Path(folder))]
    except OSError as error:
        raise unreadable(folder, error) from None
    return sorted(found, key=lambda run: (run["changed"], run["folder"]))


def folders_of_runs(folder, depth=DEPTH):
    """The folders that hold a run. Links are not followed."""
    with os.scandir(folder) as entries:
        entries = sorted(entries, key=lambda entry: entry.name)
    if any(entry.name in MARKS for entry in entries):
        yield folder
    for entry in entries:
        if depth and entry.is_dir(follow_symlinks=False) and os.access(entry.path, os.R_OK | os.X_OK):
            yield from folders_of_runs(Path(entry.path), depth - 1)


def about(folder):
    """{name: value} of one run: folder, changed (seconds since 1970), and what it is, or the `problem` with it."""
    found = {"folder": str(folder), "changed": last_change(folder)}
    try:
        run = Run.open(folder)
        metrics = run.metrics()
    except InputError as error:
        return {**found, "problem": str(error)}
    options, last = run.options, metrics[-1] if metrics else {}
    found |= {
        "program": run.config["program"], "model": options["model"], "preset": options["preset"],
        "data": run.config["data"]["name"], "parameters": run.config["parameters"],
        "epochs": last.get("epoch", 0), "epochs_wanted": options["epochs"], "steps_wanted": options["steps"],
    }
    if not present(folder / "checkpoint.safetensors"):
        found["problem"] = f"{printable(folder)} was begun and never saved."
    return found | {name: value for name, value in last.items() if name.startswith("held_out_")}


def last_change(folder):
    """When one of a run's files was last written, in seconds since 1970."""
    times = [(folder / name).lstat().st_mtime for name in (*MARKS, "metrics.jsonl") if os.path.lexists(folder / name)]
    return max(times)
