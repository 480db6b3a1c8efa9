"""How long a run is where nobody says it, and which of many short epochs are printed and saved."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scratch as library
from scratch.models.system import systems
from scratch.options.resolve import long_enough, resolve
from scratch.options.training import LEAST_UPDATES
from scratch.runs.run import Run
from scratch.training.loop import epochs_between_saves
from scratch.training.trainer import Trainer
from tests.cli.test_torch_ref import torch_ref  # noqa: F401  (a fixture)
from tests.support.command_line import read_metrics, without_times

pytestmark = pytest.mark.usefixtures("no_pictures")
TINY = ["--network", "linear", "--latent-dim", 2, "--image-size", 4]
FOLDER = ["train", "ae", *TINY, "--data", "folder:pictures"]
FORTY = [*FOLDER, "--epochs", 40, "--workers", 1]


@pytest.fixture
def pictures(tmp_path):
    """36 pictures in the folder `pictures`: 33 to train on and 3 held out."""
    (tmp_path / "pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (36, 8, 8, 3), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / f"pictures/{number:02}.png")


def options_of(folder):
    return json.loads(Path(folder, "config.json").read_text())["options"]


def printed(said):
    """The numbers of the epochs in what was printed."""
    return [int(line.split()[1].rstrip(":")) for line in said.splitlines() if line.startswith("epoch ")]


# --- the default ------------------------------------------------------------------------------------------------------


def test_a_small_folder_gets_enough_updates(scratch, pictures):
    said = scratch(*FOLDER, "--out", "run")
    assert said.status == 0 and options_of("run")["epochs"] == LEAST_UPDATES == 800
    assert [line["epoch"] for line in read_metrics("run")] == list(range(1, 801))
    assert Run.resume("run")[2]["updates"] == 800
    assert printed(said.out) == list(range(25, 801, 25))


@pytest.mark.parametrize("given, expected", [
    (["--epochs", 2], (2, None)), (["--steps", 3], (None, 3)), (["--batch-size", 16], (267, None))])
def test_a_length_that_is_given_is_obeyed_and_one_that_is_not_counts_batches(scratch, pictures, given, expected):
    assert scratch(*FOLDER, *given, "--out", "run").status == 0
    options = options_of("run")
    assert (options["epochs"], options["steps"]) == expected


@pytest.mark.parametrize("model", systems())
def test_many_images_keep_the_default(model):
    options = resolve(model, {})
    assert long_enough(options, {}, 10**6) == options
    few = long_enough(options, {}, options["batch_size"] + 1)
    assert few == {**options, "epochs": LEAST_UPDATES // 2}
    for name, value in (("epochs", 1), ("steps", 1)):
        given = resolve(model, {name: value})
        assert long_enough(given, {name: value}, 10) == given


def test_the_documented_runs_are_as_long_as_before():
    for preset, epochs in (("small", 6), ("article", 20)):
        options = resolve("vqvae", {"preset": preset})
        assert long_enough(options, {}, 10_000)["epochs"] == epochs
    published = resolve("vqvae", {"preset": "published"})
    assert long_enough(published, {}, 36) == published


def test_the_library_and_the_oracle_do_the_same(scratch, torch_ref, pictures):  # noqa: F811
    images = np.random.default_rng(0).integers(0, 256, (36, 4, 4, 3), dtype=np.uint8)
    run = library.train("ae", images, network="linear", latent_dim=2, progress=False)
    assert run.options["epochs"] == 800 == len(run.metrics())
    model = library.build("ae", (4, 4, 3), network="linear", latent_dim=2)
    assert library.train(model, images, epochs=1, progress=False).options["epochs"] == 1

    words = [*FOLDER, "--batch-size", 3]
    ours, theirs = scratch(*words, "--out", "ours"), torch_ref(*words, "--out", "theirs")
    assert options_of("ours") == options_of("theirs") and options_of("ours")["epochs"] == 73  # of 11 batches
    assert printed(ours.out) == printed(theirs.out) == [*range(3, 73, 3), 73]


def test_a_sweep_trains_as_long_and_knows_that_it_has(scratch, pictures):
    sweep = ["sweep", *FOLDER[1:], "--over", "latent_dim=1,2", "--out", "s"]
    sweep = [word for word in sweep if word not in ("--latent-dim", 2)]
    assert scratch(*sweep, "--batch-size", 2).status == 0  # 17 batches
    assert [len(read_metrics(f"s/latent_dim={z}")) for z in (1, 2)] == [48, 48]
    assert "epoch" not in scratch(*sweep, "--batch-size", 2).out


# --- many short epochs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("images, epochs, steps, expected", [
    (33, 20, None, 1), (33, 21, None, 25), (64 * 10, 100, None, 3), (64 * 25, 100, None, 1), (50_000, 100, None, 1),
    (33, None, 20, 1), (33, None, 21, 25), (64 * 10, None, 1000, 3)])
def test_every_so_many_epochs_a_run_is_saved(images, epochs, steps, expected):
    assert epochs_between_saves({"batch_size": 64, "epochs": epochs, "steps": steps}, images) == expected


def test_ctrl_c_between_two_saves_loses_nothing(scratch, pictures, monkeypatch):
    scratch(*FORTY, "--log-steps", 2, "--keep", "best", "--out", "whole")
    step = Trainer.step

    def interrupted(self, images, epoch, number, count):
        if epoch == 33:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, images, epoch, number, count)

    monkeypatch.setattr(Trainer, "step", interrupted)
    stopped = scratch(*FORTY, "--log-steps", 2, "--keep", "best", "--out", "cut")
    assert stopped.status == 130 and printed(stopped.out) == [25, 33]
    assert len(read_metrics("cut")) == 33
    monkeypatch.setattr(Trainer, "step", step)
    assert printed(scratch("train", "--resume", "cut").out) == [40]
    assert_same("cut", "whole")


def test_a_kill_between_two_saves_costs_only_the_time(scratch, pictures, monkeypatch):
    scratch(*FORTY, "--log-steps", 2, "--keep", "best", "--out", "whole")
    step = Trainer.step

    def killed(self, images, epoch, number, count):
        if epoch == 33:
            raise KeyboardInterrupt
        return step(self, images, epoch, number, count)

    monkeypatch.setattr(Trainer, "step", killed)
    scratch(*FORTY, "--log-steps", 2, "--keep", "best", "--out", "cut")
    assert len(read_metrics("cut")) == 25
    monkeypatch.setattr(Trainer, "step", step)
    assert "after 25 epoch(s)" in scratch("train", "--resume", "cut").out
    assert_same("cut", "whole")


def assert_same(run, other):
    for name in ("checkpoint.safetensors", "best.safetensors", "steps.jsonl"):
        assert Path(run, name).read_bytes() == Path(other, name).read_bytes()
    assert without_times(read_metrics(run)) == without_times(read_metrics(other))


def test_patience_ends_a_run_between_two_saves(scratch, pictures):
    said = scratch(*FOLDER, "--patience", 2, "--lr", "linear:1e-3:1:30", "--out", "run")
    metrics = read_metrics("run")
    assert 2 < len(metrics) < 800 and len(metrics) % 25 and printed(said.out)[-1] == len(metrics)
    assert Run.resume("run")[2]["updates"] == len(metrics)
    assert "has given up" in scratch("train", "--resume", "run").out and read_metrics("run") == metrics


def test_curves_and_reports_take_hundreds_of_epochs(scratch, pictures):
    scratch(*FOLDER, "--epochs", 300, "--out", "run")
    for command in (["curves", "run", "--out", "curves.png"], ["report", "run"]):
        assert scratch(*command).status == 0
    assert Path("curves.png").stat().st_size > 0
    assert scratch("train", "--resume", "run", "--epochs", 301).status == 0 and len(read_metrics("run")) == 301
