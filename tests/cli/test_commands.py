"""The commands on a finished run: evaluate, reconstruct, sample, variations, interpolate, encode, decode, gradcheck."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils import load
from scratch.accelerate.cpu.threads import Threads
from scratch.instruments.elbo import rate_distortion
from scratch.instruments.posteriors import gaussian_posteriors
from scratch.runs.latents import FORMAT, fingerprint
from scratch.runs.run import Run
from scratch.runs.trained import Trained
from scratch.training.held_out import held_out_metrics
from scratch.training.trainer import Trainer
from tests.support.command_line import MODELS, SMALL, read_metrics

LATENTS = {  # what encode writes of 40 images; 16 codes fit into a byte
    "ae": {"latents": ((40, 6), np.float32)},
    "vae": {"latents": ((40, 6), np.float32)},
    "vqvae": {"codes": ((40, 4, 4), np.uint8)},
    "vqvae2": {"codes_top": ((40, 4, 4), np.uint8), "codes_bottom": ((40, 8, 8), np.uint8)},
    "dvae": {"codes": ((40, 4, 4), np.uint8)},
}


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def folder_of_pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("model", MODELS)
def test_evaluate_repeats_the_last_held_out_figures(scratch, trained, model):
    folder = trained(model)
    result = scratch("evaluate", folder, "--json")
    printed, last = json.loads(result.out), read_metrics(folder)[-1]
    assert printed["images"] == 40
    figures = {name.removeprefix("held_out_"): v for name, v in last.items() if name.startswith("held_out_")}
    assert printed == printed | figures
    assert "psnr" in scratch("evaluate", folder).out


INSTRUMENTS = {  # what evaluate adds to the figures of training
    "ae": {"no_elbo"},
    "vae": {"rate", "distortion", "elbo", "bits_per_dim", "kl_per_dimension", "active_units"},
    "vqvae": {"rate", "distortion", "elbo", "bits_per_dim"},
    "vqvae2": {"rate", "distortion", "elbo", "bits_per_dim"},
    "dvae": {"rate", "distortion", "elbo", "bits_per_dim", "kl_per_dimension"},
}


@pytest.mark.parametrize("model, likelihood", [("vae", "discretized_logistic"), ("vqvae", "categorical")])
def test_probabilities_of_8_bit_values_are_bits_without_more(scratch, model, likelihood):
    options = [*SMALL, *MODELS[model], "--likelihood", likelihood, "--epochs", 1]
    assert scratch("train", model, *options, "--out", "run").status == 0
    printed = json.loads(scratch("evaluate", "run", "--json").out)
    assert printed["distortion"] == pytest.approx(printed["reconstruction"], rel=1e-6)
    assert printed["bits_per_dim"] == pytest.approx(-printed["elbo"] / (768 * np.log(2)), rel=1e-12)
    assert 4 < printed["bits_per_dim"] < 12
    assert scratch("reconstruct", "run").status == 0


@pytest.mark.parametrize("model", MODELS)
def test_evaluate_adds_what_the_instruments_say(scratch, trained, model):
    folder = trained(model)
    result = scratch("evaluate", folder, "--json")
    printed, last = json.loads(result.out), read_metrics(folder)[-1]
    figures = {name.removeprefix("held_out_") for name in last if name.startswith("held_out_")}
    new = printed.keys() - figures - {"data", "images"}
    assert new == INSTRUMENTS[model] | {"psnr_per_image", "ssim"}
    assert printed["psnr_per_image"] >= printed["psnr"] and -1 <= printed["ssim"] <= 1
    if "elbo" in printed:
        assert printed["elbo"] == pytest.approx(-printed["rate"] - printed["distortion"], rel=1e-12)
        assert printed["distortion"] == pytest.approx(printed["reconstruction"] + 384 * np.log(np.pi), rel=1e-6)
        bits = -printed["elbo"] / (768 * np.log(2)) + np.log2(255)
        assert printed["bits_per_dim"] == pytest.approx(bits, rel=1e-12)
    if model in ("vae", "dvae"):
        assert printed["rate"] == pytest.approx(printed["kl"], rel=1e-5)
        assert sum(printed["kl_per_dimension"]) == pytest.approx(printed["rate"], rel=1e-12)
    text = scratch("evaluate", folder).out
    assert all(name in text for name in new)
    assert Path(folder, "kl_per_dimension.png").exists() == ("kl_per_dimension" in new)


@pytest.mark.parametrize("model", ["vae", "dvae"])
def test_importance_samples(scratch, trained, model):
    """More samples give a tighter bound of log p(x), the batch size does not matter, and the rest stays the same."""
    folder, found = trained(model), []
    for samples, size in ((1, 16), (8, 16), (8, 7)):
        result = scratch("evaluate", folder, "--json", "--importance-samples", samples, "--batch-size", size)
        found.append(json.loads(result.out))
    assert [entry["importance_samples"] for entry in found] == [1, 8, 8]
    one, more, in_other_batches = (entry["importance_weighted_bound"] for entry in found)
    assert one < more == pytest.approx(in_other_batches, rel=1e-6)
    assert found[0]["elbo"] == found[1]["elbo"] == pytest.approx(found[2]["elbo"], rel=1e-6)


def test_the_posteriors_of_all_images_are_those_of_the_rate(trained):
    whole, held_out = Trained(Run.open(trained("vae"))), load("shapes", limit=40, image_size=16).held_out
    mu, logvar = gaussian_posteriors(whole, held_out)
    np.testing.assert_array_equal(mu, whole.encode(held_out))
    kl = rate_distortion(whole, held_out).kl
    np.testing.assert_allclose(0.5 * (mu**2 + np.exp(logvar) - 1 - logvar), kl, rtol=1e-4, atol=1e-6)


def test_evaluate_needs_neither_scikit_image_nor_scipy(scratch, trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "scipy", None)
    printed = json.loads(scratch("evaluate", trained("vae"), "--json").out)
    assert {"ssim", "elbo", "active_units"} <= printed.keys()


@pytest.mark.parametrize("name", ["vae", "dvae"])
def test_evaluation_does_not_depend_on_the_batch_size(trained, name):
    """The noise of an example is fixed by the example, so the loss is the same in batches of any size."""
    model = Trained(Run.open(trained(name))).model
    held_out = load("shapes", limit=40, image_size=16).held_out
    by_16, by_7 = (held_out_metrics(Trainer(model, None, 0), held_out, size, np.float32) for size in (16, 7))
    for metrics in (by_16, by_7):
        metrics.pop("held_out_perplexity", None)  # a batch's own (trap 17)
    assert by_16 == pytest.approx(by_7, rel=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_threads_change_no_digit_of_what_a_run_computes(trained, model):
    """Also where noise is drawn batch by batch. The model goes back to the mode that it was in."""
    whole, held_out = Trained(Run.open(trained(model))), load("shapes", limit=40, image_size=16).held_out
    whole.options["batch_size"], found = 3, []
    for count in (1, 3):
        whole.threads = Threads(count)
        codes = whole.encode(held_out)
        of_rates = rate_distortion(whole, held_out) if whole.model.bottleneck.posterior_kind else None
        found.append([*(codes if isinstance(codes, list) else [codes]), whole.reconstruct(held_out),
                      *([of_rates.kl, of_rates.distortion] if of_rates else [])])
    for one, shared in zip(*found, strict=True):
        np.testing.assert_array_equal(one, shared)
    assert all(part.training for part in whole.model.modules())


@pytest.mark.parametrize("model", MODELS)
def test_pictures_of_a_run(scratch, trained, folder_of_pictures, model):
    folder = Path(trained(model))
    before = picture(folder / "samples.png")
    assert scratch("sample", folder, "--seed", 5).status == 0
    assert (picture(folder / "samples.png") == before).all() and (picture(folder / "samples-2.png") != before).any()
    assert scratch("interpolate", folder, "--between", 3, 4, "--steps", 7, "--out", "way.png").status == 0
    assert picture("way.png").std() > 5
    result = scratch("reconstruct", folder, "--data", f"folder:{folder_of_pictures}")
    assert result.status == 0 and result.out.count("PSNR") == 2, "beside the run's own images"
    assert any("pictures" in path.name for path in folder.glob("reconstructions-*.png"))


def test_runs_are_drawn_beside_each_other(scratch, trained):
    one, two = trained("ae"), trained("vae")
    result = scratch("reconstruct", one, "--beside", two, "--out", "both.png")
    assert result.status == 0 and result.out.count("PSNR") == 2
    assert picture("both.png").shape[0] > picture(f"{one}/reconstructions.png").shape[0]


def test_variations_are_the_vaes(scratch, trained):
    folder = Path(trained("vae"))
    result = scratch("variations", folder, "--index", 0, 7, "--count", 4, "--out", "v.png")
    assert result.status == 0 and picture("v.png").std() > 5
    for model in ("ae", "vqvae"):
        result = scratch("variations", trained(model))
        assert result.status == 2 and "drawn at random" in result.err


@pytest.mark.parametrize("model", MODELS)
def test_encode_and_decode_are_two_halves_of_reconstruct(scratch, trained, model):
    folder = trained(model)
    assert scratch("encode", folder, "--out", "codes.npz").status == 0
    with np.load("codes.npz") as file:
        found = {name: (file[name].shape, file[name].dtype) for name in file.files if name != "about"}
    assert found == LATENTS[model]
    assert scratch("decode", folder, "codes.npz", "--out", "back.npz").status == 0
    with np.load("back.npz") as file:
        images = file["images"]
    whole = Trained(Run.open(folder))
    expected = whole.reconstruct(whole.floats(load("shapes", limit=40, image_size=16).held_out))
    assert images.dtype == np.uint8 and images.shape == (40, 16, 16, 3)
    assert np.abs(images / 255 - expected).max() <= 0.5 / 255 + 1e-6
    assert picture("back.png").std() > 5


@pytest.mark.parametrize("model", MODELS)
def test_a_file_of_codes_says_where_it_comes_from(scratch, trained, model):
    folder = trained(model)
    scratch("encode", folder, "--limit", 4)
    with np.load(f"{folder}/codes.npz") as file:
        about = json.loads(str(file["about"]))
    whole = Trained(Run.open(folder))
    assert about == {
        "format": FORMAT, "model": model, "fingerprint": fingerprint(whole.model), "codes": whole.codes,
        "shapes": {name: list(shape[1:]) for name, (shape, _) in LATENTS[model].items()}, "image_shape": [16, 16, 3]}


def test_a_fingerprint_is_that_of_the_weights(trained):
    one, same, other = (Trained(Run.open(trained_in)).model for trained_in in (trained("ae"),) * 2 + (trained("vae"),))
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)
    same.decoder.layers[-2].bias.value[0] += 1e-6
    assert fingerprint(one) != fingerprint(same)


@pytest.mark.parametrize("model", ["vqvae", "vqvae2"])
def test_bits(scratch, trained, model):
    folder = trained(model)
    found = json.loads(scratch("bits", folder, "--json").out)
    positions = {"vqvae": [16], "vqvae2": [16, 64]}[model]
    assert [level["fixed"] for level in found["levels"].values()] == [4 * count for count in positions]
    assert found["fixed"] == 4 * sum(positions)
    assert found["entropy"] == pytest.approx(sum(level["entropy"] for level in found["levels"].values()))
    assert found["psnr"] == pytest.approx(read_metrics(folder)[-1]["held_out_psnr"], abs=1e-4)
    text = scratch("bits", folder).out
    assert f"quality {found['jpeg']['quality']}" in text and "PNG" in text and ("top" in text) == (model == "vqvae2")


def test_a_vae_samples_without_any_data(scratch, trained):
    folder = trained("vae")
    config = json.loads(Path(folder, "config.json").read_text())
    config["options"]["data"] = "folder:gone"
    Path(folder, "config.json").write_text(json.dumps(config))
    assert scratch("sample", folder, "--out", "s.png").status == 0 and picture("s.png").std() > 5
    assert scratch("interpolate", folder).status == 2


def test_encode_takes_the_training_images_too(scratch, trained):
    folder = trained("ae")
    scratch("encode", folder, "--split", "train", "--limit", 5)
    with np.load(f"{folder}/codes.npz") as file:
        assert file["latents"].shape == (5, 6)


def test_gradcheck_prints_a_table_and_json(scratch):
    result = scratch("gradcheck", "Linear", "GaussianKL")
    assert result.status == 0 and "Linear" in result.out and "GaussianKL" in result.out and "Conv2d" not in result.out
    rows = json.loads(scratch("gradcheck", "Linear", "--json").out)
    assert rows and "Linear" in json.dumps(rows)


def test_gradcheck_fails_when_a_backward_is_wrong(scratch, monkeypatch):
    from scratch.layers import Tanh

    monkeypatch.setattr(Tanh, "backward", lambda self, dy: dy * (1 - self.recall()[0]))
    assert scratch("gradcheck", "Tanh").status == 1
