"""The commands at their edges: few or constant images, runs that diverged or are perfect, places and names of any kind.

A warning is an error in this suite, so each command here also runs without one.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from scratch.runs.descriptions import FILES
from tests.cli.test_errors import assert_one_sentence, fake_cupy
from tests.support.command_line import MODELS, SMALL

MEASURES = ["evaluate", "probe", "retrieve", "bits", "pca", "mig", "downstream", "anomaly"]
AGAINST = {"anomaly": ["--against", "shapes:plus"]}
DRAWING = ["reconstruct", "sample", "variations", "interpolate", "traverse", "corners", "aggregate", "retrieve", "pca",
           "mig", "anomaly"]


def refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")


def strict_json(text):
    return json.loads(text, parse_constant=refuse_constant)


def answered(result, as_json=False):
    """A command's result: numbers as valid JSON, or one sentence. Nothing on the error stream beside that."""
    if result.status == 2:
        assert_one_sentence(result)
    else:
        assert result.status == 0 and result.err == "", result.err
        if as_json:
            strict_json(result.out)
    return result


def scale_weights(folder, factor):
    path = Path(folder, "checkpoint.safetensors")
    save_file({name: (value * value.dtype.type(factor) if value.dtype.kind == "f" else value)
               for name, value in load_file(path).items()}, path)


def grey_pictures(folder, *greys):
    """30 pictures in turn of these greys."""
    Path(folder).mkdir()
    for number in range(30):
        Image.new("RGB", (16, 16), (greys[number % len(greys)],) * 3).save(f"{folder}/{number}.png")
    return f"folder:{folder}"


# --- few images, images that are the same -----------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("model", ["ae", "vae", "vqvae", "dvae"])
def test_every_measure_on_few_images(scratch, trained, model, limit):
    folder = trained(model)
    for command in MEASURES:
        answered(scratch(command, folder, *AGAINST.get(command, []), "--limit", limit, "--json"), as_json=True)
    assert scratch("evaluate", folder, "--limit", limit).status == 0


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("model", ["ae", "vae", "vqvae"])
def test_every_picture_of_few_images(scratch, trained, model, limit):
    folder = trained(model)
    for command in DRAWING:
        answered(scratch(command, folder, *AGAINST.get(command, []), "--limit", limit))


@pytest.mark.parametrize("greys", [(77,), (10, 200)], ids=["constant", "two"])
@pytest.mark.parametrize("model", ["vae", "vqvae"])
def test_constant_images(scratch, trained, model, greys):
    folder, data = trained(model), grey_pictures("grey", *greys)
    for command in MEASURES:
        for more in ([], ["--json"]):
            answered(scratch(command, folder, *AGAINST.get(command, []), "--data", data, *more), as_json=bool(more))
    for command in ("reconstruct", "sample", "aggregate"):
        answered(scratch(command, folder, "--data", data))


def test_pca_of_constant_images_is_a_sentence(scratch, trained):
    folder, data = trained("ae"), grey_pictures("grey", 77)
    for more in ([], ["--json"]):
        assert_one_sentence(scratch("pca", folder, "--data", data, *more), "all of them are the same")


def test_a_probe_of_three_images_is_a_sentence(scratch, trained):
    assert_one_sentence(scratch("probe", trained("ae"), "--limit", 3), "at least 5 training images", "has 3")
    assert_one_sentence(scratch("retrieve", trained("vae"), "--limit", 3), "at least 8 training images", "has 3")


def test_images_of_one_class(scratch, trained):
    for command in ("probe", "retrieve", "downstream"):
        result = scratch(command, trained("ae" if command == "probe" else "vae" if command == "retrieve" else "vqvae"),
                         "--data", "shapes:plus", "--limit", 20)
        assert_one_sentence(result, "shapes:plus have no labels to tell apart")


# --- runs that diverged, and perfect ones -----------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["ae", "vae", "vqvae", "dvae"])
def test_a_run_that_diverged_is_one_sentence(scratch, trained, model):
    folder = trained(model)
    scale_weights(folder, 1e30)
    for command in ("evaluate", "reconstruct", "encode", "interpolate", "anomaly", "retrieve"):
        result = scratch(command, folder, *AGAINST.get(command, []), "--limit", 20)
        assert_one_sentence(result, f"{folder} has diverged", "smaller learning rate")


@pytest.mark.parametrize("workers", [1, 2])
def test_training_that_diverges_prints_no_warning(scratch, workers):
    result = scratch("train", "vae", *SMALL, *MODELS["vae"], "--lr", 1e30, "--workers", workers, "--batch-size", 32,
                     "--epochs", 2, "--out", "run")
    assert result.status == 1 and result.err.startswith("stopped: ") and result.err.count("\n") == 1


@pytest.mark.parametrize("model", ["ae", "vqvae"])
def test_perfect_reconstructions_are_null_in_json_and_inf_in_words(scratch, trained, model):
    """A model whose last layer makes black images of all images, on black images."""
    folder, data = trained(model), grey_pictures("black", 0)
    scale_weights(folder, 0)
    path = Path(folder, "checkpoint.safetensors")
    weights = load_file(path)
    last = max((name for name in weights if name.startswith("decoder.") and name.endswith(".bias")),
               key=lambda name: int(name.split(".")[1]))
    save_file({**weights, last: weights[last] - 1000}, path)
    found = strict_json(scratch("evaluate", folder, "--data", data, "--json").out)
    assert found["psnr"] is None and found["psnr_per_image"] is None and found["reconstruction"] == 0
    assert "inf" in scratch("evaluate", folder, "--data", data).out
    assert "PSNR inf dB" in scratch("reconstruct", folder, "--data", data).out
    if model == "vqvae":
        found = strict_json(scratch("bits", folder, "--data", data, "--json").out)
        assert found["psnr"] is None and found["mse"] == 0 and "inf dB" in scratch("bits", folder, "--data", data).out


def test_a_sweep_s_file_is_json_where_a_run_is_perfect(scratch, monkeypatch):
    from scratch.commands import sweep

    measured = sweep.measure_all
    monkeypatch.setattr(sweep, "measure_all", lambda *given: {**measured(*given), "psnr": np.inf})
    argv = ["sweep", "ae", *SMALL, "--epochs", 1, "--over", "latent_dim=2,4", "--out", "s"]
    for _ in ("measured", "read again"):
        assert scratch(*argv).status == 0
        runs = strict_json(Path("s/sweep.json").read_text())["runs"]
        assert [run["psnr"] for run in runs] == [None, None]
        strict_json(Path("s/latent_dim=2/evaluation.json").read_text())


def test_a_run_that_diverged_is_left_out_of_a_sweep(scratch, monkeypatch):
    from scratch.commands import sweep

    train = sweep.train

    def overflowing(planned, download):
        train(planned, download)
        if planned.options["latent_dim"] == 4:
            scale_weights(planned.folder, 1e30)

    monkeypatch.setattr(sweep, "train", overflowing)
    result = scratch("sweep", "ae", *SMALL, "--epochs", 1, "--over", "latent_dim=2,4", "--out", "s")
    assert result.status == 1 and "latent_dim=4: s/latent_dim=4 has diverged" in result.out
    assert [run["name"] for run in strict_json(Path("s/sweep.json").read_text())["runs"]] == ["latent_dim=2"]


# --- where commands write ---------------------------------------------------------------------------------------------

WRITING = [*DRAWING, "encode", "decode"]


def snapshot(*folders):
    return {path: path.read_bytes() for folder in folders for path in sorted(Path(folder).rglob("*")) if path.is_file()}


@pytest.fixture
def write(scratch, trained):
    """write(command, out) -> what the command answers where it is to write there."""
    folder = trained("vae")
    assert scratch("encode", folder, "--out", "latents.npz").status == 0

    def call(command, out, *more):
        words = ["decode", folder, "latents.npz"] if command == "decode" else [command, folder, *more]
        return scratch(*words, *AGAINST.get(command, []), "--out", out)

    call.folder = folder
    return call


@pytest.mark.parametrize("command", WRITING)
def test_a_place_that_cannot_be_written_is_a_sentence_and_nothing_is_lost(write, trained, command):
    Path("directory.npz").mkdir()
    Path("file").write_text("")
    Path("link").symlink_to(f"{write.folder}/config.json")
    other = trained("ae")
    before = snapshot(".")
    for out in ("directory.npz", "file/x.npz", "no/such/x.npz", "", "x" * 300, "link",
                *(f"{write.folder}/{name}" for name in FILES), f"{other}/checkpoint.safetensors", f"{other}/.lock"):
        assert_one_sentence(write(command, out), "choose another")
    assert snapshot(".") == before


def test_a_read_only_folder_is_a_sentence(write, monkeypatch):
    opened = os.open

    def refused(path, flags, *more):
        if flags & os.O_CREAT and str(path).endswith(".tmp"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, flags, *more)

    monkeypatch.setattr(os, "open", refused)
    for command in ("sample", "encode"):
        assert_one_sentence(write(command, "x.npz"), "x.npz cannot be written", "choose another folder")
    assert not Path("x.npz").exists()


def test_the_file_of_another_run_that_is_drawn_too(scratch, trained):
    one, other = trained("ae"), trained("vae")
    for argv in (["reconstruct", one, "--beside", other], ["pca", one, other], ["curves", one, other]):
        for name in ("checkpoint.safetensors", "metrics.jsonl"):
            assert_one_sentence(scratch(*argv, "--out", f"{other}/{name}"), name, "choose another name")


def test_no_command_writes_over_the_images_or_the_codes_that_it_reads(scratch, write):
    data = grey_pictures("grey", 3, 9)
    before = snapshot("grey")
    for out in ("grey/1.png", "./grey/../grey/2.png"):
        assert_one_sentence(write("reconstruct", out, "--data", data), "folder of the images that the command reads")
    assert_one_sentence(write("decode", "latents.npz"), "over the file that it reads")
    assert snapshot("grey") == before
    shutil.copy("latents.npz", "latents.png")
    result = scratch("decode", write.folder, "latents.png", "--out", "latents.npz")
    assert_one_sentence(result, "latents.png over the file that it reads")


def test_both_files_of_decode_and_of_aggregate_are_possible_or_neither_is_written(scratch, write):
    Path("two.png").mkdir()
    assert_one_sentence(write("decode", "two.npz"), "two.png cannot be written")
    assert not Path("two.npz").exists()
    assert scratch("train", "vae", *SMALL, "--latent-dim", 2, "--epochs", 1, "--out", "two").status == 0
    Path("two/code_grid.png").mkdir()
    assert_one_sentence(scratch("aggregate", "two"), "code_grid.png cannot be written")
    assert not Path("two/aggregate.png").exists()


# --- names ------------------------------------------------------------------------------------------------------------


def test_names_are_printed_with_control_characters_escaped(scratch, trained):
    """In what a command prints and in its errors."""
    shutil.move(trained("vae"), "v\x1b[31m\nae")
    folder, other, escaped = "v\x1b[31m\nae", trained("ae"), r"v\x1b[31m\nae"
    data = grey_pictures("g\x07rey", 5, 9)
    for argv in (["evaluate", folder], ["reconstruct", folder], ["sample", folder], ["probe", folder],
                 ["encode", folder], ["mig", folder], ["downstream", folder, other],
                 ["curves", folder, "--out", "c\x07"],
                 ["evaluate", folder, "--data", data], ["probe", folder, "--data", data], ["mig", other],
                 ["anomaly", folder, "--against", data], ["bits", folder], ["decode", folder, f"{folder}/codes.npz"],
                 ["sample", folder, "--out", f"{folder}/config.json"], ["traverse", folder, "--index", 99],
                 ["aggregate", folder, "--colour", "a\x07b"], ["arithmetic", folder, "--factor", "a\x07b", "--from", 1,
                                                               "--to", 2]):
        result = scratch(*argv)
        assert result.status in (0, 2), result.err
        assert all(line.isprintable() for text in (result.out, result.err) for line in text.split("\n")), argv
    assert escaped in scratch("evaluate", folder).out and r"g\x07rey" in scratch("evaluate", folder, "--data", data).out


def test_a_long_name_of_data_makes_a_name_that_a_file_may_have(scratch, trained):
    data = grey_pictures("g" * 250, 5, 9)
    folder = trained("vae")
    assert scratch("evaluate", folder, "--data", data).status == 0
    assert scratch("reconstruct", folder, "--data", data).status == 0
    assert all(len(name) < 100 for name in os.listdir(folder))


# --- devices and batches ----------------------------------------------------------------------------------------------


def test_a_device_that_is_not_there(scratch, trained, monkeypatch):
    folder = trained("vae")
    commands = [*MEASURES, *DRAWING, "encode"]
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(1))
    for command in commands:
        result = scratch(command, folder, *AGAINST.get(command, []), "--device", "gpu:7")
        assert_one_sentence(result, "--device gpu:7: this machine has 1 GPU(s)")
    monkeypatch.setitem(sys.modules, "cupy", None)
    for device, part in (("gpu", "CuPy"), ("tpu", "gpu:N"), ("gpu:x", "gpu:N"), ("", "gpu:N")):
        assert_one_sentence(scratch("evaluate", folder, "--device", device), "--device", part)


def test_a_run_of_a_device_that_is_not_there_is_measured_on_another(scratch, trained, monkeypatch):
    folder = trained("ae")
    expected = scratch("evaluate", folder, "--json").out
    config = json.loads(Path(folder, "config.json").read_text())
    config["options"]["device"] = "gpu:3"
    Path(folder, "config.json").write_text(json.dumps(config))
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert scratch("evaluate", folder, "--json").out == expected
    assert scratch("reconstruct", folder).status == 0


@pytest.mark.parametrize("model", ["vae", "vqvae"])
def test_batches_that_are_larger_than_the_data(scratch, trained, model):
    folder = trained(model)
    for command in MEASURES:
        small, large = (answered(scratch(command, folder, *AGAINST.get(command, []), "--limit", 40, "--json",
                                         "--batch-size", size)) for size in (40, 10**6))
        assert small.out == large.out and small.err == large.err
    assert_one_sentence(scratch("evaluate", folder, "--batch-size", 10**30), "--batch-size")


@pytest.mark.parametrize("model", ["vae", "vqvae", "dvae"])
def test_measures_and_pictures_on_a_gpu(scratch, trained, cupy, model):
    """Every instrument's way to the device and back; a run that diverged is found there too."""
    folder = trained(model)
    for command in ("evaluate", "retrieve", "anomaly", "interpolate", "encode", "sample"):
        result = scratch(command, folder, *AGAINST.get(command, []), "--limit", 20, "--device", "gpu")
        assert result.status == 0, result.err
    assert scratch("variations", folder, "--device", "gpu").status == (2 if model == "vqvae" else 0)
    scale_weights(folder, 1e30)
    for command in ("encode", "interpolate"):
        assert_one_sentence(scratch(command, folder, "--device", "gpu"), "has diverged")
