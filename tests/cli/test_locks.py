"""A folder has one writer at a time, and any number of readers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scratch.options.errors import InputError
from scratch.runs.lock import Lock
from scratch.runs.run import Run
from scratch.training.trainer import Trainer
from tests.cli.test_errors import assert_one_sentence
from tests.support.command_line import MODELS, SMALL, read_metrics, without_times

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ["ae", *SMALL, *MODELS["ae"], "--epochs", 2]
HOLDER = "import sys; from scratch.runs.lock import Lock; lock = Lock(sys.argv[1]); print(1, flush=True); input()"


def hold(folder):
    """A process that holds the lock of a folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], cwd=ROOT, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == "1\n"
    return process


def end(process, number=signal.SIGKILL):
    process.send_signal(number)
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_second_process_is_refused_in_one_sentence_and_readers_are_not(scratch, trained):
    folder = Path(trained("ae"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    process = hold(folder.resolve())
    try:
        for command in (["train", "--resume", folder, "--epochs", 3], ["train", *OPTIONS, "--out", folder]):
            assert_one_sentence(scratch(*command), str(folder), f"being written by process {process.pid}")
        assert scratch("evaluate", folder).status == 0
        assert scratch("curves", folder, "--out", "curves.png").status == 0
        assert len(Run.open(folder).metrics()) == 2
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"} == before
    finally:
        end(process)
    assert (folder / ".lock").exists()  # what a killed process leaves hinders nobody
    assert scratch("train", "--resume", folder, "--epochs", 3).status == 0
    assert not (folder / ".lock").exists()


def test_two_trainings_of_one_process_do_not_mix(scratch, monkeypatch):
    """The second one starts while the first is in its second epoch."""
    assert scratch("train", *OPTIONS, "--out", "alone").status == 0
    step, refusals = Trainer.step, []

    def beside(self, images, epoch, number, count):
        if (epoch, number) == (2, 0) and not refusals:
            refusals.extend([scratch("train", *OPTIONS, "--out", "run"), scratch("train", "--resume", "run")])
            refusals.append(scratch("evaluate", "run"))
        return step(self, images, epoch, number, count)

    monkeypatch.setattr(Trainer, "step", beside)
    assert scratch("train", *OPTIONS, "--out", "run").status == 0
    for refused in refusals[:2]:
        assert_one_sentence(refused, "run", "being written by this process already")
    assert refusals[2].status == 0
    assert Path("run/checkpoint.safetensors").read_bytes() == Path("alone/checkpoint.safetensors").read_bytes()
    assert without_times(read_metrics("run")) == without_times(read_metrics("alone"))


def test_a_refused_or_failed_training_leaves_no_lock(scratch, trained):
    folder = Path(trained("ae"))
    assert scratch("train", *OPTIONS, "--out", folder).status == 2
    assert scratch("train", "--resume", folder, "--lr", 1).status == 2
    assert not (folder / ".lock").exists()
    with Lock(folder):
        assert (folder / ".lock").read_text() == str(os.getpid())
    assert not (folder / ".lock").exists()


def test_the_lock_of_any_folder_such_as_a_sweeps(tmp_path):
    with Lock(tmp_path):
        with pytest.raises(InputError, match="this process already"):
            Lock(tmp_path)
        (tmp_path / "run").mkdir()
        Lock(tmp_path / "run").close()  # a run in the sweep's folder has a lock of its own
    process = hold(tmp_path)
    with pytest.raises(InputError, match=f"process {process.pid}"):
        Lock(tmp_path)
    end(process, signal.SIGTERM)
    Lock(tmp_path).close()


def test_a_lock_that_is_not_closed_goes_with_its_run(tmp_path, trained):
    folder = trained("ae")
    run, _, _ = Run.resume(folder)
    with pytest.raises(InputError, match="being written"):
        Run.resume(folder)
    del run
    Run.resume(folder)


def test_many_processes_at_once_hold_it_one_after_the_other(tmp_path):
    """Each takes the lock as often as it can, and is alone in the folder while it holds the lock."""
    program = """if True:
        import os, sys, time
        from scratch.options.errors import InputError
        from scratch.runs.lock import Lock
        held, end = 0, time.time() + 1.5
        while time.time() < end:
            try:
                with Lock(sys.argv[1]):
                    os.close(os.open(sys.argv[1] + "/alone", os.O_CREAT | os.O_EXCL))
                    os.unlink(sys.argv[1] + "/alone")
                    held += 1
            except InputError:
                continue
        print(held)
    """
    processes = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, text=True,
                                  stdout=subprocess.PIPE) for _ in range(3)]
    counts = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert all(int(count) > 0 for count in counts)


def test_what_cannot_be_a_lock(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises((InputError, OSError), match="lock"):
        Lock(tmp_path)
    (tmp_path / ".lock").rmdir()
    (tmp_path / ".lock").write_text("of another program")
    with pytest.raises(InputError, match="of another program"):
        Lock(tmp_path)
    assert (tmp_path / ".lock").read_text() == "of another program"
    (tmp_path / ".lock").unlink()
    os.mkfifo(tmp_path / ".lock")
    started = time.monotonic()
    with pytest.raises(InputError, match="a named pipe"):
        Lock(tmp_path)
    assert time.monotonic() - started < 1
