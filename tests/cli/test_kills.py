"""A run that is killed at any moment continues, or starts again, and its result is the same bit for bit.

The suite makes six random kills; SCRATCH_KILLS=100 makes a hundred. Starting Python takes longer than such a training,
so one process imports the program once and forks for each command.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.command_line import MODELS, SMALL, read_metrics, without_times

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("SCRATCH_KILLS", 6))
EPOCHS = 5
OPTIONS = ["train", "vqvae", *SMALL, *MODELS["vqvae"], "--workers", "1", "--epochs", str(EPOCHS), "--log-steps", "2"]

# Reads {"argv": ..., "die_at": ...} a line and answers with the number of the process that runs it; at the next line it
# waits for the end of that and answers with its status. With die_at = [function of os, n, after] the process is killed
# at the n-th call of that function, before it or after it. Pictures are left out: they are drawn after the last save.
SERVER = """
import json, os, signal, sys
from scratch.__main__ import build_parser
from scratch.commands import train
from scratch.commands.cli import main
import scratch.runs.run

train.pictures_of = lambda *arguments: []

def die_at(name, count, after):
    original, left = getattr(os, name), [count]
    def fatal(*arguments, **options):
        left[0] -= 1
        if left[0] == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **options)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(os, name, fatal)

while line := sys.stdin.readline():
    command = json.loads(line)
    process = os.fork()
    if process == 0:
        status = 70
        try:
            sys.stdin.close()
            silent = os.open(os.devnull, os.O_WRONLY)
            sys.stdout.flush()
            os.dup2(silent, 1)
            if command["die_at"]:
                die_at(*command["die_at"])
            status = main(build_parser(command["argv"]), command["argv"])
        finally:
            os._exit(status)
    print(process, flush=True)
    sys.stdin.readline()  # until here an ended process keeps its number
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


class Server:
    """Runs commands of `python -m scratch` one after the other, each in a process of its own."""

    def __init__(self, folder):
        self.process = subprocess.Popen([sys.executable, "-c", SERVER], cwd=folder, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})

    def __call__(self, *argv, kill_after=None, die_at=None):
        """The command's exit status, negative if a signal ended it. It is killed after `kill_after` seconds."""
        process = self.ask(json.dumps({"argv": argv, "die_at": die_at}))
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(process, signal.SIGKILL)
        return self.ask("")

    def ask(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("kills"))
    yield server
    server.process.stdin.close()
    server.process.wait()
    server.process.stdout.close()


@pytest.fixture(scope="module")
def whole(server):
    """(folder in which the runs are, the uninterrupted run, its seconds)."""
    assert server(*OPTIONS, "--out", "first") == 0
    started = time.perf_counter()
    assert server(*OPTIONS, "--out", "whole") == 0
    folder = Path(f"/proc/{server.process.pid}/cwd").resolve()
    return folder, folder / "whole", time.perf_counter() - started


def next_command(folder, name):
    """The command that continues a run, in any state that it may be in."""
    if (folder / name / "resume.safetensors").exists():
        return ["train", "--resume", name]
    return [*OPTIONS, "--out", name]


def assert_same_run(run, whole):
    assert (run / "checkpoint.safetensors").read_bytes() == (whole / "checkpoint.safetensors").read_bytes()
    assert without_times(read_metrics(run)) == without_times(read_metrics(whole))
    assert [entry["epoch"] for entry in read_metrics(run)] == list(range(1, EPOCHS + 1))
    assert (run / "steps.jsonl").read_bytes() == (whole / "steps.jsonl").read_bytes()
    assert sorted(path.name for path in run.iterdir()) == sorted(path.name for path in whole.iterdir())


def test_random_kills(server, whole):
    """Each run is killed up to three times, at random moments of the whole training; a continued run is shorter."""
    folder, uninterrupted, seconds = whole
    seed = int(os.environ.get("SCRATCH_KILLS_SEED", time.time_ns() % 2**32))
    rng = random.Random(seed)
    killed, before_the_first_save, tries = 0, 0, 0
    while killed < KILLS and tries < 20 * KILLS:
        name = f"run{tries}"
        for _ in range(rng.randint(1, 3)):
            tries += 1
            status = server(*next_command(folder, name), kill_after=rng.uniform(0, seconds))
            assert status in (0, -signal.SIGKILL), f"seed {seed}"
            killed += status != 0
            before_the_first_save += not (folder / name / "resume.safetensors").exists()
            if status == 0:
                break
        assert server(*next_command(folder, name)) == 0, f"seed {seed}, {name}"
        assert_same_run(folder / name, uninterrupted)
    print(f"{killed} kills, {before_the_first_save} of them before the first save; seed {seed}")
    assert killed >= KILLS


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("function, count", [
    *(("replace", count) for count in range(1, 9)),  # the config, then three files a save
    *(("fsync", count) for count in range(1, 6)),
    *(("unlink", count) for count in range(1, 2)),  # of the lock, at the end
])
def test_killed_at_every_file_that_is_written(server, whole, function, count, after):
    folder, uninterrupted, _ = whole
    name = f"{function}{count}{'after' if after else 'before'}"
    assert server(*OPTIONS, "--out", name, die_at=[function, count, after]) == -signal.SIGKILL
    assert server(*next_command(folder, name)) == 0
    assert_same_run(folder / name, uninterrupted)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("count", range(1, 6))  # resuming writes the checkpoint, two files of lines, the config; saves
def test_killed_while_resuming(server, whole, count, after):
    folder, uninterrupted, _ = whole
    name = f"twice{count}{'after' if after else 'before'}"
    server(*OPTIONS, "--out", name, die_at=["replace", 6, False])  # before the second epoch's resume.safetensors
    assert server("train", "--resume", name, die_at=["replace", count, after]) == -signal.SIGKILL
    assert server("train", "--resume", name) == 0
    assert_same_run(folder / name, uninterrupted)
