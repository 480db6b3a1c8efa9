"""`train --tensorboard`: TensorBoard's own reader finds each number of metrics.jsonl and steps.jsonl once."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import scratch as library
from scratch.options.errors import InputError
from scratch.runs.run import Run
from scratch.training.trainer import Trainer
from tests.cli.test_errors import assert_one_sentence
from tests.cli.test_torch_ref import torch_ref  # noqa: F401  (a fixture)
from tests.support.command_line import MODELS, SMALL, read_metrics

pytestmark = pytest.mark.usefixtures("no_pictures")
TRAIN = ["train", "ae", *SMALL, *MODELS["ae"], "--epochs", 3, "--log-steps", 2, "--tensorboard", "--out", "run"]
AN_EPOCH = 3  # updates: 40 images in batches of 16
IMAGES = np.random.default_rng(0).integers(0, 256, (44, 16, 16, 3), dtype=np.uint8)


def points(folder="run"):
    """{curve: [(step, value)]} as TensorBoard reads a folder, without its rule that drops points after a restart."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(f"{folder}/tensorboard", purge_orphaned_data=False,
                                         size_guidance={accumulator.SCALARS: 0})
    found.Reload()
    return {curve: [(point.step, point.value) for point in found.Scalars(curve)] for curve in found.Tags()["scalars"]}


def lines(folder="run"):
    """The same from metrics.jsonl and steps.jsonl."""
    found, updates = {}, Run.resume(folder)[2]["updates"]
    for line in read_metrics(folder):
        step = min(AN_EPOCH * line.pop("epoch"), updates)
        for name, value in line.items():
            group, name = ("held_out", name[9:]) if name.startswith("held_out_") else ("train", name)
            group = "speed" if name in ("seconds", "images_per_second") else group
            found.setdefault(f"{group}/{name}", []).append((step, float(np.float32(value))))
    run = Run.open(folder)
    for line in run.read_lines("steps.jsonl"):
        step = line.pop("step")
        for name, value in line.items():
            found.setdefault(f"steps/{name}", []).append((step, float(np.float32(value))))
    return found


@pytest.mark.parametrize("model", MODELS)
def test_every_number_is_a_point(scratch, model):
    words = ["train", model, *SMALL, *MODELS[model], *TRAIN[TRAIN.index("--epochs"):]]
    said = scratch(*words)
    assert said.status == 0, said.err
    found = points()
    assert found == lines()
    assert [step for step, _ in found["train/loss"]] == [step for step, _ in found["held_out/psnr"]] == [3, 6, 9]
    assert [step for step, _ in found["steps/loss"]] == [2, 4, 6, 8]
    assert "tensorboard --logdir run" in said.out


def test_without_the_option_there_is_no_event_file(scratch, trained):
    assert not Path(trained("ae"), "tensorboard").exists()


def test_the_oracle_and_the_prior_write_them_too(scratch, torch_ref):  # noqa: F811
    assert torch_ref(*TRAIN).status == 0
    assert points() == lines()
    codes = [*SMALL, *MODELS["vqvae"], "--epochs", 1, "--out", "codes"]
    assert scratch("train", "vqvae", *codes).status == 0
    prior = ["--of", "codes", "--width", 8, "--heads", 2, "--blocks", 1, "--batch-size", 16, "--epochs", 2]
    assert scratch("train", "prior", *prior, "--tensorboard", "--out", "prior").status == 0
    assert points("prior") == lines("prior")


def test_a_sweep_writes_them_for_each_run(scratch):
    words = [word for word in TRAIN[1:] if word not in ("--out", "run", *MODELS["ae"])]
    assert scratch("sweep", *words, "--over", "latent_dim=2,3", "--out", "s").status == 0
    for folder in ("s/latent_dim=2", "s/latent_dim=3"):
        assert points(folder) == lines(folder)


# --- stopped and continued --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ctrl-c", "kill"])
def test_a_stopped_run_goes_on_without_a_point_lost_or_twice(scratch, monkeypatch, how):
    step = Trainer.step

    def stopped(self, images, epoch, number, count):
        if (epoch, number) == (2, 2):
            if how == "kill":
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, images, epoch, number, count)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stopped)
        patch.setattr("time.perf_counter", iter(np.arange(0.0, 1e6, 2)).__next__)  # so each step's line comes at once
        assert scratch(*TRAIN).status == 130
    assert [step for step, _ in points()["steps/loss"]] == ([2, 4] if how == "kill" else [2, 4, 6])
    assert scratch("train", "--resume", "run").status == 0
    assert points() == lines()
    assert [step for step, _ in points()["steps/loss"]] == [2, 4, 6, 8]
    assert len(list(Path("run/tensorboard").iterdir())) == 1


def test_a_run_continued_with_the_option_has_its_earlier_points(scratch):
    without = [word for word in TRAIN if word != "--tensorboard"]
    assert scratch(*without).status == 0
    Path("run/tensorboard").mkdir()
    Path("run/tensorboard/events.out.tfevents.1.other").write_bytes(b"")
    assert scratch("train", "--resume", "run", "--epochs", 4, "--tensorboard").status == 0
    assert points() == lines() and len(points()["train/loss"]) == 4
    assert Path("run/tensorboard/events.out.tfevents.1.other").exists(), "a file of another program"
    assert scratch("train", "--resume", "run").status == 0  # nothing is left to do
    assert points() == lines()


def test_the_end_of_an_epoch_replaces_the_point_of_its_middle(scratch):
    words = TRAIN[:TRAIN.index("--epochs")] + TRAIN[TRAIN.index("--log-steps"):]
    scratch(*words, "--steps", 4)
    assert [step for step, _ in points()["train/loss"]] == [3, 4] and points() == lines()
    scratch("train", "--resume", "run", "--steps", 7)
    assert [step for step, _ in points()["train/loss"]] == [3, 6, 7] and points() == lines()


def test_a_run_that_was_never_saved_leaves_no_points(scratch, monkeypatch):
    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
    scratch(*TRAIN)
    assert list(Path("run/tensorboard").iterdir())
    monkeypatch.setattr(Trainer, "step", step)
    assert scratch(*[word for word in TRAIN if word != "--tensorboard"]).status == 0
    assert not list(Path("run/tensorboard").iterdir())


# --- the library, and what is missing ---------------------------------------------------------------------------------


def test_the_library_writes_them_into_its_folder(tmp_path):
    sizes = dict(channels=[4, 8], latent_dim=6, batch_size=16, epochs=2, progress=False, held_out=4)
    library.train("ae", IMAGES, tensorboard=True, out=tmp_path / "run", **sizes)
    assert points(tmp_path / "run") == lines(tmp_path / "run")
    with pytest.raises(InputError, match="TensorBoard reads from a folder: give one as out"):
        library.train("ae", IMAGES, tensorboard=True, **sizes)


def test_without_the_package_one_sentence_says_what_to_install(scratch, torch_ref, trained, monkeypatch):  # noqa: F811
    run, said = trained("ae"), ("--tensorboard needs the package tensorboard", "pip install tensorboard")
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for command in (scratch, torch_ref):
        assert_one_sentence(command(*TRAIN), *said)
    assert_one_sentence(scratch("sweep", *TRAIN[1:], "--over", "beta=1,2"), "--beta")
    words = [word for word in TRAIN[1:] if word not in ("--out", "run")]
    assert_one_sentence(scratch("sweep", *words, "--over", "seed=1,2", "--out", "s"), *said)
    assert not Path("run").exists() and not Path("s").exists()

    before = {path.name: path.read_bytes() for path in Path(run).iterdir()}
    assert_one_sentence(scratch("train", "--resume", run, "--epochs", 3, "--tensorboard"), *said)
    assert {path.name: path.read_bytes() for path in Path(run).iterdir()} == before
