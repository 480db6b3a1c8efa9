"""The student's folder: the files of the exercises, and beside them progress.json, which remembers what passed."""

import hashlib
import json
import os
import shlex
from pathlib import Path

from data_utils import printable
from scratch.learn.exercise import exercise
from scratch.options.errors import InputError

PROGRESS = "progress.json"
DONE, CHANGED, BEGUN, NOT_BEGUN = "done", "changed since it passed", "begun", ""


class Folder:
    """A folder of exercises. progress.json holds {name: {"passed": hash of the file that passed, "hints": how many were
    shown}}: an exercise is done as long as its file is the one that passed."""

    def __init__(self, path):
        self.path = Path(path)
        self.notes = self.path / PROGRESS

    def file(self, name):
        """The file of an exercise, which need not exist."""
        return self.path / f"{exercise(name).name}.py"

    def start(self, name):
        """Write the file of an exercise in place of whatever stands there; its path."""
        file = self.file(name)
        self.path.mkdir(parents=True, exist_ok=True)
        text = exercise(name).template(f"python -m scratch learn check {shlex.quote(printable(file))}")
        write(file, text)
        return file

    def state(self, name, progress):
        """DONE, CHANGED, BEGUN or NOT_BEGUN, given `self.progress()`."""
        file = self.file(name)
        if not file.is_file():
            return NOT_BEGUN
        passed = progress.get(name, {}).get("passed")
        return BEGUN if passed is None else DONE if passed == hash_of(file) else CHANGED

    def record(self, name, file, ok):
        """Remember that a file passed, or that it did not."""
        progress = self.progress()
        entry = progress.setdefault(name, {})
        if ok:
            entry["passed"] = hash_of(file)
        elif entry.get("passed") == hash_of(file):
            del entry["passed"]
        else:
            return
        self.save(progress)

    def next_hint(self, name):
        """(number of the hint, its text): the first that was not shown yet, or else the last one."""
        hints, progress = exercise(name).hints, self.progress()
        entry = progress.setdefault(name, {})
        number = min(entry.get("hints", 0) + 1, len(hints))
        if entry.get("hints") != number:
            entry["hints"] = number
            self.save(progress)
        return number, hints[number - 1]

    def progress(self):
        """{name: {"passed": ..., "hints": ...}}. Raises InputError if progress.json is damaged."""
        try:
            found = json.loads(self.notes.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or not all(map(fits, found.values())):
            raise InputError(f"{printable(self.notes)} is damaged: delete it, and check once more what had passed")
        return found

    def save(self, progress):
        self.path.mkdir(parents=True, exist_ok=True)
        write(self.notes, json.dumps(progress, indent=2) + "\n")


def fits(entry):
    """Is this what progress.json holds for an exercise?"""
    return (isinstance(entry, dict) and isinstance(entry.get("passed"), str | None)
            and isinstance(entry.get("hints", 0), int) and entry.get("hints", 0) >= 0)


def hash_of(file):
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def write(file, text):
    """Write a file whole or not at all."""
    unfinished = file.with_name(f".{file.name}.part")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, file)
