"""The process in which a student's file runs: NAME FILE REPORT WHERE SECONDS. Started by own_process.py alone."""

import faulthandler
import json
import os
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

from scratch.learn.exercise import exercise
from scratch.learn.marking import check_functions
from scratch.learn.report import Report
from scratch.learn.source import in_words


def main(name, file, found, where, seconds):
    """Check a file and write the Report; after some seconds write where it was, and end."""
    with open(where, "w", encoding="utf-8") as trace:
        faulthandler.dump_traceback_later(float(seconds), exit=True, file=trace)
        report = report_of(exercise(name), file)
        faulthandler.cancel_dump_traceback_later()
    unfinished = Path(f"{found}.part")
    unfinished.write_text(json.dumps(report.as_dict()), encoding="utf-8")
    unfinished.replace(found)


def report_of(task, file):
    """The Report of the functions that a file defines."""
    loader = SourceFileLoader("exercise", file)
    module = sys.modules["exercise"] = module_from_spec(spec_from_loader("exercise", loader))
    sys.dont_write_bytecode = True
    try:
        loader.exec_module(module)
    except SyntaxError as error:
        code = (error.text or "").strip()
        text = f"Python cannot read line {error.lineno}{f', `{code}`' if code else ''}: {error.msg}."
        return Report(task.name, usable=False, problems=[text])
    except (Exception, SystemExit) as error:
        return Report(task.name, usable=False, problems=[in_words(error, {file}, "The file")])
    given = {one: getattr(module, one) for one in task.functions if callable(getattr(module, one, None))}
    missing = [function for one, function in task.functions.items() if one not in given]
    if missing:
        wanted = " and ".join(f"{function.name}({', '.join(function.arguments)})" for function in missing)
        return Report(task.name, usable=False, problems=[f"It has no function {wanted}."])
    return check_functions(task, given)


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # whatever threads or exit handlers the file has left behind
