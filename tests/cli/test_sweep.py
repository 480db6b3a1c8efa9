"""`sweep`: one run for each combination, none trained twice, continued after a stop, and compared in a table."""

import json
from pathlib import Path

import pytest
from PIL import Image

from scratch.commands import sweep as sweeping
from scratch.runs.run import Run
from scratch.training.loop import Interrupted
from scratch.training.progress import Diverged
from tests.cli.test_errors import assert_one_sentence
from tests.support.command_line import MODELS, SMALL, read_metrics, without_times

VAE = ["sweep", "vae", *SMALL, *MODELS["vae"], "--epochs", 1, "--out", "s"]
TWO = [*VAE, "--over", "beta=0.1,10"]


def runs(folder="s"):
    return json.loads(Path(folder, "sweep.json").read_text())["runs"]


def size(path):
    with Image.open(path) as picture:
        return picture.size


def test_every_combination_is_trained_judged_and_drawn(scratch):
    unwidened = [word for word in TWO if word not in SMALL[:2]]  # without --channels
    result = scratch(*unwidened, "--over", "channels=4x8,8")
    assert result.status == 0, result.err
    found = {run["name"]: run for run in runs()}
    assert list(found) == [
        "beta=0.1_channels=4x8", "beta=0.1_channels=8", "beta=10_channels=4x8", "beta=10_channels=8"]
    for name, run in found.items():
        options = json.loads(Path("s", name, "config.json").read_text())["options"]
        assert options["beta"] == float(run["settings"]["beta"]) and options["epochs"] == 1
        assert options["channels"] == [int(width) for width in run["settings"]["channels"].split("x")]
    evaluated = json.loads(scratch("evaluate", "s/beta=10_channels=8", "--json").out)
    assert {name: run for name, run in found["beta=10_channels=8"].items() if name in evaluated} == {
        name: value for name, value in evaluated.items() if name not in ("data", "images")}
    gap = json.loads(scratch("mig", "s/beta=10_channels=8", "--json").out)["mig"]
    assert found["beta=10_channels=8"]["mig"] == gap
    table = [line.split() for line in result.out.splitlines() if line.split()[:1] in (["beta"], ["0.1"], ["10"])]
    assert table[0][:6] == ["beta", "channels", "rate", "distortion", "ELBO", "bits/dim"] and len(table) == 5
    assert float(table[4][2]) == pytest.approx(evaluated["rate"], abs=0.006)
    assert size("s/rate_distortion.png")[0] > 500 and size("s/figures.png")[0] > 500


@pytest.mark.usefixtures("no_pictures")
def test_a_finished_sweep_trains_and_measures_nothing_again(scratch, monkeypatch):
    first = scratch(*TWO)
    before, table = runs(), first.out[first.out.index("beta "):]

    def never(*arguments, **options):
        raise AssertionError("trained or measured again")

    for name in ("train", "measure_all"):
        monkeypatch.setattr(sweeping, name, never)
    again = scratch(*TWO)
    assert again.status == 0 and again.out.endswith(table) and runs() == before


@pytest.mark.usefixtures("no_pictures")
def test_an_interrupted_sweep_goes_on_bit_for_bit(scratch, monkeypatch):
    scratch(*TWO, "--epochs", 2, "--out", "whole")
    save, saved = Run.save, []

    def stop_in_the_second_run(self, trainer, progress):
        save(self, trainer, progress)
        saved.append(self.folder.name)
        if len(saved) == 3:
            raise Interrupted

    monkeypatch.setattr(Run, "save", stop_in_the_second_run)
    stopped = scratch(*TWO, "--epochs", 2)
    assert stopped.status == 130 and "goes on" in stopped.out and saved == ["beta=0.1"] * 2 + ["beta=10"]
    assert not Path("s/sweep.json").exists()
    assert scratch(*TWO, "--epochs", 2).status == 0 and saved[3:] == ["beta=10"]
    for name in ("beta=0.1", "beta=10"):
        one, other = Path("whole", name), Path("s", name)
        assert (one / "checkpoint.safetensors").read_bytes() == (other / "checkpoint.safetensors").read_bytes()
        assert without_times(read_metrics(one)) == without_times(read_metrics(other))
    assert runs("whole") == runs("s")


@pytest.mark.usefixtures("no_pictures")
def test_more_epochs_and_more_values_train_on(scratch):
    scratch(*TWO)
    before = {run["name"]: run["elbo"] for run in runs()}
    assert scratch(*VAE, "--over", "beta=0.1,1,10", "--epochs", 2).status == 0
    assert {name: len(read_metrics(f"s/beta={name}")) for name in ("0.1", "1", "10")} == {"0.1": 2, "1": 2, "10": 2}
    assert all(run["elbo"] != before.get(run["name"]) for run in runs())


def test_schedules_flags_and_models_without_a_rate(scratch):
    assert scratch(*VAE, "--over", "beta=1,linear:0:1:5", "--over", "plain=on,off").status == 0
    assert [Path(run["name"]).name for run in runs()][2] == "beta=linear-0-1-5_plain=on"
    options = json.loads(Path("s/beta=linear-0-1-5_plain=off/config.json").read_text())["options"]
    assert options["beta"] == "linear:0:1:5" and not options["plain"]
    ae = ["sweep", "ae", *SMALL, "--epochs", 1, "--out", "sizes", "--over", "latent_dim=2,4"]
    result = scratch(*ae)
    assert result.status == 0 and "PSNR" in result.out and "rate" not in result.out
    assert size("sizes/figures.png")[0] > 500 and not Path("sizes/rate_distortion.png").exists()
    assert scratch("pca", "sizes/latent_dim=2", "sizes/latent_dim=4").status == 0


@pytest.mark.usefixtures("no_pictures")
def test_a_run_that_diverges_is_named_and_left_out(scratch, monkeypatch):
    train = sweeping.train

    def diverging(planned, download):
        if planned.options["beta"] == 10:
            raise Diverged("loss became nan in epoch 1, step 2")
        return train(planned, download)

    monkeypatch.setattr(sweeping, "train", diverging)
    result = scratch(*TWO)
    assert result.status == 1 and "beta=10: loss became nan" in result.out
    assert [run["name"] for run in runs()] == ["beta=0.1"]
    assert json.loads(Path("s/sweep.json").read_text())["diverged"] == ["beta=10"]


@pytest.mark.parametrize("argv, parts", [
    ("sweep vae --out s", ["--over"]),
    ("sweep vae --over beta=1,2", ["--out DIR"]),
    ("sweep vae --over beta=1,2 --out s --resume s", ["--out DIR", "--resume"]),
    ("sweep --over beta=1,2 --out s", ["model"]),
    ("sweep vae --over beta --out s", ["--over beta", "OPTION=VALUE"]),
    ("sweep vae --over beta=1,,2 --out s", ["--over beta=1,,2", "OPTION=VALUE"]),
    ("sweep vae --over depth=1,2 --out s", ["'depth'", "not an option of train"]),
    ("sweep vae --over out=1,2 --out s", ["'out'", "not an option of train"]),
    ("sweep vae --over beta=1,2 --beta 1 --out s", ["--beta", "twice"]),
    ("sweep vae --over beta=1 --over beta=2 --out s", ["--beta", "twice"]),
    ("sweep vae --over beta=1,1 --out s", ["beta=1,1", "twice"]),
    ("sweep vae --over beta=1,-1 --out s", ["--beta", "'-1'", "a number ≥ 0"]),
    ("sweep vae --over plain=yes --out s", ["--plain", "on or off"]),
    ("sweep vae --over channels=4x0 --out s", ["--channels", "'0'"]),
    ("sweep ae --over beta=1,2 --out s", ["--beta", "vae", "ae has no such option"]),
])
def test_what_cannot_be_swept(scratch, argv, parts):
    assert_one_sentence(scratch(*argv.split()), *parts)
    assert not Path("s").exists()


def test_a_folder_of_other_runs(scratch):
    scratch(*TWO)
    refused = scratch(*VAE, "--over", "beta=0.1,10", "--lr", 0.5)
    assert_one_sentence(refused, "beta=0.1", "--lr 0.001", "0.5", "another --out")
