"""Check a file in a process of its own: what it prints, how it ends and how long it takes cannot disturb the check."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from data_utils import printable
from scratch.learn.exercise import exercise_of
from scratch.learn.lessons import NAMES
from scratch.learn.report import Report
from scratch.options.errors import InputError

SECONDS = 20  # for the whole check; those here take less than one
GRACE = 10  # more, in which the process ends by itself and says where it was
KEPT = 2000  # characters of what a file prints


def check_file(path, seconds=SECONDS):
    """The Report of an exercise's file. Raises InputError for a file that cannot be read, or that is no exercise."""
    path = Path(path)
    name, _ = read(path)
    with tempfile.TemporaryDirectory() as folder:
        found, where = Path(folder) / "report.json", Path(folder) / "where.txt"
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scratch.learn.worker", name, str(path.resolve()), str(found), str(where),
             str(seconds)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "utf-8",
                 "PYTHONUNBUFFERED": "1"})
        printed = []
        reader = threading.Thread(target=keep, args=(process.stdout, printed), daemon=True)
        reader.start()
        try:
            process.wait(seconds + GRACE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            reader.join(1)
        report = report_of(name, path, found, where, process.returncode, seconds)
    report.printed = shown("".join(printed))
    return report


def read(path):
    """(name of the exercise, text) of a file. Raises InputError."""
    shown_path = printable(path)
    if path.is_dir():
        raise InputError(f"{shown_path} is a folder: give the file of an exercise")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{shown_path} does not exist: `python -m scratch learn start NAME` writes the file of an "
                         f"exercise") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise InputError(f"{shown_path} cannot be read: {why}") from None
    name = exercise_of(text) or path.stem
    if name not in NAMES:
        raise InputError(f"{shown_path} is not an exercise: expected a file as `python -m scratch learn start NAME` "
                         f'writes it, with the line # Exercise "NAME" at its top')
    return name, text


def keep(stream, printed):
    """Read all that a process prints; keep the beginning."""
    room = KEPT + 1
    with stream:
        for block in iter(lambda: stream.read1(65536), b""):
            if room > 0:
                printed.append(block[:room].decode("utf-8", "backslashreplace"))
                room -= len(block)


def shown(printed):
    """What a file printed, cut off where it is long."""
    return printed if len(printed) <= KEPT else f"{printed[:KEPT]}\n… and more"


def report_of(name, path, found, where, status, seconds):
    """What the process wrote; or else a Report that says how it ended."""
    if found.exists():
        return Report.from_dict(json.loads(found.read_text(encoding="utf-8")))
    trace = where.read_text(encoding="utf-8", errors="replace") if where.exists() else ""
    if "Timeout" in trace:
        file = re.escape(str(path.resolve()).encode("ascii", "backslashreplace").decode())
        frame = re.search(rf'File "{file}", line (\d+) in (\S+)', trace)
        at = f": it was in line {frame[1]}" if frame else ""
        at += f", in {frame[2]}" if frame and frame[2] != "<module>" else ""
        text = f"It did not end within {seconds:g} s{at}. Is there a loop that never ends?"
        return Report(name, problems=[text], usable=bool(frame) and frame[2] != "<module>")
    if status < 0:
        text = f"Python crashed (signal {-status}): something compiled went wrong, or memory ran out."
    else:
        text = f"It ended Python itself, with status {status}, before it was checked: leave out os._exit()."
    return Report(name, problems=[text], usable=False)
