"""`train`: the files of a run, and that a continued run is the same as one that never stopped."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from scratch.runs.run import Run
from scratch.training.progress import Totals
from scratch.training.trainer import Trainer
from tests.support.command_line import MODELS, SMALL, read_metrics, without_times

ROOT = Path(__file__).resolve().parents[2]
CODED = ["codebook", "commitment", "perplexity", "codes_used", "epoch_perplexity"]
TERMS = {
    "ae": [],
    "vae": ["kl"],
    "vqvae": CODED,
    "vqvae2": [f"{name}_{level}" for name in CODED for level in ("top", "bottom")],
    "dvae": ["kl", "perplexity", "codes_used", "epoch_perplexity"],
}
PICTURES = {
    "ae": {"curves", "reconstructions", "samples", "interpolation"},
    "vae": {"curves", "reconstructions", "samples", "interpolation", "variations"},
    "vqvae": {"curves", "reconstructions", "samples", "interpolation", "codebook"},
    "vqvae2": {"curves", "reconstructions", "samples", "interpolation", "codebook"},
    "dvae": {"curves", "reconstructions", "samples", "interpolation", "variations", "codebook"},
}


@pytest.mark.parametrize("model", MODELS)
def test_a_run_holds_its_config_metrics_weights_and_pictures(trained, model):
    folder = Path(trained(model))
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "checkpoint.safetensors")
    assert config["parameters"] == sum(value.size for value in weights.values())
    assert config["options"]["model"] == model and config["options"]["seed"] == 0
    assert config["data"] == {
        "name": "shapes", "image_shape": [16, 16, 3], "training_images": 40, "held_out_images": 40}
    assert config["versions"]["numpy"] == np.__version__

    metrics = read_metrics(folder)
    assert [entry["epoch"] for entry in metrics] == [1, 2]
    for entry in metrics:
        for name in ["loss", "reconstruction", *TERMS[model]]:
            assert np.isfinite(entry[name]) and np.isfinite(entry[f"held_out_{name}"])
        assert entry["images_per_second"] == pytest.approx(40 / entry["seconds"])
        assert np.isfinite(entry["held_out_psnr"])
    assert metrics[1]["reconstruction"] < metrics[0]["reconstruction"]

    assert {path.stem for path in folder.glob("*.png")} == PICTURES[model]
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            assert np.asarray(picture).std() > 5


def test_epoch_figures_average_over_examples_not_batches():
    class Host:
        def read(self, scalars):
            return scalars

    totals = Totals()
    totals.add("", 16, {"loss": 1.0}, {})
    totals.add("", 8, {"loss": 4.0}, {})
    totals.read(Host())
    assert totals.means() == {"loss": 2.0}


@pytest.mark.usefixtures("no_pictures")
def test_output_names_every_epoch_and_its_terms(scratch):
    result = scratch("train", "vae", *SMALL, *MODELS["vae"], "--epochs", 2)
    lines = [line for line in result.out.splitlines() if line.startswith("epoch")]
    assert len(lines) == 2 and all("reconstruction" in line and "kl" in line and "PSNR" in line for line in lines)
    assert Path("runs/vae-small-shapes/config.json").exists()
    scratch("train", "vae", *SMALL, *MODELS["vae"], "--epochs", 1)
    assert Path("runs/vae-small-shapes-2/config.json").exists()


@pytest.mark.usefixtures("no_pictures")
def test_the_same_command_gives_the_same_bytes_and_another_seed_does_not(scratch):
    options = ["vae", *SMALL, *MODELS["vae"], "--epochs", 1]
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        scratch("train", *options, "--out", out, "--seed", seed)
    a, b, c = (Path(out, "checkpoint.safetensors").read_bytes() for out in "abc")
    assert a == b != c


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("speed", [["--workers", 1], ["--workers", 2], ["--plain"]], ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_resuming_equals_never_having_stopped(scratch, model, speed):
    options = [*SMALL, *MODELS[model], *speed]
    scratch("train", model, *options, "--epochs", 3, "--out", "whole")
    scratch("train", model, *options, "--epochs", 1, "--out", "parts")
    result = scratch("train", "--resume", "parts", "--epochs", 3)
    assert result.status == 0 and "Note" not in result.out
    assert Path("whole/checkpoint.safetensors").read_bytes() == Path("parts/checkpoint.safetensors").read_bytes()
    assert without_times(read_metrics("whole")) == without_times(read_metrics("parts"))
    assert json.loads(Path("parts/config.json").read_text())["options"]["epochs"] == 3


def read_steps(folder):
    return [json.loads(line) for line in Path(folder, "steps.jsonl").read_text().splitlines()]


BY_STEPS = ["vqvae", *SMALL, *MODELS["vqvae"], "--log-steps", 2]  # an epoch has three steps


@pytest.mark.usefixtures("no_pictures")
def test_steps_end_training_in_the_middle_of_an_epoch(scratch):
    """Seven updates are two epochs and a third of another one, which gets its line of metrics too."""
    result = scratch("train", *BY_STEPS, "--steps", 7, "--out", "run")
    assert result.status == 0, result.err
    options = json.loads(Path("run/config.json").read_text())["options"]
    assert (options["steps"], options["epochs"]) == (7, None)
    assert [entry["epoch"] for entry in read_metrics("run")] == [1, 2, 3]
    _, _, position = Run.resume("run")
    assert (position["epoch"], position["step"], position["updates"]) == (3, 1, 7)
    assert [line["step"] for line in read_steps("run")] == [2, 4, 6]
    scratch("train", *BY_STEPS, "--epochs", 2, "--out", "whole")
    assert without_times(read_metrics("whole")) == without_times(read_metrics("run"))[:2]


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("network", [[], ["--network", "residual", "--hidden", 8, "--data-variance", 0.05]], ids=len)
def test_the_lines_of_steps_are_means_over_updates(scratch, monkeypatch, network):
    """The means are over updates, not over examples: every third batch here is a half one and has the same weight."""
    seen, step = [], Trainer.step

    def watched(self, images, epoch, number, count):
        terms, counts = step(self, images, epoch, number, count)
        seen.append({name: float(value) for name, value in terms.items()})
        return terms, counts

    monkeypatch.setattr(Trainer, "step", watched)
    by_steps = BY_STEPS if not network else ["vqvae", *SMALL[2:], *MODELS["vqvae"], "--log-steps", 2, *network]
    assert scratch("train", *by_steps, "--steps", 6, "--out", "run").status == 0
    lines = read_steps("run")
    assert len(seen) == 6 and len(lines) == 3
    for index, line in enumerate(lines):
        for name in ("loss", "reconstruction", "codebook", "commitment", "perplexity"):
            pair = [values[name] for values in seen[2 * index : 2 * index + 2]]
            assert line[name] == pytest.approx(sum(pair) / 2, rel=1e-12)
        variance = 0.05 if network else 1
        assert line["normalized_squared_error"] == pytest.approx(line["reconstruction"] / 768 / variance, rel=1e-12)
        parts = line["normalized_squared_error"] + (line["codebook"] + 0.25 * line["commitment"]) / (16 * 8)
        assert line["loss"] == pytest.approx(parts, rel=1e-5)


@pytest.mark.usefixtures("no_pictures")
def test_there_is_no_squared_error_of_a_bernoulli_model_and_no_file_unasked(scratch):
    options = ["ae", *SMALL, *MODELS["ae"], "--steps", 2]
    scratch("train", *options, "--likelihood", "bernoulli", "--log-steps", 1, "--out", "bernoulli")
    assert [line.keys() for line in read_steps("bernoulli")] == 2 * [{"step", "loss", "reconstruction"}]
    scratch("train", *options, "--out", "silent")
    assert not Path("silent/steps.jsonl").exists()


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("first, then", [(1, 8), (4, 8), (3, 8), (7, 8)])
def test_resuming_by_steps_equals_never_having_stopped(scratch, first, then):
    """The run is stopped at a line of steps.jsonl or between two lines, in an epoch or at its end."""
    scratch("train", *BY_STEPS, "--steps", then, "--out", "whole")
    scratch("train", *BY_STEPS, "--steps", first, "--out", "parts")
    before = [Path("parts", name).read_text() for name in ("metrics.jsonl", "steps.jsonl") if first > 1]
    result = scratch("train", "--resume", "parts")
    assert result.status == 0 and f"Its {first} step(s) are done; a larger --steps trains on" in result.out
    assert before == [Path("parts", name).read_text() for name in ("metrics.jsonl", "steps.jsonl") if first > 1]
    with open("parts/steps.jsonl", "a") as file:  # as a kill after the last checkpoint leaves it
        file.write('{"step": 9, "loss": 1}\n{"step": 10, "lo')
    assert scratch("train", "--resume", "parts", "--steps", then).status == 0
    assert Path("whole/checkpoint.safetensors").read_bytes() == Path("parts/checkpoint.safetensors").read_bytes()
    assert without_times(read_metrics("whole")) == without_times(read_metrics("parts"))
    assert read_steps("whole") == read_steps("parts")


@pytest.mark.usefixtures("no_pictures")
def test_a_run_by_epochs_goes_on_by_steps_and_back(scratch):
    options = ["ae", *SMALL, *MODELS["ae"]]
    scratch("train", *options, "--epochs", 3, "--out", "whole")
    scratch("train", *options, "--epochs", 1, "--out", "parts")
    assert scratch("train", "--resume", "parts", "--steps", 5).status == 0
    assert scratch("train", "--resume", "parts", "--epochs", 3).status == 0
    assert Path("whole/checkpoint.safetensors").read_bytes() == Path("parts/checkpoint.safetensors").read_bytes()
    assert without_times(read_metrics("whole")) == without_times(read_metrics("parts"))


def test_the_published_preset_trains_and_every_command_takes_its_run(scratch):
    small = ["--hidden", 8, "--residual-channels", 4, "--codes", 16, "--code-dim", 4, "--image-size", 16]
    result = scratch("train", "vqvae", "--preset", "published", *small, "--limit", 40, "--steps", 3, "--log-steps", 3,
                     "--out", "run")
    assert result.status == 0, result.err
    options = json.loads(Path("run/config.json").read_text())["options"]
    assert (options["network"], options["data_variance"], options["batch_size"]) == ("residual", 0.0632869, 32)
    assert [line["step"] for line in read_steps("run")] == [3]
    for command in (["evaluate", "run"], ["reconstruct", "run"], ["sample", "run"], ["interpolate", "run"],
                    ["encode", "run"], ["decode", "run", "run/codes.npz"]):
        assert scratch(*command).status == 0
    assert np.load("run/codes.npz")["codes"].shape == (40, 4, 4)


@pytest.mark.parametrize("options, tracked", [
    (["vae", "--preset", "mlp", *SMALL[2:], "--widths", "20,10", *MODELS["vae"]], 0),
    (["ae", "--network", "pooling", "--norm", "group", *SMALL, *MODELS["ae"]], 0),
    (["vqvae", "--network", "residual", "--hidden", 8, "--norm", "batch", "--codebook-init", "kmeans", *SMALL[2:],
      *MODELS["vqvae"]], 3 * 3),
], ids=["mlp", "pooling", "residual, batch norm"])
def test_every_network_resumes_exactly_and_every_command_takes_its_run(scratch, options, tracked):
    """A batch norm's running statistics are in resume.safetensors: of k-means' batches and three steps per epoch."""
    scratch("train", *options, "--epochs", 3, "--out", "whole")
    scratch("train", *options, "--epochs", 1, "--out", "parts")
    assert scratch("train", "--resume", "parts", "--epochs", 3).status == 0
    assert Path("whole/checkpoint.safetensors").read_bytes() == Path("parts/checkpoint.safetensors").read_bytes()
    assert without_times(read_metrics("whole")) == without_times(read_metrics("parts"))
    weights = load_file("whole/checkpoint.safetensors")
    counts = [int(count) for name, count in weights.items() if name.endswith("num_batches_tracked")]
    assert bool(counts) == bool(tracked) and min(counts, default=tracked) >= tracked
    config = json.loads(Path("whole/config.json").read_text())
    assert config["options"]["likelihood"] == ("bernoulli" if "mlp" in options else "squared_error")
    assert config["options"]["workers"] is None
    for command in (["evaluate", "whole"], ["reconstruct", "whole"], ["sample", "whole"], ["interpolate", "whole"],
                    ["encode", "whole"], ["decode", "whole", "whole/codes.npz"]):
        result = scratch(*command)
        assert result.status == 0, result.err


def test_a_run_from_before_there_were_networks_and_norms_opens(scratch, trained):
    folder = trained("ae")
    now = scratch("evaluate", folder, "--json").out
    config = json.loads(Path(folder, "config.json").read_text())
    for name in ("network", "norm", "widths"):
        del config["options"][name]
    Path(folder, "config.json").write_text(json.dumps(config))
    assert scratch("evaluate", folder, "--json").out == now


@pytest.mark.usefixtures("no_pictures")
def test_plain_accelerated_and_shared_out_learn_the_same(scratch):
    options = ["vae", *SMALL, "--channels", "16,16", *MODELS["vae"], "--epochs", 1, "--dtype", "float64"]
    for out, speed in (("plain", ["--plain"]), ("one", ["--workers", 1]), ("three", ["--workers", 3])):
        scratch("train", *options, *speed, "--out", out)
    plain = load_file("plain/checkpoint.safetensors")
    for out in ("one", "three"):
        other = load_file(f"{out}/checkpoint.safetensors")
        assert any((other[name] != value).any() for name, value in plain.items()), "it took another way"
        for name, value in plain.items():
            np.testing.assert_allclose(other[name], value, rtol=1e-9, atol=1e-9 * np.abs(value).max())


@pytest.mark.usefixtures("no_pictures")
def test_a_run_goes_on_with_other_workers_and_says_so(scratch, trained):
    result = scratch("train", "--resume", trained("ae"), "--epochs", 3, "--workers", 2)
    assert result.status == 0 and "Note: workers was 1, is now 2" in result.out
    result = scratch("train", "--resume", "ae", "--epochs", 4, "--workers", 1, "--plain")
    assert result.status == 0 and "Note: workers was 2, is now 1" in result.out


@pytest.mark.usefixtures("no_pictures")
def test_resume_needs_its_one_file_alone_and_cuts_the_metrics_back(scratch, trained):
    folder = Path(trained("ae"))
    (folder / "config.json").unlink()
    (folder / "checkpoint.safetensors").unlink()
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 3, "loss": 1}\n{"epoch": 4, "lo')  # as a kill between two files may leave it
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    (folder / f".resume.safetensors.{process.pid}-0a1b2c3d.tmp").write_bytes(b"cut short")
    (folder / f".metrics.jsonl.{os.getpid()}-0a1b2c3d.tmp").write_bytes(b"of a process that had this number before")
    living, backup = folder / f".x.png.{os.getppid()}-0a1b2c3d.tmp", folder / ".resume.safetensors.bak"
    for kept in (living, backup):
        kept.write_bytes(b"somebody's")
    assert scratch("train", "--resume", folder, "--epochs", 4).status == 0
    assert [entry["epoch"] for entry in read_metrics(folder)] == [1, 2, 3, 4]
    assert all("held_out_psnr" in entry for entry in read_metrics(folder))
    assert set(folder.glob(".*")) == {living, backup}


@pytest.mark.usefixtures("no_pictures")
def test_resume_says_when_the_blas_differs(scratch, trained, monkeypatch):
    folder = trained("ae")
    monkeypatch.setattr(Trainer, "environment", lambda self: {"device": "cpu", "BLAS": "another"})
    result = scratch("train", "--resume", folder, "--epochs", 3)
    assert result.status == 0 and "Note: BLAS was" in result.out and "is now another" in result.out


def start(*argv):
    """A training in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", "scratch", *map(str, argv)], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


LONGER = [*SMALL, *MODELS["vae"], "--limit", 640, "--epochs", 6]  # the later --limit counts


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle_and_resumed_equals_uninterrupted(scratch, tmp_path, how):
    scratch("train", "vae", *LONGER, "--out", tmp_path / "whole")
    process = start("train", "vae", *LONGER, "--out", tmp_path / "cut")
    wait_for(lambda: (tmp_path / "cut/resume.safetensors").exists(), process)
    time.sleep(0.1)  # into the next epoch
    process.send_signal(how)
    out, err = process.communicate()
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL), err
    if how == signal.SIGINT:
        assert f"python -m scratch train --resume {tmp_path / 'cut'}" in out and "Traceback" not in err
    load_file(tmp_path / "cut/checkpoint.safetensors")  # whole, whenever the stop came
    assert len(read_metrics(tmp_path / "cut")) < 6
    assert scratch("train", "--resume", tmp_path / "cut").status == 0
    assert (tmp_path / "cut/checkpoint.safetensors").read_bytes() == (
        tmp_path / "whole/checkpoint.safetensors").read_bytes()
    assert without_times(read_metrics(tmp_path / "cut")) == without_times(read_metrics(tmp_path / "whole"))


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("model", ["vqvae", "vqvae2"])
def test_ctrl_c_inside_an_epoch_keeps_its_running_averages(scratch, monkeypatch, model):
    """The counts of codes are continued too, level by level."""
    options = [model, *SMALL, *MODELS[model], "--epochs", 2]
    scratch("train", *options, "--out", "whole")
    step = Trainer.step

    def interrupted(self, images, epoch, number, count):
        if (epoch, number) == (2, 1):
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, images, epoch, number, count)

    monkeypatch.setattr(Trainer, "step", interrupted)
    assert scratch("train", *options, "--out", "cut").status == 130
    monkeypatch.setattr(Trainer, "step", step)
    _, _, position = Run.resume("cut")
    assert (position["epoch"], position["step"]) == (2, 2)
    assert "after 1 epoch(s) and 2 step(s)" in scratch("train", "--resume", "cut").out
    assert without_times(read_metrics("cut")) == without_times(read_metrics("whole"))


@pytest.mark.usefixtures("no_pictures")
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(scratch, monkeypatch):
    options = ["vae", *SMALL, *MODELS["vae"]]
    scratch("train", *options, "--epochs", 1, "--out", "good")
    step = Trainer.step

    def poisoned(self, images, epoch, number, count):
        terms, counts = step(self, images, epoch, number, count)
        return {**terms, "kl": terms["kl"] * np.nan} if (epoch, number) == (2, 1) else terms, counts

    monkeypatch.setattr(Trainer, "step", poisoned)
    result = scratch("train", *options, "--epochs", 3, "--out", "bad")
    assert result.status == 1
    assert "kl became nan in epoch 2, step 2" in result.err and "Traceback" not in result.err
    assert Path("bad/checkpoint.safetensors").read_bytes() == Path("good/checkpoint.safetensors").read_bytes()


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid:RuntimeWarning")
def test_a_learning_rate_far_too_large_ends_in_one_sentence(scratch):
    result = scratch("train", "ae", *SMALL, *MODELS["ae"], "--optimizer", "sgd", "--lr", 1e30, "--epochs", 2)
    assert result.status == 1 and "epoch 1" in result.err and "step" in result.err
    assert not Path("runs/ae-small-shapes/checkpoint.safetensors").exists()


WRITES = ["config.json", "metrics.jsonl", "resume.safetensors", "checkpoint.safetensors"]  # of a run's first epoch


@pytest.mark.parametrize("writes", range(len(WRITES) + 3))
def test_a_disk_that_fills_up_loses_nothing(scratch, monkeypatch, writes):
    """A kill at any write, also during the first save: the run continues, or starts again, with the same result.
    """
    options = ["ae", *SMALL, *MODELS["ae"]]
    scratch("train", *options, "--epochs", 2, "--out", "whole")
    write, calls = os.fsync, []

    def full(file):
        calls.append(file)
        if len(calls) > writes:
            raise OSError(28, "No space left on device")
        return write(file)

    monkeypatch.setattr(os, "fsync", full)
    result = scratch("train", *options, "--epochs", 2, "--out", "full")
    name = [*WRITES, *WRITES[1:]][writes]
    assert result.status == 2 and result.err == (
        f"error: cannot read or write 'full/{name}': No space left on device.\n")
    assert sorted(path.name for path in Path("full").iterdir()) == sorted(WRITES[:writes])
    monkeypatch.setattr(os, "fsync", write)
    if "resume.safetensors" in WRITES[:writes]:
        assert scratch("train", "--resume", "full").status == 0
    else:
        again = scratch("train", *options, "--epochs", 2, "--out", "full")
        assert again.status == 0 and ("begins anew" in again.out) == (writes > 0)
    for run in ("whole", "full"):
        assert [entry["epoch"] for entry in read_metrics(run)] == [1, 2]
    assert without_times(read_metrics("full")) == without_times(read_metrics("whole"))
    assert Path("full/checkpoint.safetensors").read_bytes() == Path("whole/checkpoint.safetensors").read_bytes()


def leave_unsaved(scratch, monkeypatch, *options):
    """A folder `run` as a kill before the first save leaves it, with lines of steps and metrics."""
    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", lambda *arguments: os.kill(os.getpid(), signal.SIGKILL))
        if (process := os.fork()) == 0:
            scratch("train", *options, "--out", "run")
    os.waitpid(process, 0)
    with open("run/metrics.jsonl", "a") as file:
        file.write('{"epoch": 1, "loss": 1}\n')


@pytest.mark.usefixtures("no_pictures")
def test_a_run_that_was_never_saved_begins_anew(scratch, monkeypatch):
    """It keeps no lines of its predecessor. An attempt to continue it names the command that starts it again."""
    options = [*BY_STEPS, "--steps", 4, "--lr", "cosine:1e-3:1e-4:9", "--data", "shapes:pill,plus"]
    assert scratch("train", *options, "--out", "whole").status == 0
    leave_unsaved(scratch, monkeypatch, *options)
    assert len(read_steps("run")) == 1 and not Path("run/resume.safetensors").exists()
    refused = scratch("train", "--resume", "run")
    assert refused.status == 2 and "never saved" in refused.err and refused.err.count("\n") == 1
    command = refused.err.partition("begin it anew with ")[2].rstrip()
    assert command.startswith("python -m scratch train vqvae ")
    again = scratch(*shlex.split(command)[3:])
    assert again.status == 0 and "begins anew" in again.out, again.err
    assert Path("run/checkpoint.safetensors").read_bytes() == Path("whole/checkpoint.safetensors").read_bytes()
    assert without_times(read_metrics("run")) == without_times(read_metrics("whole"))
    assert read_steps("run") == read_steps("whole")
    own, expected = (json.loads(Path(run, "config.json").read_text()) for run in ("run", "whole"))
    assert own == expected


@pytest.mark.usefixtures("no_pictures")
def test_a_kill_between_the_files_of_a_save_leaves_a_run_to_continue(scratch, trained):
    """resume.safetensors is there and the checkpoint is not, or is an older one: resuming writes it."""
    folder = Path(trained("ae"))
    whole = (folder / "checkpoint.safetensors").read_bytes()
    (folder / "checkpoint.safetensors").unlink()
    refused = scratch("evaluate", folder)
    assert refused.status == 2 and "continue" in refused.err
    for _ in range(2):
        assert scratch("train", "--resume", folder).status == 0
        assert (folder / "checkpoint.safetensors").read_bytes() == whole
        (folder / "checkpoint.safetensors").write_bytes(b"older")


def test_weights_without_anything_to_continue_from(scratch, trained):
    """The files are those of an older version, killed in its first save: both messages name a command that works."""
    folder = Path(trained("ae"))
    (folder / "resume.safetensors").unlink()
    whole = (folder / "checkpoint.safetensors").read_bytes()
    options = ["ae", *SMALL, *MODELS["ae"], "--epochs", 1]
    refused = scratch("train", *options, "--out", folder)
    assert refused.status == 2 and "choose another folder" in refused.err
    assert scratch("train", "--resume", folder).status == 2
    assert (folder / "checkpoint.safetensors").read_bytes() == whole
    assert scratch("train", *options, "--out", "another").status == 0 and scratch("evaluate", folder).status == 0


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "steps.jsonl", "curves.png", "samples.png"])
def test_the_files_of_another_program_stay(scratch, name):
    Path("theirs").mkdir()
    Path("theirs", name).write_text('{"port": 8080}')
    refused = scratch("train", "ae", *SMALL, *MODELS["ae"], "--out", "theirs")
    assert refused.status == 2 and f"theirs holds a {name} that train did not write" in refused.err
    assert Path("theirs", name).read_text() == '{"port": 8080}' and len(list(Path("theirs").iterdir())) == 1


def test_other_files_beside_a_run_are_no_hindrance(scratch):
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("notes")
    assert scratch("train", "ae", *SMALL, *MODELS["ae"], "--epochs", 1, "--out", "mine").status == 0
    assert Path("mine/notes.txt").read_text() == "notes"


def test_scratch_trains_where_torch_is_not_installed(tmp_path):
    program = (
        "import sys; sys.modules.update(torch=None, torchvision=None, cupy=None);"
        "from scratch.__main__ import build_parser; from scratch.commands.cli import main;"
        f"sys.exit(main(build_parser(), ['train', 'vqvae', *{[*SMALL, *MODELS['vqvae']]}, '--epochs', '1',"
        f" '--out', {str(tmp_path / 'run')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/codebook.png").exists()


@pytest.mark.skipif("AUTOENCODERS_DATA" not in os.environ, reason="AUTOENCODERS_DATA names no folder with real data")
@pytest.mark.parametrize("data, halvings", [("cifar10", 3), ("mnist", 2)])
def test_real_images_train(scratch, data, halvings):
    result = scratch("train", "vqvae", "--data", data, "--data-root", os.environ["AUTOENCODERS_DATA"], "--limit", 256,
                     "--epochs", 2, "--out", "run")
    assert result.status == 0, result.err
    first, second = read_metrics("run")
    assert second["reconstruction"] < first["reconstruction"]
    weights = load_file("run/checkpoint.safetensors")
    assert sum(name.startswith("encoder") and name.endswith("weight") for name in weights) == halvings
