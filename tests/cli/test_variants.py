"""The sparse, the denoising and the linear autoencoder as runs: training, resuming, evaluation, pictures, PCA."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from scratch.commands.codes import alike_but_in_size
from tests.cli.test_errors import assert_one_sentence
from tests.cli.test_torch_ref import torch_ref  # noqa: F401  (a fixture)
from tests.support.command_line import MODELS, SMALL, read_metrics, without_times

SIZE = ["--image-size", "16", "--limit", "40", "--batch-size", "16", "--latent-dim", "6"]
RUNS = {
    "sparse": ["ae", *SMALL, *MODELS["ae"], "--sparsity", "linear:0:0.1:5"],
    "linear": ["ae", *SIZE, "--network", "linear"],
    "denoising": ["ae", *SMALL, *MODELS["ae"], "--corruption", "gaussian:0.3"],
    "denoising vae": ["vae", *SMALL, *MODELS["vae"], "--corruption", "masking:0.3"],
    "denoising vqvae": ["vqvae", *SMALL, *MODELS["vqvae"], "--corruption", "salt_and_pepper:0.2"],
}


def height(path):
    with Image.open(path) as picture:
        return picture.height


@pytest.mark.parametrize("run", RUNS)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(scratch, run, request):
    assert scratch("train", *RUNS[run], "--epochs", 2, "--out", "whole").status == 0
    request.getfixturevalue("no_pictures")  # the whole run has its pictures
    scratch("train", *RUNS[run], "--epochs", 1, "--out", "parts")
    assert scratch("train", "--resume", "parts", "--epochs", 2).status == 0
    assert Path("whole/checkpoint.safetensors").read_bytes() == Path("parts/checkpoint.safetensors").read_bytes()
    assert without_times(read_metrics("whole")) == without_times(read_metrics("parts"))
    printed, last = json.loads(scratch("evaluate", "whole", "--json").out), read_metrics("whole")[-1]
    for name, value in last.items():
        if name.startswith("held_out_"):
            assert printed[name.removeprefix("held_out_")] == value
    assert ("share_of_zeros" in printed) == ("l1" in printed) == (run == "sparse")
    assert ("denoising_gain" in printed) == run.startswith("denoising")


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("run", RUNS)
def test_a_run_of_the_oracle_has_the_same_figures(scratch, torch_ref, run):  # noqa: F811
    assert torch_ref("train", *RUNS[run], "--epochs", 1, "--out", "theirs").status == 0
    printed, last = json.loads(scratch("evaluate", "theirs", "--json").out), read_metrics("theirs")[-1]
    ours = {name: value for name, value in printed.items() if f"held_out_{name}" in last}
    assert ours == pytest.approx({name: last[f"held_out_{name}"] for name in ours}, rel=1e-4)
    assert {"loss", "reconstruction", "psnr"} <= ours.keys()


def test_what_a_denoising_run_shows(scratch, trained):
    """The PSNR of the noisy images is known for Gaussian noise. The picture has two more rows than usual."""
    scratch("train", *RUNS["denoising"], "--epochs", 1, "--out", "denoising")
    found = json.loads(scratch("evaluate", "denoising", "--json").out)
    assert found["corrupted_psnr"] == pytest.approx(-20 * np.log10(0.3), abs=0.1)
    assert found["denoising_gain"] == pytest.approx(found["denoised_psnr"] - found["corrupted_psnr"])
    in_threes = json.loads(scratch("evaluate", "denoising", "--json", "--batch-size", 3).out)
    assert in_threes["denoised_psnr"] == pytest.approx(found["denoised_psnr"], rel=1e-5)
    assert in_threes["loss"] == pytest.approx(found["loss"], rel=1e-5)
    assert "denoising_gain" in scratch("evaluate", "denoising").out
    assert height("denoising/reconstructions.png") > height(f"{trained('ae')}/reconstructions.png")


@pytest.mark.usefixtures("no_pictures")
def test_runs_that_are_older_than_these_options_still_open_and_go_on(scratch, trained):
    folder = Path(trained("ae"))
    expected = scratch("evaluate", folder, "--json").out
    config = json.loads((folder / "config.json").read_text())
    for name in ("corruption", "sparsity"):
        assert not config["options"].pop(name)
    (folder / "config.json").write_text(json.dumps(config))
    assert scratch("evaluate", folder, "--json").out == expected
    assert scratch("reconstruct", folder).status == 0


# --- PCA --------------------------------------------------------------------------------------------------------------


def test_pca_beside_runs(scratch, trained):
    scratch("train", *RUNS["linear"], "--epochs", 2, "--out", "linear")
    ae, vae = trained("ae"), trained("vae")
    found = json.loads(scratch("pca", "linear", ae, vae, "--json").out)
    assert list(found) == ["linear", "ae", "vae"]
    assert len(found["linear"]["angles"]) == 6 and "angles" not in found["ae"]
    assert len({run["pca_explained"] for run in found.values()}) == 1
    for run in found.values():
        assert run["numbers"] == 6 and 0 < run["pca_explained"] < 1 and run["explained"] < run["pca_explained"]
    printed = scratch("pca", "linear", ae, "--out", "pca.png").out
    assert printed.count("numbers explain") == 2 and printed.count("angles") == 1 and height("pca.png") > 100
    assert scratch("pca", ae).status == 0 and Path(ae, "pca.png").exists()


@pytest.mark.usefixtures("no_pictures")
def test_pca_beside_a_linear_vae_says_what_water_filling_asks_for(scratch):
    options = [*RUNS["linear"][1:], "--epochs", 30, "--lr", "1e-2", "--beta", 0.02, "--out", "linear"]
    assert scratch("train", "vae", *options).status == 0
    run = json.loads(scratch("pca", "linear", "--json").out)["linear"]
    measured = json.loads(scratch("evaluate", "linear", "--json").out)
    assert (run["rate"], run["active_units"]) == (measured["rate"], measured["active_units"])
    assert 0 < run["water_filling_units"] <= 6 and 0.3 < run["rate"] / run["water_filling_rate"] < 3
    assert "water-filling" in scratch("pca", "linear").out
    scratch("train", "vae", *RUNS["linear"][1:], "--free-bits", 1, "--epochs", 1, "--out", "free")
    scratch("train", "vae", *RUNS["linear"][1:], "--corruption", "gaussian:0.1", "--epochs", 1, "--out", "noisy")
    for other in ("free", "noisy"):
        assert "rate" not in json.loads(scratch("pca", other, "--json").out)[other], "its loss is another one"


def test_runs_that_differ_in_the_size_of_their_code_alone_are_one_line_of_the_picture():
    def run(**options):
        return SimpleNamespace(options={"model": "ae", "network": "linear", **options})

    sizes = {"a": run(latent_dim=2), "b": run(latent_dim=4)}
    assert alike_but_in_size(sizes) == {"ae": ["a", "b"]}
    assert alike_but_in_size({"a": sizes["a"]}) == {"a": ["a"]}
    other = run(latent_dim=2, network="mlp", channels=[4])
    assert alike_but_in_size({**sizes, "c": other}) == {"network linear": ["a", "b"], "c": ["c"]}
    assert alike_but_in_size({"a": sizes["a"], "c": other}) == {"a": ["a"], "c": ["c"]}


def test_pca_of_what_has_indices(scratch, trained):
    assert_one_sentence(scratch("pca", trained("ae"), trained("vqvae")), "pca", "vqvae", "ae or vae")
    assert_one_sentence(scratch("pca", "nowhere"), "nowhere", "config.json")
