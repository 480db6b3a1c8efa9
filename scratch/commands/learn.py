"""The command `learn`: exercises that mark themselves."""

import argparse
import time
from pathlib import Path

from data_utils import printable
from scratch.commands.cli import fail, say
from scratch.learn.exercise import exercise
from scratch.learn.folder import DONE, Folder
from scratch.learn.lessons import LESSONS, NAMES
from scratch.learn.own_process import SECONDS, check_file, read
from scratch.learn.report import wrapped
from scratch.options.errors import InputError
from scratch.options.option import listed, nearest

PROGRAM = "python -m scratch learn"
PAUSE = 0.3  # seconds between two looks at a watched file
DESCRIPTION = """\
Exercises over ten lessons: you write the backward of an operation, and it is compared with the right one.

  learn                  the lessons, their exercises, and what is done
  learn start NAME       write the file of an exercise, to be filled in
  learn check FILE       mark it; a name will do for the file of that exercise
  learn watch FILE       mark it again each time it is saved, until Ctrl-C
  learn hint NAME        the next hint
  learn solution NAME    the solution
"""


def add(subparsers):
    """The command and its options."""
    parser = subparsers.add_parser(
        "learn", help="Exercises that mark themselves.", description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", nargs="?", metavar="ACTION", help=listed(list(ACTIONS), "or") + "; by default a list")
    parser.add_argument("what", nargs="?", metavar="NAME|FILE", help="an exercise, or its file")
    parser.add_argument("--dir", default="exercises", metavar="DIR", help="your folder (default: exercises)")
    parser.add_argument("--overwrite", action="store_true", help="start: begin anew, even if the file exists")
    parser.add_argument("--seconds", type=seconds, default=SECONDS, metavar="S",
                        help=f"check, watch: how long a file may run (default: {SECONDS})")
    parser.set_defaults(run_command=run)


def seconds(text):
    """A time limit as a number of seconds. Raises ValueError, which argparse turns into a sentence."""
    number = float(text)
    if not 0 < number < 1e6:
        raise ValueError
    return number


def run(arguments):
    """The command `learn`; 0 if all is right, 1 if an exercise is not yet right, 2 if it cannot be checked."""
    try:
        if arguments.action is None:
            return show_list(arguments)
        if arguments.action not in ACTIONS:
            raise InputError(f"learn knows no {arguments.action!r}{nearest(arguments.action, ACTIONS)}")
        if arguments.what is None:
            of = "the file of an exercise" if arguments.action in ("check", "watch") else "the name of an exercise"
            raise InputError(f"learn {arguments.action} needs {of}, such as {NAMES[0]}: `{PROGRAM}` lists them")
        return ACTIONS[arguments.action](arguments)
    except InputError as error:  # said here: the names of exercises are no options
        return fail(f"error: {error}".rstrip(".?") + ("?" if str(error).endswith("?") else "."))


def show_list(arguments):
    """List the lessons with their exercises, and what is done."""
    folder = Folder(arguments.dir)
    progress = folder.progress()
    states = {name: folder.state(name, progress) for name in NAMES}
    width = max(map(len, NAMES))
    for lesson in LESSONS:
        say(f"{lesson.number}  {lesson.title}")
        for name in lesson.exercises:
            say(f"      {name.ljust(width)}  {exercise(name).title}" + (f"  [{states[name]}]" if states[name] else ""))
    done = sum(state == DONE for state in states.values())
    left = [name for name, state in states.items() if state != DONE]
    say()
    say(f"{done} of {len(NAMES)} done." + (f" Next: {PROGRAM} start {left[0]}" if left and not states[left[0]] else
                                           f" Next: {PROGRAM} check {left[0]}" if left else ""))
    return 0


def start(arguments):
    """Write the file of an exercise."""
    folder = Folder(arguments.dir)
    file = folder.file(arguments.what)
    if file.exists() and not arguments.overwrite:
        raise InputError(f"{printable(file)} exists and is kept: --overwrite begins anew, "
                         "--dir DIR takes another folder")
    folder.start(arguments.what)
    say(f"Wrote {file}. Fill in what is marked TODO, then: {PROGRAM} check {file}")
    return 0


def check(arguments):
    """Mark a file."""
    return mark(file_of(arguments), arguments)


def watch(arguments):
    """Mark a file each time it is saved, until Ctrl-C."""
    file = file_of(arguments)
    read(file)
    status, seen = 0, None
    try:
        while True:
            now = saved_at(file)
            if now is not None and now != seen:
                seen = now
                say(f"--- {time.strftime('%H:%M:%S')} {file}, Ctrl-C ends")
                try:
                    status = mark(file, arguments)
                except InputError as error:
                    say(f"{error}.")
                    status = 2
                say()
            time.sleep(PAUSE)
    except KeyboardInterrupt:
        return status


def hint(arguments):
    """Show the next hint."""
    folder = Folder(arguments.dir)
    number, text = folder.next_hint(arguments.what)
    total = len(exercise(arguments.what).hints)
    for line in wrapped(f"Hint {number} of {total}: {text}"):
        say(line)
    if number == total:
        say(f"That was the last one. The solution: {PROGRAM} solution {arguments.what}")
    return 0


def solution(arguments):
    """Print the solution."""
    text = exercise(arguments.what).text(solved=True)
    for line in text.rstrip("\n").split("\n"):
        say(line)
    file = Folder(arguments.dir).file(arguments.what)
    fail(f"To compare: {PROGRAM} solution {arguments.what} | diff {file} -")
    return 0


ACTIONS = {"start": start, "check": check, "watch": watch, "hint": hint, "solution": solution}


def file_of(arguments):
    """The file that is meant: a path, or the name of an exercise in the folder."""
    path = Path(arguments.what)
    return Folder(arguments.dir).file(arguments.what) if arguments.what in NAMES and not path.is_file() else path


def saved_at(file):
    """When a file was last saved, and its size; None while an editor replaces it."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def mark(file, arguments):
    """Check a file, print the report, remember the result."""
    report = check_file(file, arguments.seconds)
    for line in report.lines():
        say(line)
    folder = Folder(file.parent)
    folder.record(report.exercise, file, report.ok)
    if not (report.ok or report.problems):
        say(f"A hint: {PROGRAM} hint {report.exercise}")
    return 0 if report.ok else 1 if report.usable else 2
