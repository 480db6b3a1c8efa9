"""`--keep best` and `--patience`: the weights of the best epoch, and the end of a run that no longer gets better."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import scratch as library
from scratch.options.errors import InputError
from scratch.training.progress import gave_up, lowest
from tests.cli.test_errors import assert_one_sentence
from tests.cli.test_torch_ref import torch_ref  # noqa: F401  (a fixture)
from tests.support.command_line import MODELS, SMALL, read_metrics

pytestmark = pytest.mark.usefixtures("no_pictures")
WORSE = ["--lr", "linear:1e-2:3:12"]  # a learning rate that rises until the loss does
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)


def train(run, *options, model="ae", epochs=5):
    result = run("train", model, *SMALL, *MODELS[model], *WORSE, "--epochs", epochs, *options)
    assert result.status == 0, result.err
    return result


def lines(*losses):
    return [{"epoch": epoch, "held_out_loss": loss} for epoch, loss in enumerate(losses, 1)]


def test_the_lowest_line_and_patience():
    assert lowest([]) is None and lowest(lines(3, 1, 2, 1))["epoch"] == 2
    for losses, patience, expected in (
            ((), 1, False), ((3,), 1, False), ((3, 2), 1, False), ((2, 3), 1, True), ((2, 2), 1, True),
            ((2, 3, 1), 2, False), ((1, 3, 2), 2, True), ((1, 3), 2, False), ((1, 2, 3, 4), None, False)):
        assert gave_up(lines(*losses), patience) is expected, (losses, patience)


@pytest.mark.parametrize("model", ["ae", "vqvae"])
def test_the_weights_of_the_best_epoch_are_kept(scratch, model):
    """They are the last weights of a run that ends there, and the commands measure with them what training measured."""
    said = train(scratch, "--keep", "best", "--out", "run", model=model).out
    metrics = read_metrics("run")
    best = lowest(metrics)
    assert best["epoch"] < len(metrics), "the run should have become worse"
    assert f"lowest after epoch {best['epoch']}: {best['held_out_loss']:.4g}" in said
    assert "evaluate run --which best" in said

    train(scratch, "--out", "shorter", model=model, epochs=best["epoch"])
    kept, expected = load_file("run/best.safetensors"), load_file("shorter/checkpoint.safetensors")
    assert kept.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(kept[name], value)

    for which, line in (("best", best), ("last", metrics[-1])):
        found = json.loads(scratch("evaluate", "run", "--which", which, "--json").out)
        assert found["psnr"] == pytest.approx(line["held_out_psnr"], rel=1e-5)
    for command in (["reconstruct", "run"], ["report", "run"], ["encode", "run"]):
        assert scratch(*command, "--which", "best").status == 0


def test_a_run_that_gets_better_keeps_its_last_weights(scratch):
    assert scratch("train", "ae", *SMALL, *MODELS["ae"], "--keep", "best", "--epochs", 2, "--out", "run").status == 0
    metrics = read_metrics("run")
    assert lowest(metrics) == metrics[-1]
    assert Path("run/best.safetensors").read_bytes() == Path("run/checkpoint.safetensors").read_bytes()


def test_it_resumes_with_the_best_so_far(scratch):
    """Resumed after the best epoch, and after one in which its file was lost, it ends with the same weights."""
    train(scratch, "--keep", "best", "--out", "whole")
    best = lowest(read_metrics("whole"))["epoch"]
    for epochs in (best, best + 1):
        train(scratch, "--keep", "best", "--out", f"run{epochs}", epochs=epochs)
        Path(f"run{epochs}/best.safetensors").unlink()
        Path(f"run{epochs}/config.json").unlink()
        result = scratch("train", "--resume", f"run{epochs}", "--epochs", 5)
        assert result.status == 0, result.err
        for name in ("best", "checkpoint"):
            whole, parts = (load_file(f"{folder}/{name}.safetensors") for folder in ("whole", f"run{epochs}"))
            for key, value in whole.items():
                np.testing.assert_array_equal(parts[key], value)


def test_patience(scratch):
    train(scratch, "--out", "whole")
    losses = read_metrics("whole")
    best = lowest(losses)["epoch"]
    said = train(scratch, "--patience", 1, "--out", "run").out
    assert len(read_metrics("run")) == best + 1 < len(losses)
    assert f"The held-out loss was lowest after epoch {best}" in said
    again = scratch("train", "--resume", "run")
    assert "It has given up; a larger --patience trains on." in again.out
    assert len(read_metrics("run")) == best + 1
    assert scratch("train", "--resume", "run", "--patience", 9).status == 0
    for one, other in zip(read_metrics("run"), losses, strict=True):
        assert one["held_out_loss"] == other["held_out_loss"]
    assert_one_sentence(scratch("train", "ae", "--patience", 0), "--patience", "≥ 1")
    assert_one_sentence(scratch("train", "ae", "--keep", "first"), "--keep", "last or best")


def test_runs_that_kept_their_last_weights_alone(scratch, trained):
    folder = trained("ae")
    assert not Path(folder, "best.safetensors").exists()
    for command in ("evaluate", "reconstruct", "report", "encode"):
        assert_one_sentence(scratch(command, folder, "--which", "best"), "--which is best", "no best.safetensors",
                            "take the last weights")


def test_weights_that_do_not_fit(scratch):
    train(scratch, "--keep", "best", "--out", "run", epochs=1)
    train(scratch, "--keep", "best", "--out", "other", "--latent-dim", 3, epochs=1)
    shutil.copy("other/best.safetensors", "run/best.safetensors")
    assert_one_sentence(scratch("evaluate", "run", "--which", "best"), "run/best.safetensors does not fit the ae")
    assert scratch("evaluate", "run").status == 0
    Path("run/checkpoint.safetensors").unlink()
    Path("run/resume.safetensors").unlink()
    assert_one_sentence(scratch("train", "ae", *SMALL, *MODELS["ae"], "--out", "run"), "holds the weights of a run")


def test_a_sweep_measures_the_weights_that_its_runs_keep(scratch):
    command = ("sweep", "ae", *SMALL, *MODELS["ae"], *WORSE, "--epochs", 5, "--keep", "best", "--patience", 2,
               "--over", "seed=0,1", "--out", "sweep")
    assert scratch(*command).status == 0
    for run in json.loads(Path("sweep/sweep.json").read_text())["runs"]:
        folder = Path("sweep", run["name"])
        assert len(read_metrics(folder)) < 5
        assert run["psnr"] == pytest.approx(lowest(read_metrics(folder))["held_out_psnr"], rel=1e-5)
    assert "run 1 of 2" not in scratch(*command).out  # they have given up, and are not trained again


def test_the_oracle_keeps_them_too(scratch, torch_ref):  # noqa: F811
    train(torch_ref, "--keep", "best", "--patience", 2, "--out", "run")
    best = lowest(read_metrics("run"))
    found = json.loads(scratch("evaluate", "run", "--which", "best", "--json").out)
    assert found["psnr"] == pytest.approx(best["held_out_psnr"], rel=1e-4)


def test_the_best_weights_in_python(tmp_path):
    given = {"epochs": 5, "lr": "linear:1e-2:3:12", "batch_size": 12, "channels": [2, 4], "progress": False}
    with pytest.raises(InputError, match="best weights are kept in a folder"):
        library.train("ae", IMAGES, keep="best", **given)
    run = library.train("ae", IMAGES, keep="best", out=tmp_path / "run", **given)
    best = lowest(run.metrics())
    held_out = library.load(tmp_path / "run", which="best")
    assert best["epoch"] < 5
    for name, value in load_file(tmp_path / "run/best.safetensors").items():
        np.testing.assert_array_equal(held_out.model.state_dict()[name], value)
    with pytest.raises(InputError, match="last or best"):
        library.load(tmp_path / "run", which="first")
