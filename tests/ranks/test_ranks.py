"""Several processes that MPI starts: they learn what one process learns, and end together."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from scratch.accelerate.ranks import gradients
from scratch.accelerate.ranks.gradients import GradientSums
from scratch.training.world import World
from tests.support.command_line import MODELS, SMALL, read_metrics, without_times
from tests.support.coupled import SYSTEMS, examples_of, model_of

pytest.importorskip("mpi4py", reason="ranks need mpi4py and an MPI: pip install mpi4py mpich")
BESIDE = Path(sys.executable).parent / "mpiexec"
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")
ROOT = Path(__file__).parents[2]


def started(ranks, *arguments, folder=ROOT):
    """A running mpiexec with this many ranks of `python ARGUMENTS`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen([MPIEXEC, "-n", str(ranks), sys.executable, *map(str, arguments)], cwd=folder, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def ended(process):
    """(exit status, standard output, lines of standard error)."""
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, out, err.splitlines()


def train(folder, ranks, *options, model="vae"):
    small = [] if "--resume" in options else [model, *SMALL, *MODELS[model], "--dtype", "float64"]
    return ended(started(ranks, "-m", "scratch", "train", *small, *options, folder=folder))


# --- equality ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks, workers, steps", [(2, 1, 50), (3, 1, 6), (2, 2, 6)])
def test_ranks_learn_what_one_process_learns(ranks, workers, steps):
    """Every system, with all that takes sums over a batch, and the prior: gradients, losses and codes over the steps,
    weights after them, an evaluation. Some batches have fewer examples than there are ranks."""
    status, out, err = ended(started(ranks, "-m", "tests.ranks.together", workers, steps))
    assert (status, err) == (0, [])
    found = [json.loads(line) for line in out.splitlines()]
    assert [entry["name"] for entry in found] == list(SYSTEMS)
    for entry in found:
        assert entry["gradients"] <= 1e-12, entry
        assert entry["losses"] <= 1e-9 and entry["evaluation"] <= 1e-9 and entry.get("errors", 0) <= 1e-9, entry
        assert entry["weights"] <= 1e-9 and entry["moments"] <= 1e-9, entry
        assert entry["counts are equal"] and entry["ranks that differ from rank 0"] == 0, entry


def assert_same_metrics(ours, expected):
    assert [list(entry) for entry in ours] == [list(entry) for entry in expected]
    for entry, other in zip(without_times(ours), without_times(expected), strict=True):
        np.testing.assert_allclose(list(entry.values()), list(other.values()), rtol=1e-9)


def test_a_run_of_ranks_has_the_files_and_the_curve_of_one_process_and_goes_on_with_any_number(tmp_path):
    options = ["--norm", "batch", "--log-steps", "2"]
    status, out, err = train(tmp_path, 1, *options, "--epochs", "3", "--out", "one")
    assert (status, err) == (0, [])
    assert train(tmp_path, 3, *options, "--epochs", "3", "--out", "three")[0] == 0
    one, three = tmp_path / "one", tmp_path / "three"
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in three.iterdir())
    assert_same_metrics(read_metrics(three), read_metrics(one))

    assert train(tmp_path, 2, *options, "--epochs", "1", "--out", "parts")[0] == 0
    status, out, err = train(tmp_path, 3, "--resume", "parts", "--epochs", "2")
    assert "Note: ranks was 2, is now 3: the run goes on, but not bit for bit as before." in out.splitlines()
    assert (status, err) == (0, []) and out.count("epoch 2:") == 1
    assert train(tmp_path, 1, "--resume", "parts", "--epochs", "3")[0] == 0
    assert_same_metrics(read_metrics(tmp_path / "parts"), read_metrics(one))
    lines = [(folder / "steps.jsonl").read_text().splitlines() for folder in (one, tmp_path / "parts")]
    assert [json.loads(line)["step"] for line in lines[0]] == [json.loads(line)["step"] for line in lines[1]]


def test_ranks_repeat_bit_for_bit(tmp_path):
    options = ["--codebook-update", "ema", "--restart-after", "1", "--dtype", "float32", "--epochs", "2"]
    for name in ("first", "second"):
        assert train(tmp_path, 2, *options, "--out", name, model="vqvae")[0] == 0
    first, second = ((tmp_path / name / "checkpoint.safetensors").read_bytes() for name in ("first", "second"))
    assert first == second


def test_evaluate_and_encode_share_their_batches_among_ranks(tmp_path):
    """The batches are the same ones, so the numbers are, but for sums over the ranks."""
    assert train(tmp_path, 1, "--epochs", "1", "--out", "run", "--corruption", "gaussian:0.1")[0] == 0
    found = {}
    for ranks in (1, 3):
        evaluate = ["-m", "scratch", "evaluate", "run", "--json", "--importance-samples", "3"]
        status, out, err = ended(started(ranks, *evaluate, folder=tmp_path))
        assert (status, err) == (0, []) and len(out.splitlines()) == 1
        found[ranks] = json.loads(out)
        encode = ["-m", "scratch", "encode", "run", "--out", f"codes{ranks}.npz"]
        status, out, err = ended(started(ranks, *encode, folder=tmp_path))
        assert (status, err) == (0, []) and out.startswith("wrote codes")
    one, three = found[1], found[3]
    assert one.keys() == three.keys() and "importance_weighted_bound" in one and "denoising_gain" in one
    for name, value in one.items():
        if isinstance(value, str):
            assert three[name] == value
        else:
            np.testing.assert_allclose(three[name], value, rtol=1e-9, err_msg=name)
    latents = [np.load(tmp_path / f"codes{ranks}.npz")["latents"] for ranks in (1, 3)]
    np.testing.assert_array_equal(*latents)


def test_a_sweep_shares_its_runs_among_ranks(tmp_path):
    sweep = ["-m", "scratch", "sweep", "vae", *SMALL, *MODELS["vae"], "--epochs", "1", "--workers", "1",
             "--over", "beta=0.5,1", "--over", "lr=0.001,1e30"]
    one = ended(started(1, *sweep, "--out", "one", folder=tmp_path))
    two = ended(started(2, *sweep, "--out", "two", folder=tmp_path))
    assert one[0] == two[0] == 1 and two[2] == []
    tables = [json.loads((tmp_path / name / "sweep.json").read_text()) for name in ("one", "two")]
    assert tables[0] == tables[1] and len(tables[0]["runs"]) == 2 and len(tables[0]["diverged"]) == 2
    for name in tables[0]["diverged"]:
        assert two[1].count(f"{name}: ") == one[1].count(f"{name}: ") == 1
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(
        path.name for path in (tmp_path / "two").iterdir())


# --- ends -------------------------------------------------------------------------------------------------------------


def waiting_for(path, process, seconds=60):
    """Wait until the running process has written a file."""
    until = time.monotonic() + seconds
    while not path.exists() and process.poll() is None:
        assert time.monotonic() < until, "nothing was written"
        time.sleep(0.02)


def ranks_of(process):
    """The process ids of the ranks that an mpiexec has started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, left = [], [process.pid]
    while left:
        children = parents.get(left.pop(), [])
        left += children
        found += [pid for pid in children if b"scratch" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return [pid for pid in found if not any(pid in parents.get(other, []) for other in found)] or found


LONG = ("--steps", "4000", "--log-steps", "1")


@pytest.mark.skipif(not Path("/proc").exists(), reason="the ranks are found in /proc")
def test_a_killed_rank_ends_all_and_the_last_save_goes_on(tmp_path):
    process = started(2, "-m", "scratch", "train", "vae", *SMALL, *MODELS["vae"], "--dtype", "float64", *LONG,
                      "--out", "killed", folder=tmp_path)
    waiting_for(tmp_path / "killed" / "metrics.jsonl", process)
    os.kill(ranks_of(process)[-1], signal.SIGKILL)
    status, _, _ = ended(process)
    assert status != 0
    done = len(read_metrics(tmp_path / "killed"))
    assert done >= 1
    assert train(tmp_path, 2, "--resume", "killed", "--steps", str(3 * (done + 2)))[0] == 0
    assert train(tmp_path, 1, "--steps", str(3 * (done + 2)), "--log-steps", "1", "--out", "whole")[0] == 0
    assert_same_metrics(read_metrics(tmp_path / "killed"), read_metrics(tmp_path / "whole"))


def test_ctrl_c_saves_once_and_resuming_equals_never_having_stopped(tmp_path):
    process = started(2, "-m", "scratch", "train", "vae", *SMALL, *MODELS["vae"], "--dtype", "float64", *LONG,
                      "--out", "stopped", folder=tmp_path)
    waiting_for(tmp_path / "stopped" / "metrics.jsonl", process)
    process.send_signal(signal.SIGINT)
    status, out, err = ended(process)
    assert status == 130
    assert out.count("Stopped and saved") == 1 and not [line for line in err if "Traceback" in line]
    steps = 3 * (len(read_metrics(tmp_path / "stopped")) + 2)
    assert train(tmp_path, 3, "--resume", "stopped", "--steps", str(steps))[0] == 0
    assert train(tmp_path, 1, "--steps", str(steps), "--log-steps", "1", "--out", "whole")[0] == 0
    assert_same_metrics(read_metrics(tmp_path / "stopped"), read_metrics(tmp_path / "whole"))


def sentences(lines):
    """The lines of standard error without that of mpiexec's about the end."""
    return [line for line in lines if line.strip() and not line.startswith("Abort(")]


@pytest.mark.parametrize("options, status, words", [
    (["train", "vae", *SMALL, "--lr", "1e30", "--out", "r"], 1, ["stopped:", "became", "--lr"]),
    (["train", "vae", *SMALL, "--latent-dimm", "3"], 2, ["'--latent-dimm'", "'--latent-dim'?"]),
    (["train", "vae", *SMALL, "--out", "/proc/none"], 2, ["error:", "/proc/none"]),
    (["train", "--resume", "nowhere"], 2, ["nowhere"]),
    (["sample", "nowhere"], 2, ["sample runs in one process: start it without mpiexec."]),
])
def test_what_all_ranks_find_wrong_is_told_once(options, status, words, tmp_path):
    found, _, err = ended(started(2, "-m", "scratch", *options, folder=tmp_path))
    told = sentences(err)
    assert (found, len(told)) == (status, 1), err
    assert all(word in told[0] for word in words), told


@pytest.mark.parametrize("error, status, word", [
    ("MemoryError()", 2, "is too much for cpu"),
    ("OSError(5, 'broken', 'disk')", 2, "cannot read or write 'disk': broken"),
    ("ZeroDivisionError('odd')", 1, "ZeroDivisionError: odd")])
@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_one_rank_ends_all_with_its_message_alone(rank, error, status, word, tmp_path):
    program = f"""
import sys
from scratch.__main__ import build_parser
from scratch.accelerate.ranks.trainer import RankedTrainer
from scratch.training.world import world
from scratch.commands.cli import main
plain = RankedTrainer.own
def own(self, batch):
    if world().rank == {rank} and self.optimizer.steps == 2:
        raise {error}
    return plain(self, batch)
RankedTrainer.own = own
sys.exit(main(build_parser(sys.argv[1:])))
"""
    (tmp_path / "program.py").write_text(program)
    found, _, err = ended(started(2, "program.py", "train", "vae", *SMALL, "--out", "r", folder=tmp_path))
    assert found == status
    assert "\n".join(sentences(err)).count(word) == 1, err
    assert len(sentences(err)) == 1 or word.startswith("ZeroDivision")


def test_processes_without_mpi_are_told_what_is_missing(tmp_path):
    (tmp_path / "mpi4py.py").write_text("raise ImportError('none here')")
    found = subprocess.run(
        [sys.executable, "-m", "scratch", "train", "vae"], capture_output=True, text=True, timeout=60, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "PMI_SIZE": "2", "PMI_RANK": "0"})
    assert found.returncode == 2
    assert found.stderr.splitlines() == [
        "error: 2 processes were started together, and mpi4py cannot be used (none here): pip install mpi4py mpich, or "
        "start one process."]


# --- the order of sums ------------------------------------------------------------------------------------------------


class Recorder(World):
    """A World of one that notes when sums begin. They arrive when they are waited for."""

    def __init__(self):
        self.begun = []

    def begin_sum(self, array):
        self.begun.append(array.copy())
        return array

    def is_done(self, request):
        return False

    def wait(self, request):
        """There is nothing to wait for."""


def backward(model, sums, name):
    sums.begin([0], True)
    model.zero_grad()
    model.loss(examples_of(name, 3), model.draw_noise(3, np.random.default_rng(0)))
    model.backward()


@pytest.mark.parametrize("name", ["vae", "vqvae2", "prior"])
def test_sums_begin_while_backward_goes_on_and_all_parameters_are_in_them_once(name, monkeypatch):
    """From the second step on. The last parcel, which holds the first layers, is complete at the end of backward."""
    monkeypatch.setattr(gradients, "LEAST", 100)
    model, recorder = model_of(name), Recorder()
    sums = GradientSums(recorder, [model])
    backward(model, sums, name)
    assert recorder.begun == []
    sums.finish()
    parcels = len(recorder.begun)
    assert parcels > 2
    backward(model, sums, name)
    assert len(recorder.begun) == 2 * parcels
    found = sums.finish()
    for parameter, part in model.named_parameters().items():
        np.testing.assert_array_equal(found[parameter], part.gradient())
    assert sum(whole.size for whole in recorder.begun[parcels:]) == model.parameter_count()


def test_a_gradient_after_its_sum_has_begun_is_an_error(monkeypatch):
    monkeypatch.setattr(gradients, "LEAST", 100)
    model = model_of("vae")
    sums = GradientSums(Recorder(), [model])
    backward(model, sums, "vae")
    sums.finish()
    backward(model, sums, "vae")
    last = list(model.named_parameters().values())[-1]
    with pytest.raises(RuntimeError, match="received more gradients than in the first step"):
        last.accumulate(np.zeros_like(last.value))
