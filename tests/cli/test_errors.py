"""Bad input: one clear sentence, exit status 2, nothing lost, no traceback."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from tests.support.command_line import MODELS, SMALL


def assert_one_sentence(result, *parts):
    assert result.status == 2, result.out + result.err
    assert result.err.startswith("error: ") and result.err.count("\n") == 1 and "Traceback" not in result.err
    for part in parts:
        assert str(part) in result.err, result.err


@pytest.mark.parametrize("argv, parts", [
    ("fly", ["fly"]),
    ("train", ["needs a model", "--resume"]),
    ("train gan", ["'gan'", "vqvae"]),
    ("train ae --preset huge", ["'huge'", "article"]),
    ("train ae --data imagenet", ["'imagenet'", "cifar10"]),
    ("train ae --beta 2", ["--beta is an option of vae; ae has no such option."]),
    ("train ae --momentum 0.5", [
        "--momentum counts only with optimizer sgd, and optimizer is adam: leave one of them out."]),
    ("train ae --preset published", ["--preset published has no recipe for ae: choose small, article or mlp."]),
    ("train ae --steps 9 --epochs 1", ["steps and epochs both say when training ends: leave one of them out."]),
    ("train ae --steps 0", ["--steps", "'0'"]),
    ("train ae --log-steps 0", ["--log-steps", "'0'"]),
    ("train ae --network resnet", ["--network", "'resnet'", "residual"]),
    ("train ae --hidden 8", [
        "--hidden counts only with network residual, and network is convolution: leave one of them out."]),
    ("train vqvae --network residual --channels 8,8", [
        "--channels counts only with network convolution or pooling, and network is residual: leave one of them out."]),
    ("train ae --widths 400", [
        "--widths counts only with network mlp, and network is convolution: leave one of them out."]),
    ("train ae --network mlp --widths 400,0", ["--widths", "'0'"]),
    ("train ae --network mlp --norm batch", [
        "--norm counts only with network convolution, pooling or residual, and network is mlp: leave one of "
        "them out."]),
    ("train ae --norm layer", ["--norm", "'layer'", "group"]),
    ("train vqvae2 --network mlp", [
        "--network mlp gives a vector of features, but vqvae2 needs a grid of them: choose another network."]),
    ("train dvae --network mlp", [
        "--network mlp gives a vector of features, but dvae needs a grid of them: choose another network."]),
    ("train vqvae --preset mlp", ["--preset mlp has no recipe for vqvae: choose small, article or published."]),
    ("train vae --network pooling --image-size 15 --limit 8", ["15×15", "even"]),
    ("train vqvae --network residual --image-size 18 --limit 8", [
        "images of 18×18 cannot be halved 2 times: 4 has to divide both sides. Choose another image size."]),
    ("train vqvae --data-variance 0", ["--data-variance expected a number > 0, got '0'."]),
    ("train ae --data-variance 1", ["--data-variance is an option of vqvae and vqvae2; ae has no such option."]),
    ("train vae --sparsity 1", ["--sparsity is an option of ae; vae has no such option."]),
    ("train ae --sparsity -1", ["--sparsity expected a number ≥ 0, got '-1'."]),
    ("train ae --sparsity linear:0:-1:9", ["--sparsity expected a number ≥ 0, got -1.0."]),
    ("train ae --corruption masking:1", ["--corruption", "'masking:1'", "salt_and_pepper:P"]),
    ("train ae --corruption blur:1", ["--corruption", "'blur:1'", "gaussian:SIGMA"]),
    ("train vqvae --network linear", [
        "--network linear gives a vector of features, but vqvae needs a grid of them: choose another network."]),
    ("train ae --network linear --likelihood logit_laplace", ["--network linear", "logit_laplace"]),
    ("train vae --network linear --likelihood discretized_logistic", ["--network linear", "needs 2"]),
    ("train ae --network linear --likelihood categorical", ["--network linear", "categorical needs 256"]),
    ("train vqvae --preset published --likelihood categorical", ["--data-variance", "0.0632869", "in nats", "to 1"]),
    ("train ae --network linear --channels 4,8", [
        "--channels counts only with network convolution or pooling, and network is linear: leave one of them out."]),
    ("train ae --optimizer sgd --weight-decay 1", ["--weight-decay", "adam"]),
    ("train vae --codes 9", ["--codes is an option of dvae, vqvae, vqvae2 and prior; vae has no such option."]),
    ("train dvae --beta 1", ["--beta is an option of vae; dvae has no such option."]),
    ("train vae --beta linear:0:-1:9", ["--beta expected a number ≥ 0, got -1.0."]),
    ("train vae --beta cyclical:0:1:1", ["--beta expected a schedule whose steps are an integer ≥ 2"]),
    ("train vae --free-bits -1", ["--free-bits expected a number ≥ 0, got '-1'."]),
    ("train ae --free-bits 1", ["--free-bits is an option of vae; ae has no such option."]),
    ("train vqvae --capacity 1", ["--capacity is an option of vae; vqvae has no such option."]),
    ("train vae --capacity linear:0:x:9", ["--capacity", "expected a number or a schedule"]),
    ("train vae --free-bits 0.1 --capacity 0", ["capacity and --free-bits exclude each other: leave one of them out."]),
    ("train dvae --commitment 1", ["--commitment is an option of vqvae and vqvae2; dvae has no such option."]),
    ("train dvae --weight-init uniform", [
        "--weight-init is an option of ae, vae, vqvae and vqvae2; dvae has no such option."]),
    ("train vqvae --hard", ["--hard is an option of dvae; vqvae has no such option."]),
    ("train dvae --temperature 0", ["--temperature expected a number > 0, got '0'."]),
    ("train dvae --temperature linear:1:0:9", ["--temperature expected a number > 0, got 0.0."]),
    ("train dvae --temperature exponential:1:0:9", ["--temperature", "positive"]),
    ("train dvae --kl-weight -1", ["--kl-weight expected a number ≥ 0, got '-1'."]),
    ("train dvae --kl-weight linear:0:-1:9", ["--kl-weight expected a number ≥ 0, got -1.0."]),
    ("train ae --likelihood laplace", ["--likelihood", "logit_laplace"]),
    ("train ae --epochs 0", ["--epochs", "'0'"]),
    ("train ae --batch-size x", ["--batch-size", "'x'"]),
    ("train ae --lr nan", ["--lr", "'nan'"]),
    ("train ae --lr 0", ["--lr expected a number > 0, got '0'."]),
    ("train ae --lr cosine:1:0", ["--lr", "expected a number or a schedule", "'cosine:1:0'"]),
    ("train ae --lr linear:1:-1:9", ["--lr expected a number ≥ 0, got -1.0."]),
    ("train ae --seed -1", ["--seed"]),
    ("train ae --limit 0", ["--limit"]),
    ("train ae --image-size 15 --limit 8", ["15×15", "even"]),
    ("train vqvae2 --image-size 14 --limit 8", ["14×14", "at least 2 times"]),
    ("train ae --device tpu --limit 8", ["'tpu'", "gpu:N"]),
    ("train ae --workers 0", ["--workers", "'0'"]),
    ("train ae --workers 2 --plain --limit 8", [
        "--workers 2 means threads that share a batch on the CPU, which is not possible with the plain forms: "
        "leave one of them out."]),
    ("train ae --data cifar10 --data-root nowhere", ["nowhere", "--download"]),
    ("train ae --data folder:nowhere", ["nowhere"]),
    ("train ae --restart-after 5", ["--restart-after is an option of vqvae and vqvae2; ae has no such option."]),
    ("train vqvae --ema-decay 0.9", [
        "--ema-decay counts only with --codebook-update ema, and --codebook-update is gradient: leave one of "
        "them out."]),
    ("train vqvae --codebook-update ema --ema-decay 1", ["--ema-decay expected a number > 0 and < 1, got '1'."]),
    ("train vqvae --entropy-temperature 1", [
        "--entropy-temperature counts only with an --entropy-weight above 0: give both, or neither."]),
    ("train vqvae --codebook-init best", ["--codebook-init", "kmeans"]),
    ("train vqvae --straight-through reversed --code-metric cosine", ["reversed", "leave out --code-metric"]),
    ("train vqvae --straight-through reversed --codebook-init kmeans", ["leave out --codebook-init"]),
    ("curves nowhere --out x.png", ["nowhere", "config.json"]),
    ("curves nowhere", ["--out"]),
    ("train --resume nowhere", ["nowhere"]),
    ("evaluate nowhere", ["nowhere", "config.json"]),
    ("evaluate nowhere --importance-samples 0", ["--importance-samples", "'0'"]),
    ("decode nowhere codes.npz", ["nowhere"]),
    ("gradcheck Nothing", ["Nothing", "Linear"]),
])
def test_arguments(scratch, argv, parts):
    assert_one_sentence(scratch(*argv.split()), *parts)
    assert not list(Path().glob("runs/*"))


@pytest.mark.parametrize("model", ["ae", "vqvae"])
def test_importance_samples_of_a_code_that_is_not_random(scratch, trained, model):
    result = scratch("evaluate", trained(model), "--importance-samples", 5)
    assert_one_sentence(result, "importance samples", f"that of a {model} is not drawn", "vae or dvae")


def test_no_pictures_or_unreadable_ones(scratch):
    Path("empty").mkdir()
    assert_one_sentence(scratch("train", "ae", "--data", "folder:empty"), "empty")
    Path("broken").mkdir()
    for name in "abc":
        Image.new("RGB", (8, 8)).save(f"broken/{name}.png")
    Path("broken/b.png").write_bytes(b"no picture at all")
    assert_one_sentence(scratch("train", "ae", "--data", "folder:broken"), "b.png")
    Image.new("RGB", (8, 8)).save("broken/d.png")
    result = scratch("train", "ae", *SMALL, "--data", "folder:broken", "--image-size", 8, "--skip-unreadable",
                     "--epochs", 6, "--out", "run")
    assert result.status == 0, result.err
    assert "Passed over 1 picture(s):" in result.out and "b.png' cannot be read" in result.out
    assert "ae with" in result.out and "2 training and 1 held-out images" in result.out
    for command in ("train --resume run --steps 3", "evaluate run"):
        assert scratch(*command.split()).status == 0


def test_cupy_missing(scratch, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert_one_sentence(scratch("train", "ae", *SMALL, "--device", "gpu"), "CuPy", "pip install")


def fake_cupy(count):
    """The part of CuPy that is called before a device is used."""
    class CUDARuntimeError(RuntimeError):
        pass

    def device_count():
        if count is None:
            raise CUDARuntimeError("cudaErrorInsufficientDriver")
        return count

    runtime = SimpleNamespace(CUDARuntimeError=CUDARuntimeError, getDeviceCount=device_count)
    return SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))


def test_no_driver_or_no_such_gpu(scratch, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(None))
    assert_one_sentence(scratch("train", "ae", *SMALL, "--device", "gpu"), "no usable NVIDIA GPU", "use cpu")
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(1))
    assert_one_sentence(scratch("train", "ae", *SMALL, "--device", "gpu:3"), "gpu:3", "1 GPU")


def test_a_run_is_never_overwritten(scratch, trained):
    folder = trained("ae")
    before = Path(folder, "checkpoint.safetensors").read_bytes()
    assert_one_sentence(scratch("train", "ae", *SMALL, *MODELS["ae"], "--out", folder), "holds a run", "--resume")
    assert Path(folder, "checkpoint.safetensors").read_bytes() == before


def test_a_place_that_cannot_be_written(scratch, trained):
    Path("file").write_text("")
    assert_one_sentence(scratch("train", "ae", *SMALL, *MODELS["ae"], "--out", "file/run"), "file/run")
    assert_one_sentence(scratch("sample", trained("ae"), "--out", "no/such/folder.png"), "no/such")


def test_a_resumed_run_keeps_its_options(scratch, trained):
    folder = trained("ae")
    assert_one_sentence(scratch("train", "--resume", folder, "--lr", 1), "--lr")
    assert_one_sentence(scratch("train", "vae", "--resume", folder), "a model")
    assert_one_sentence(scratch("train", "--resume", folder, "--out", "x"), "--out")
    assert "done" in scratch("train", "--resume", folder).out


def test_damaged_files(scratch, trained):
    folder = Path(trained("ae"))
    for name, command in (("checkpoint.safetensors", ["evaluate", folder]),
                          ("resume.safetensors", ["train", "--resume", folder])):
        whole = (folder / name).read_bytes()
        for damaged in (whole[:-7], b"", b"\x00" * 100, whole[:40]):
            (folder / name).write_bytes(damaged)
            assert_one_sentence(scratch(*command), name)
        (folder / name).unlink()
        assert_one_sentence(scratch(*command), name)
        (folder / name).write_bytes(whole)
    config = json.loads((folder / "config.json").read_text())
    del config["options"]["latent_dim"]
    (folder / "config.json").write_text(json.dumps(config))
    assert_one_sentence(scratch("evaluate", folder), "config.json: options.latent_dim is missing")
    for content in ("{", "{}", "[]", '{"options": 3}'):
        (folder / "config.json").write_text(content)
        assert_one_sentence(scratch("evaluate", folder), "config.json")


def test_foreign_checkpoints(scratch, trained):
    folder, other = Path(trained("ae")), Path(trained("vae"))
    weights = (other / "checkpoint.safetensors").read_bytes()
    (folder / "checkpoint.safetensors").write_bytes(weights)
    assert_one_sentence(scratch("evaluate", folder), "does not fit the ae", "bottleneck")
    (folder / "resume.safetensors").write_bytes(weights)
    assert_one_sentence(scratch("train", "--resume", folder), "was not written by train")
    state = load_file(other / "checkpoint.safetensors")
    save_file({**state, "encoder.0.weight": state["encoder.0.weight"][:, :, :2]}, other / "checkpoint.safetensors")
    assert_one_sentence(scratch("evaluate", other), "encoder.0.weight", "(4, 3, 2, 4)", "(4, 3, 4, 4)")


def test_images_of_another_shape(scratch, trained, monkeypatch):
    from data_utils import Data
    from scratch.models import system

    grey = np.zeros((4, 16, 16, 1), np.uint8)
    folder = trained("ae")
    monkeypatch.setattr(system, "load", lambda name, **_: Data(name, grey, grey, {}, {}))
    assert_one_sentence(scratch("reconstruct", folder, "--data", "mnist"), "16×16×3", "16×16×1")
    assert_one_sentence(scratch("train", "--resume", folder, "--epochs", 3), "the data has changed")


def test_codes_that_do_not_belong(scratch, trained):
    ae, vqvae = trained("ae"), trained("vqvae")
    Path("text.npz").write_text("no archive")
    np.savez("bare.npz", codes=np.zeros((1, 4, 4), np.uint8))
    assert_one_sentence(scratch("decode", ae, "missing.npz"), "missing.npz")
    assert_one_sentence(scratch("decode", ae, "text.npz"), "text.npz")
    assert_one_sentence(scratch("decode", vqvae, "bare.npz"), "bare.npz", "give decode what encode wrote")

    about = {}
    for folder in (ae, vqvae):
        scratch("encode", folder)
        with np.load(f"{folder}/codes.npz") as file:
            about[folder] = file["about"]
    later = str(about[vqvae]).replace("codes 1", "codes 2")
    np.savez("later.npz", codes=np.zeros((1, 4, 4), np.uint8), about=np.array(later))
    np.savez("wrong.npz", latents=np.zeros((3, 5), np.float32), about=about[ae])
    np.savez("large.npz", codes=np.full((1, 4, 4), 16, np.uint8), about=about[vqvae])
    np.savez("float.npz", codes=np.zeros((1, 4, 4)), about=about[vqvae])
    assert_one_sentence(scratch("decode", vqvae, "later.npz"), "later.npz", "codes 1")
    assert_one_sentence(scratch("decode", ae, "wrong.npz"), "(3, 5)", "(N, 6)")
    assert_one_sentence(scratch("decode", vqvae, "large.npz"), "16", "0 to 15")
    assert_one_sentence(scratch("decode", vqvae, "float.npz"), "float64", "uint8")


def test_codes_of_another_model_are_refused_and_both_are_named(scratch, trained):
    """Codes of another system are refused, and codes of the same system trained otherwise, which have the same shapes.
    """
    vqvae, vqvae2 = trained("vqvae"), trained("vqvae2")
    options = [*SMALL, *MODELS["vqvae"], "--epochs", 1, "--seed", 1]
    assert scratch("train", "vqvae", *options, "--out", "other").status == 0
    names = {}
    for folder in (vqvae, vqvae2, "other"):
        scratch("encode", folder)
        with np.load(f"{folder}/codes.npz") as file:
            about = json.loads(str(file["about"]))
        names[folder] = f"the {about['model']} {about['fingerprint'][:12]}"
    assert len(set(names.values())) == 3
    for folder in (vqvae2, "other"):
        refusal = scratch("decode", vqvae, f"{folder}/codes.npz", "--out", "back.npz")
        assert_one_sentence(refusal, names[folder], names[vqvae])
    assert not Path("back.npz").exists()


def test_bits_of_what_has_no_codes(scratch, trained):
    assert_one_sentence(scratch("bits", trained("vae")), "vae", "codebook")


def test_indices_beyond_the_images(scratch, trained):
    folder = trained("vae")
    assert_one_sentence(scratch("variations", folder, "--index", 40), "40")
    assert_one_sentence(scratch("interpolate", folder, "--between", 0, 99), "99")
