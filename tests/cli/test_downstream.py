"""probe, retrieve, anomaly and downstream, with the data that they need: fewer shapes, other channels, other noise."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils import load
from scratch.instruments.anomaly import scores
from scratch.instruments.elbo import rate_distortion
from scratch.runs.run import Run
from scratch.runs.trained import Trained
from tests.cli.test_errors import assert_one_sentence
from tests.support.command_line import MODELS, SMALL
from tests.support.terminal import in_a_terminal

NUMBERS = {"ae": 6, "vae": 6, "vqvae": 16 * 8, "vqvae2": 80 * 8, "dvae": 16 * 8}  # of an image's code
SCORES = {
    "ae": {"reconstruction_error", "pixel_variance"},
    "vae": {"reconstruction_error", "negative_elbo", "rate", "pixel_variance"},
    "vqvae": {"reconstruction_error", "negative_elbo", "code_length", "pixel_variance"},
    "dvae": {"reconstruction_error", "negative_elbo", "rate", "code_length", "pixel_variance"},
}


def size_of(path):
    with Image.open(path) as image:
        assert np.asarray(image).std() > 5
        return image.size


@pytest.mark.parametrize("model", MODELS)
def test_probe_and_retrieve(scratch, trained, model):
    folder = trained(model)
    found = json.loads(scratch("probe", folder, "--json").out)
    assert found["images"] == found["training_images"] == 40 and found["data"] == "shapes"
    sizes = {label: entry["numbers"] for label, entry in found["probes"].items()}
    assert sizes == {"latents": NUMBERS[model], "PCA": NUMBERS[model], "pixels": 768}
    assert all(0 <= entry["shape"]["accuracy"] <= 1 for entry in found["probes"].values())
    text = scratch("probe", folder).out
    assert f"accuracy {found['probes']['PCA']['shape']['accuracy']:.2%}" in text
    assert f"accuracy {found['chance']['shape']:.2%}" in text

    found = json.loads(scratch("retrieve", folder, "--json").out)
    assert found["retrieval"].keys() == sizes.keys() and not Path(folder, "neighbours.png").exists()
    result = scratch("retrieve", folder, "--count", 2)
    assert f"knn accuracy {found['retrieval']['latents']['shape']['knn_accuracy']:.2%}" in result.out
    width, height = size_of(Path(folder, "neighbours.png"))
    scratch("retrieve", folder, "--count", 3, "--out", "three.png")
    assert size_of("three.png")[1] > height


def test_a_terminal_shows_how_far_the_probes_are_and_a_pipe_does_not(scratch, trained):
    folder = trained("vae")
    for command, total in (("probe", 21), ("downstream", 21), ("mig", 3)):
        shown = in_a_terminal("-m", "scratch", command, folder, "--json")
        assert f"{command}: " in shown and f"/{total} [" in shown
        assert scratch(command, folder, "--json").err == ""


@pytest.mark.parametrize("model", SCORES)
def test_anomaly(scratch, trained, model):
    folder = trained(model)
    found = json.loads(scratch("anomaly", folder, "--against", "shapes:square", "--limit", 40, "--json").out)
    assert found["auroc"].keys() == SCORES[model] and found["against"] == "shapes:square"
    assert found["images"] == found["against_images"] == 40 and not list(Path(folder).glob("anomaly*"))
    result = scratch("anomaly", folder, "--against", "shapes:square", "--limit", 40, "--batch-size", 7)
    assert f"AUROC {found['auroc']['reconstruction_error']:.4f}" in result.out
    size_of(Path(folder, "anomaly-shapes-square.png"))


def test_the_scores_are_those_of_each_image(trained):
    whole, held_out = Trained(Run.open(trained("vae"))), load("shapes", limit=40, image_size=16).held_out
    found, x = scores(whole, held_out), whole.floats(held_out)
    errors = ((whole.reconstruct(x) - x) ** 2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(found["reconstruction_error"], errors, rtol=1e-5)
    np.testing.assert_allclose(found["negative_elbo"], -rate_distortion(whole, held_out).elbo, rtol=1e-12)
    np.testing.assert_allclose(found["pixel_variance"], x.reshape(40, -1).var(axis=1), rtol=1e-4)


def test_a_shape_is_left_out_of_training_and_of_evaluation(scratch):
    options = [*SMALL, *MODELS["ae"], "--data", "shapes:pill,plus", "--epochs", 1, "--out", "run"]
    assert scratch("train", "ae", *options).status == 0
    config = json.loads(Path("run/config.json").read_text())
    assert config["options"]["data"] == config["data"]["name"] == "shapes:pill,plus"
    found = json.loads(scratch("anomaly", "run", "--against", "shapes:square", "--limit", 30, "--json").out)
    assert found["data"] == "shapes:pill,plus" and found["against"] == "shapes:square"
    assert found["images"] == found["against_images"] == 30


def test_grey_and_coloured_images_go_through_a_run_of_the_other_kind(scratch, trained, monkeypatch):
    from scratch.models import system

    asked = {}

    def grey(name, **wanted):
        asked.update(wanted)
        return load("shapes", limit=20, image_size=wanted["image_size"], channels=3)

    folder = trained("ae")
    monkeypatch.setattr(system, "load", grey)
    assert scratch("evaluate", folder, "--data", "mnist", "--json").status == 0
    assert asked["channels"] == 3 and asked["image_size"] == 16


def test_downstream(scratch, trained):
    """One row for each run, with the figures of the single commands, and rows for methods without a model."""
    ae, vae, vqvae = (trained(model) for model in ("ae", "vae", "vqvae"))
    argv = ["downstream", ae, vae, vqvae, "--against", "shapes:plus", "--corruption", "gaussian:0.1", "--limit", 40]
    rows = json.loads(scratch(*argv, "--json").out)["rows"]
    assert list(rows) == ["ae", "vae", "vqvae", "PCA, 6 numbers", "PCA, 128 numbers", "pixels"]
    probes = json.loads(scratch("probe", vae, "--json").out)["probes"]
    assert rows["vae"]["shape: probe"] == probes["latents"]["shape"]["accuracy"]
    assert rows["pixels"]["shape: probe"] == probes["pixels"]["shape"]["accuracy"]
    areas = json.loads(scratch("anomaly", vqvae, "--against", "shapes:plus", "--limit", 40, "--json").out)["auroc"]
    assert rows["vqvae"]["AUROC code length"] == areas["code_length"]
    evaluated = json.loads(scratch("evaluate", ae, "--corruption", "gaussian:0.1", "--json").out)
    assert evaluated["corruption"] == "gaussian:0.1"
    assert evaluated["corrupted_psnr"] == pytest.approx(20, abs=0.2), "−20 log₁₀ σ"
    assert rows["ae"]["denoising gain (dB)"] == evaluated["denoising_gain"]

    lines = scratch(*argv).out.splitlines()
    assert len(lines) == 8 and len({line.count("|") for line in lines}) == 1
    assert lines[1].replace("|", "").strip("-") == ""
    assert f"{areas['code_length']:.4f}" in lines[4]
    alone = scratch("downstream", ae).out
    assert "AUROC" not in alone and "dB" not in alone


@pytest.mark.parametrize("argv, parts", [
    ("probe nowhere", ["nowhere", "config.json"]),
    ("anomaly nowhere", ["--against"]),
    ("downstream nowhere --corruption blur:1", ["--corruption", "'blur:1'"]),
    ("evaluate nowhere --corruption gaussian:0", ["--corruption", "'gaussian:0'"]),
    ("train ae --data shapes:circle", ["'shapes:circle'", "pill, square, triangle, plus"]),
    ("train ae --data shapes:", ["'shapes:'", "shapes:pill,plus"]),
])
def test_arguments(scratch, argv, parts):
    assert_one_sentence(scratch(*argv.split()), *parts)


def test_what_cannot_be_compared(scratch, trained):
    folder = trained("ae")
    assert_one_sentence(scratch("anomaly", folder, "--against", "shapes"), "--against shapes", "another data set")
    Path("pictures").mkdir()
    for number in range(3):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(f"pictures/{number}.png")
    assert_one_sentence(scratch("probe", folder, "--data", "folder:pictures"), "no labels", "choose other images")


def test_without_scipy(scratch, trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    assert_one_sentence(scratch("probe", trained("ae")), "SciPy", "pip install scipy")
