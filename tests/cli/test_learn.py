"""`python -m scratch learn`: lists, starts, checks, watches, hints and shows solutions; bad files get a sentence."""

import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from scratch.commands import learn
from scratch.learn.exercise import exercise
from scratch.learn.lessons import LESSONS, NAMES
from tests.support.exercises import line_of, solved


@pytest.fixture
def write(scratch):
    """write(name, *changes): the solved file of an exercise with these changes, in exercises/; its path."""

    def to(name, *changes, file=None):
        path = Path(file or f"exercises/{name}.py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(solved(name, *changes), encoding="utf-8")
        return path

    return to


def test_a_list_of_all_that_can_be_done(scratch):
    listed = scratch("learn")
    assert listed.status == 0 and not listed.err
    for lesson in LESSONS:
        assert f"{lesson.number}  {lesson.title}\n" in listed.out
    assert [line.split()[0] for line in listed.out.split("\n") if line.startswith("      ")] == list(NAMES)
    assert listed.out.endswith("0 of 26 done. Next: python -m scratch learn start linear\n")
    assert not any(Path().iterdir()), "a list writes nothing"


def test_from_start_to_done(scratch):
    started = scratch("learn", "start", "relu")
    assert started.status == 0 and started.out.startswith("Wrote exercises/relu.py. Fill in what is marked TODO")
    file = Path("exercises/relu.py")
    assert file.read_text() == exercise("relu").template("python -m scratch learn check exercises/relu.py")
    assert "relu                     The rectified linear unit  [begun]" in scratch("learn").out
    begun = scratch("learn", "check", "relu")
    assert begun.status == 1 and re.search(r"dx +to do", begun.out)
    assert begun.out.endswith("A hint: python -m scratch learn hint relu\n")
    file.write_text(re.sub(r"dx = \.\.\..*", "dx = dy * (x < 0)", file.read_text()))
    wrong = scratch("learn", "check", "exercises/relu.py")
    line = line_of(file.read_text(), "dx = dy")
    assert wrong.status == 1 and re.search(r"dx +wrong", wrong.out) and f"dx (line {line})" in wrong.out
    file.write_text(file.read_text().replace("x < 0", "x > 0"))
    right = scratch("learn", "check", "relu")
    assert right.status == 0 and right.out.endswith("relu: all right.\n") and not right.err
    assert "The rectified linear unit  [done]" in scratch("learn").out
    file.write_text(file.read_text() + "\n")
    assert "The rectified linear unit  [changed since it passed]" in scratch("learn").out
    assert scratch("learn", "check", "relu").status == 0
    listed = scratch("learn")
    assert "[done]" in listed.out and "1 of 26 done. Next: python -m scratch learn start linear" in listed.out


def test_start_keeps_what_is_there(scratch, write):
    mine = write("linear").read_text()
    refused = scratch("learn", "start", "linear")
    assert refused.status == 2 and "exercises/linear.py exists and is kept: --overwrite begins anew" in refused.err
    assert Path("exercises/linear.py").read_text() == mine
    assert scratch("learn", "start", "linear", "--dir", "my work").status == 0
    assert "learn check 'my work/linear.py'" in Path("my work/linear.py").read_text()
    assert scratch("learn", "start", "linear", "--overwrite").status == 0
    assert "TODO" in Path("exercises/linear.py").read_text()
    assert sorted(path.name for path in Path("exercises").iterdir()) == ["linear.py"], "no file is left half-written"


def test_hints_one_at_a_time(scratch):
    hints = exercise("linear").hints
    for number in (*range(1, len(hints) + 1), len(hints)):
        shown = scratch("learn", "hint", "linear")
        assert shown.status == 0 and f"Hint {number} of {len(hints)}: " in shown.out
        assert " ".join(hints[number - 1].split()) in " ".join(shown.out.split())
    assert "That was the last one. The solution: python -m scratch learn solution linear" in shown.out
    assert json.loads(Path("exercises/progress.json").read_text()) == {"linear": {"hints": len(hints)}}
    assert "Hint 1 of" in scratch("learn", "hint", "linear", "--dir", "elsewhere").out


def test_a_solution_passes_its_own_check(scratch):
    shown = scratch("learn", "solution", "gumbel_softmax")
    assert shown.status == 0 and "diff exercises/gumbel_softmax.py -" in shown.err
    Path("gumbel_softmax.py").write_text(shown.out)
    assert scratch("learn", "check", "gumbel_softmax.py").status == 0


def test_a_file_is_recorded_where_it_lies(scratch, write):
    write("relu", file="other/any_name.py")
    assert scratch("learn", "check", "other/any_name.py").status == 0
    assert "relu" in json.loads(Path("other/progress.json").read_text()) and not Path("exercises").exists()


def test_watch_checks_what_is_saved(scratch, write, monkeypatch):
    file = write("relu", ("x > 0", "x < 0"))
    texts = [solved("relu", ("x > 0", "x > 0)")), None, solved("relu")]

    def save_meanwhile(_):
        if not texts:
            raise KeyboardInterrupt
        text = texts.pop(0)
        if text is None:
            file.unlink()  # as an editor does before it renames the new file
        else:
            file.write_text(text)

    monkeypatch.setattr(learn, "time", SimpleNamespace(sleep=save_meanwhile, strftime=time.strftime))
    watched = scratch("learn", "watch", "relu")
    assert watched.status == 0
    marks = re.findall(r"relu: all right|relu: not yet|Python cannot read line", watched.out)
    assert marks == ["relu: not yet", "Python cannot read line", "relu: not yet", "relu: all right"]


@pytest.mark.parametrize("arguments, words", [
    (["strat", "linear"], "learn knows no 'strat': did you mean 'start'?"),
    (["start"], "learn start needs the name of an exercise, such as linear: `python -m scratch learn` lists them."),
    (["check"], "learn check needs the file of an exercise"),
    (["start", "lineer"], "no exercise is called 'lineer': did you mean 'linear'?"),
    (["hint", "straight_trough"], "no exercise is called 'straight_trough': did you mean 'straight_through'?"),
    (["solution", "\x1b[31m"], r"no exercise is called '\x1b[31m'."),
    (["check", "nothing.py"], "nothing.py does not exist: `python -m scratch learn start NAME` writes"),
    (["watch", "nothing.py"], "nothing.py does not exist"),
    (["check", "."], ". is a folder"),
    (["check", "x.py"], 'x.py is not an exercise: expected a file as `python -m scratch learn start NAME` writes it, '
                        'with the line # Exercise "NAME" at its top.'),
    (["check", "binary.py"], "binary.py cannot be read: it is not text in UTF-8."),
    (["check", "linear", "--seconds", "0"], "argument --seconds: invalid"),
    (["check", "linear", "--second", "1"], "did you mean '--seconds'?"),
])
def test_what_cannot_be_used(scratch, arguments, words):
    Path("x.py").write_text("x = 1\n")
    Path("binary.py").write_bytes(b"\xff\xfe\x00\x80")
    found = scratch("learn", *arguments)
    assert found.status == 2 and not found.out and found.err.count("\n") == 1
    assert words in found.err


def test_progress_that_is_damaged(scratch):
    Path("exercises").mkdir()
    for text in ("{", "[]", '{"linear": 3}', '{"linear": {"hints": -1}}', '{"linear": {"passed": 1}}'):
        Path("exercises/progress.json").write_text(text)
        found = scratch("learn")
        assert found.status == 2 and "exercises/progress.json is damaged: delete it" in found.err
    Path("exercises/progress.json").unlink()
    Path("exercises/progress.json").mkdir()
    assert "is damaged" in scratch("learn").err


@pytest.mark.parametrize("status, changes, words", [
    (2, [("dx = dy @ w.T", "dx = dy @ w.T)")], "Python cannot read line LINE, `dx = dy @ w.T)`: unmatched ')'."),
    (2, [("def backward", "def backwards")], "It has no function backward(dy, saved)."),
    (2, [("import numpy as np", "import numpy as np, torchy")], "No module named 'torchy'; NumPy and the standard"),
    (2, [("import numpy as np", "import numpy as np; exit(0)")], "it ends the program: leave out exit()"),
    (2, [("import numpy as np", "import numpy as np, os; os._exit(0)")], "It ended Python itself, with status 0"),
    (1, [("dx = dy @ w.T", "import sys; sys.exit(0)")], "it ends the program: leave out exit()"),
    (1, [("dx = dy @ w.T", "input('dx = ')")], "it asks for input(), and nobody answers"),
    (1, [("dx = dy @ w.T", "dx = dy @ w.T + b")], "stopped in line LINE, `dx = dy @ w.T + b`: NameError"),
    (0, [("dx = dy @ w.T", "dx = dy @ w.T; print('\\x1b[31m', dx.shape)")], r"Your file printed:     \x1b[31m (5, 3)"),
])
def test_a_file_gets_a_sentence(scratch, write, status, changes, words):
    file = write("linear", *changes)
    found = scratch("learn", "check", file)
    assert found.status == status and not found.err
    words = words.replace("LINE", str(line_of(file.read_text(), changes[0][1])))
    assert " ".join(words.split()) in " ".join(found.out.split())


@pytest.mark.parametrize("status, changes, words", [
    (1, [("dx = dy @ w.T", "dx = dy @ w.T\n    while True: pass")], "in line LINE, in backward. Is there a loop"),
    (2, [("import numpy as np", "import numpy as np\nwhile True: print('x' * 1000)")], "… and more"),
])
def test_a_loop_that_never_ends_is_stopped(scratch, write, status, changes, words):
    file = write("linear", *changes)
    found = scratch("learn", "check", file, "--seconds", "1")
    words = words.replace("LINE", str(line_of(file.read_text(), "while True")))
    assert found.status == status and words in found.out and "It did not end within 1 s" in found.out
    assert len(found.out) < 5000


def test_files_that_other_programs_wrote(scratch, write):
    """A byte order mark, another suffix, line ends of Windows, a dataclass, errors of NumPy made strict."""
    strict = ("import numpy as np", "import numpy as np\nfrom dataclasses import dataclass\nnp.seterr(all='raise')\n"
              "@dataclass\nclass Mine:\n    a: 'int'\n")
    text = write("sigmoid", strict).read_text(encoding="utf-8")
    Path("sigmoid.txt").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    found = scratch("learn", "check", "sigmoid.txt")
    assert found.status in (0, 1) and "FloatingPointError" in found.out, found.out
    Path("plain.txt").write_bytes(b"\xef\xbb\xbf" + text.replace("all='raise'", "").replace("\n", "\r\n").encode())
    assert scratch("learn", "check", "plain.txt").status == 0


def test_names_that_a_shell_or_a_terminal_would_take_apart(scratch, write):
    file = write("relu", file="exercises/mine \u00e9\u202e.py")
    assert scratch("learn", "check", file).status == 0
    loop = write("relu", ("dx = ", "while True: pass\n    dx = "), file="exercises/mine \u00e9.py")
    where = f"in line {line_of(loop.read_text(), 'while True')}, in backward"
    assert where in scratch("learn", "check", loop, "--seconds", "1").out
