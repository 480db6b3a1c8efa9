"""The library: scratch.build, scratch.train and scratch.load on arrays of one's own."""

import json
import os
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import scratch
from data_utils import load, shapes, to_float
from scratch.__main__ import build_parser
from scratch.options.errors import InputError
from scratch.training.progress import Diverged
from scratch.training.trainer import Trainer
from tests.support.command_line import caller
from tests.support.terminal import environment, in_a_terminal

ROOT = Path(__file__).parents[2]
IMAGES = shapes(40, size=16)[0]  # uint8 (40, 16, 16, 3)
SIZES = {
    "ae": dict(latent_dim=6),
    "vae": dict(latent_dim=6),
    "vqvae": dict(codes=16, code_dim=8),
    "vqvae2": dict(codes=16, code_dim=8),
    "dvae": dict(codes=16, code_dim=8),
}
SYSTEMS = list(SIZES)


def options(model, **more):
    return {"channels": [4, 8], "batch_size": 16, "epochs": 1, "progress": False, **SIZES[model], **more}


def train(model, images=IMAGES, **more):
    return scratch.train(model, images, **options(model, **more))


def build(model, **more):
    return scratch.build(model, (16, 16, 3), **{"channels": [4, 8], "seed": 0, **SIZES[model], **more})


def go_on(model, images=IMAGES, **more):
    """Train a model that is built already."""
    return scratch.train(model, images, **{"batch_size": 16, "epochs": 1, "progress": False, **more})


def assert_same_weights(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert np.array_equal(value, other[name]), name


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# --- what a run can do ------------------------------------------------------------------------------------------------


def test_the_ten_lines_of_the_readme_run_as_they_stand(capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    (block,) = [block for block in blocks if "scratch.train(" in block]
    assert len([line for line in block.splitlines() if line]) <= 10
    names = {}
    exec(block, names)
    assert names["codes"].shape == (500, 4, 4) and names["codes"].dtype == np.int64
    assert names["reconstructed"].shape == names["images"].shape and names["reconstructed"].dtype == np.float32
    assert np.array_equal(names["again"], names["run"].reconstruct(names["images"][:10]))
    assert len(capsys.readouterr().out.splitlines()) == 4  # a line an epoch, and what is printed
    assert Path("runs/mine/checkpoint.safetensors").exists()


@pytest.mark.parametrize("model", SYSTEMS)
def test_a_run_reconstructs_encodes_decodes_samples_and_evaluates(model):
    run = train(model, epochs=2)
    reconstructed = run.reconstruct(IMAGES)
    assert reconstructed.shape == IMAGES.shape and reconstructed.dtype == np.float32
    assert reconstructed.min() >= 0 and reconstructed.max() <= 1
    assert np.array_equal(run.decode(run.encode(IMAGES)), reconstructed)
    assert run.sample(3).shape == (3, 16, 16, 3)
    assert np.array_equal(run.sample(3, seed=1), run.sample(3, seed=1))
    assert not np.array_equal(run.sample(3, seed=1), run.sample(3, seed=2))
    figures = run.evaluate(IMAGES)
    error = ((reconstructed - to_float(IMAGES, np.float32)) ** 2).mean()
    assert figures["held_out_psnr"] == pytest.approx(-10 * np.log10(error), rel=1e-5)
    assert [entry["epoch"] for entry in run.metrics()] == [1, 2]
    assert run.metrics()[1]["loss"] < run.metrics()[0]["loss"]


def test_without_out_nothing_is_written():
    run = train("vqvae")
    run.sample(2)
    run.evaluate(IMAGES)
    assert os.listdir() == []


def test_grey_images_need_no_axis_for_their_channel():
    grey = IMAGES[..., 0]
    run = scratch.train("ae", grey, channels=[4, 8], latent_dim=6, epochs=1, progress=False)
    assert run.reconstruct(grey).shape == (40, 16, 16, 1)
    assert np.array_equal(run.reconstruct(grey), run.reconstruct(grey[..., None]))
    assert run.evaluate(grey) == run.evaluate(grey[..., None])


def test_images_that_are_not_square():
    wide = IMAGES[:, :8]
    assert train("vqvae", wide).reconstruct(wide).shape == wide.shape


# --- images of every type ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", ["float32", "float64"])
def test_floats_are_brought_to_the_precision_of_the_run(given, dtype):
    images = to_float(IMAGES, np.dtype(given))
    before = images.copy()
    run = train("vae", images, dtype=dtype)
    assert {value.dtype.name for value in run.model.state_dict().values()} == {dtype}
    assert run.reconstruct(images).dtype == run.encode(images).dtype == run.decode(run.encode(images)).dtype == dtype
    assert run.sample(2).dtype == dtype
    assert np.array_equal(images, before)
    other = train("vae", IMAGES, dtype=dtype)  # of bytes: the same images but for rounding
    assert run.metrics()[-1]["loss"] == pytest.approx(other.metrics()[-1]["loss"], rel=1e-5)
    if given == dtype:
        assert_same_weights(run.model, other.model)


def test_a_run_on_bytes_takes_floats_and_the_other_way_round():
    floats = to_float(IMAGES, np.float32)
    for run in (train("ae", IMAGES), train("ae", floats)):
        assert np.array_equal(run.reconstruct(IMAGES), run.reconstruct(floats))
        assert np.array_equal(run.reconstruct(floats.astype(np.float64)), run.reconstruct(floats))
        assert run.evaluate(IMAGES) == run.evaluate(floats)


def test_an_array_in_another_memory_order_or_byte_order_is_the_same_array():
    run = train("ae")
    assert_same_weights(run.model, train("ae", np.asfortranarray(IMAGES)).model)
    swapped = to_float(IMAGES, np.float32).astype(">f4")
    assert np.array_equal(run.reconstruct(swapped), run.reconstruct(IMAGES))
    backwards = IMAGES[::-1]
    assert np.array_equal(run.reconstruct(backwards), run.reconstruct(backwards.copy()))
    # an image at another place in a batch is computed with another rounding
    np.testing.assert_allclose(run.reconstruct(backwards), run.reconstruct(IMAGES)[::-1], rtol=1e-5)


# --- held-out images, batch size, seed --------------------------------------------------------------------------------


def test_held_out_images_are_a_tenth_a_number_or_an_array():
    assert train("ae", out="tenth").run.config["data"]["held_out_images"] == 4
    assert train("ae", out="number", held_out=10).run.config["data"]["held_out_images"] == 10
    others = shapes(7, size=16, seed=3)[0]
    run = train("ae", held_out=others, out="array")
    assert run.run.config["data"] == {"name": "array", "image_shape": [16, 16, 3], "training_images": 40,
                                      "held_out_images": 7}
    held_out = {name: value for name, value in run.metrics()[-1].items() if name.startswith("held_out_")}
    assert run.evaluate(others) == pytest.approx(held_out, rel=1e-5)


def test_the_same_seed_gives_the_same_weights_bit_for_bit():
    one, again, other = train("vae", seed=5), train("vae", seed=5), train("vae", seed=6)
    assert_same_weights(one.model, again.model)
    assert not np.array_equal(one.reconstruct(IMAGES), other.reconstruct(IMAGES))
    assert_same_weights(go_on(build("dvae", seed=3), seed=4).model, go_on(build("dvae", seed=3), seed=4).model)


def test_numpys_own_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    train("vqvae", codebook_init="kmeans")
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_the_batch_size_says_how_many_updates_there_are():
    train("ae", batch_size=6, epochs=2, out="mine")  # 36 images: 6 updates an epoch
    position = json.loads(header("mine/resume.safetensors")["position"])
    assert position["updates"] == 12


def header(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(size))["__metadata__"]


def test_train_ends_after_steps():
    assert len(train("ae", epochs=None, steps=4).metrics()) == 2  # 3 updates an epoch


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("model", SYSTEMS)
def test_it_trains_as_the_command_line_does(model, capsys):
    data = load("shapes", limit=40, image_size=16)
    flags = [part for name, value in SIZES[model].items() for part in (f"--{name.replace('_', '-')}", str(value))]
    done = caller(build_parser, capsys)("train", model, "--channels", "4,8", "--image-size", 16, "--limit", 40,
                                        "--batch-size", 16, "--epochs", 2, *flags, "--out", "theirs")
    assert (done.status, done.err) == (0, "")
    run = train(model, data.train, held_out=data.held_out, epochs=2, out="mine")
    assert Path("mine/checkpoint.safetensors").read_bytes() == Path("theirs/checkpoint.safetensors").read_bytes()
    assert without_times(run.metrics()) == without_times(scratch.load("theirs").metrics())


def without_times(metrics):
    return [{k: v for k, v in entry.items() if k not in ("seconds", "images_per_second")} for entry in metrics]


# --- a folder ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", SYSTEMS)
def test_out_makes_a_run_that_load_opens(model):
    run = train(model, out=Path("deep/mine"))
    files = {"config.json", "metrics.jsonl", "checkpoint.safetensors", "resume.safetensors"}
    assert set(os.listdir("deep/mine")) - {".lock"} == files
    loaded = scratch.load("deep/mine")
    assert np.array_equal(loaded.reconstruct(IMAGES), run.reconstruct(IMAGES))
    assert loaded.evaluate(IMAGES) == run.evaluate(IMAGES)
    assert loaded.metrics() == run.metrics()
    assert loaded.options["data"] == "array"
    assert loaded.sample(2, images=IMAGES).shape == (2, 16, 16, 3)


def test_the_command_line_opens_a_run_on_an_array_with_other_images(capsys):
    train("vqvae", out="mine")
    call, others = caller(build_parser, capsys), ["--data", "shapes", "--limit", 12]
    shown = call("evaluate", "mine", *others, "--json")
    assert shown.status == 0 and json.loads(shown.out)["images"] == 12
    for command in (["reconstruct"], ["sample"], ["interpolate"], ["bits"]):
        done = call(*command, "mine", *others)
        assert (done.status, done.err) == (0, ""), done
    assert Path("mine/samples.png").exists()


@pytest.mark.parametrize("command", ["evaluate", "reconstruct", "sample", "interpolate", "bits", "encode"])
def test_without_other_images_a_command_says_that_the_run_keeps_none(command, capsys):
    train("vqvae", out="mine")
    shown = caller(build_parser, capsys)(command, "mine")
    assert shown.status == 2
    assert shown.err == ("error: mine was trained on an array of images, which it does not keep: name others with "
                         "--data.\n")


def test_the_command_line_does_not_continue_a_run_on_an_array(capsys):
    train("ae", out="mine")
    shown = caller(build_parser, capsys)("train", "--resume", "mine", "--epochs", 2)
    assert shown.status == 2 and shown.err == (
        "error: mine was trained on an array, which it does not keep: go on in Python with "
        "scratch.train(scratch.load('mine'), images).\n")


def test_the_folder_is_free_for_others_once_training_is_over():
    train("ae", out="mine")
    with pytest.raises(InputError, match="mine holds a run already"):
        train("ae", out="mine")
    scratch.train(scratch.load("mine"), IMAGES, epochs=2, progress=False)


def test_a_folder_that_cannot_be_written_is_named_before_training():
    Path("file").write_text("")
    with pytest.raises(InputError, match="file"):
        train("ae", out="file/mine")
    with pytest.raises(InputError, match="out expected a folder, got 3"):
        train("ae", out=3)


def test_load_names_what_is_no_run():
    with pytest.raises(InputError, match=r"nothing holds no config\.json"):
        scratch.load("nothing")
    with pytest.raises(InputError, match="folder expected a folder, got None"):
        scratch.load(None)
    train("ae", out="mine")
    with pytest.raises(InputError, match="device expected cpu, gpu or gpu:N, got 'tpu'"):
        scratch.load("mine", device="tpu")


# --- weights that are given, runs that go on --------------------------------------------------------------------------


@pytest.mark.parametrize("model", SYSTEMS)
def test_training_goes_on_from_given_weights(model):
    built, copy = build(model), build(model, seed=1)
    go_on(built)
    copy.load_state_dict(built.state_dict())
    before = copy.state_dict()
    assert_same_weights(go_on(built).model, go_on(copy).model)
    assert not all(np.array_equal(before[name], value) for name, value in copy.state_dict().items())


def test_the_model_that_was_given_is_the_one_that_is_trained():
    model = build("ae")
    before = model.state_dict()
    run = go_on(model)
    assert run.model is model
    assert not np.array_equal(before["encoder.0.weight"], model.state_dict()["encoder.0.weight"])


def test_the_model_of_a_run_is_trained_on(tmp_path):
    train("vqvae", out="mine")
    loaded = scratch.load("mine")
    start = loaded.evaluate(IMAGES)["held_out_loss"]
    run = go_on(loaded.model, out="more")
    assert run.evaluate(IMAGES)["held_out_loss"] < start
    assert run.options["codes"] == 16 and run.options["model"] == "vqvae"
    assert scratch.load("more").evaluate(IMAGES) == run.evaluate(IMAGES)


@pytest.mark.parametrize("update", ["gradient", "ema"])
def test_a_codebook_that_was_learned_is_not_begun_again(update):
    """kmeans begins a codebook from the first batches; one that is given has begun."""
    cured = dict(codebook_init="kmeans", codebook_update=update)
    run = train("vqvae", out="mine", epochs=2, **cured)
    for model in (run.model, scratch.load("mine").model):
        codes = codebook(model)
        go_on(model, lr=1e-9, epochs=1)
        assert np.abs(codebook(model) - codes).max() < (1e-6 if update == "gradient" else 0.1)
    fresh = build("vqvae", **cured)
    codes = codebook(fresh)
    go_on(fresh, lr=1e-9)
    assert np.abs(codebook(fresh) - codes).max() > 0.5  # this one has been begun


def codebook(model):
    (name,) = [name for name in model.state_dict() if name.endswith("codebook")]
    return model.state_dict()[name]


def test_plain_takes_the_faster_forms_away_again():
    model = build("ae")
    go_on(model)
    run = go_on(model, plain=True)
    forms = {type(part).__module__ for part in run.model.modules()}
    forms |= {type(part.window).__module__ for part in run.model.modules() if hasattr(part, "window")}
    assert not any("accelerate" in form for form in forms)
    assert run.options["plain"]


@pytest.mark.parametrize("model", ["vae", "vqvae2"])
def test_a_run_goes_on_as_if_it_had_not_stopped(model):
    train(model, epochs=3, out="whole", held_out=5)
    train(model, epochs=1, out="parts", held_out=5)
    run = scratch.train(scratch.load("parts"), IMAGES, held_out=5, epochs=3, progress=False)
    assert Path("whole/checkpoint.safetensors").read_bytes() == Path("parts/checkpoint.safetensors").read_bytes()
    assert without_times(run.metrics()) == without_times(scratch.load("whole").metrics())
    again = scratch.train(run, IMAGES, held_out=5, progress=False)  # there is nothing left to do
    assert_same_weights(again.model, run.model)


def test_a_run_goes_on_only_where_it_can():
    train("ae", out="mine")
    loaded = scratch.load("mine")
    for given, words in (
        (dict(out="other"), "out names a folder, and a run that goes on stays in its own"),
        (dict(lr=0.1), "lr cannot change when a run is continued: only"),
        (dict(held_out=9), "the data has changed since mine was trained"),
    ):
        with pytest.raises(InputError, match=words):
            scratch.train(loaded, IMAGES, progress=False, **given)
    with pytest.raises(InputError, match="this run was written to no folder"):
        scratch.train(train("ae"), IMAGES, epochs=2)
    assert len(scratch.load("mine").metrics()) == 1


def test_a_run_of_the_command_line_goes_on_there(capsys):
    done = caller(build_parser, capsys)("train", "ae", "--channels", "4,8", "--image-size", 16, "--limit", 40,
                                        "--latent-dim", 6, "--epochs", 1, "--out", "theirs")
    assert done.status == 0
    loaded = scratch.load("theirs")
    with pytest.raises(InputError, match="theirs was trained on shapes, by the command line: continue it there"):
        scratch.train(loaded, IMAGES, epochs=2)
    assert len(go_on(loaded.model).metrics()) == 1


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ctrl_c(monkeypatch):
    """ctrl_c(n): Ctrl-C is pressed during the n-th update from now."""
    def press(number):
        step, count = Trainer.step, [0]

        def interrupted(self, *arguments):
            count[0] += 1
            if count[0] == number:
                signal.raise_signal(signal.SIGINT)
            return step(self, *arguments)

        monkeypatch.setattr(Trainer, "step", interrupted)

    return press


def test_ctrl_c_saves_and_says_how_to_go_on(ctrl_c):
    train("vae", epochs=3, out="whole")
    ctrl_c(5)  # in the middle of the second epoch
    with pytest.raises(KeyboardInterrupt) as stopped:
        train("vae", epochs=3, out="parts")
    assert str(stopped.value) == ("stopped and saved: scratch.train(scratch.load('parts'), images) goes on.")
    position = json.loads(header("parts/resume.safetensors")["position"])
    assert (position["epoch"], position["step"], position["updates"]) == (2, 2, 5)
    scratch.train(scratch.load("parts"), IMAGES, progress=False)
    assert Path("whole/checkpoint.safetensors").read_bytes() == Path("parts/checkpoint.safetensors").read_bytes()


def test_ctrl_c_leaves_the_weights_in_the_model_that_was_given(ctrl_c):
    model, reference = build("ae"), build("ae")
    ctrl_c(3)
    with pytest.raises(KeyboardInterrupt, match="the model has the weights of its last update"):
        go_on(model, epochs=5)
    assert_same_weights(model, go_on(reference, epochs=None, steps=3).model)


def test_ctrl_c_where_nothing_is_kept(ctrl_c):
    before = signal.getsignal(signal.SIGINT)  # a shell's background job ignores it
    ctrl_c(1)
    with pytest.raises(KeyboardInterrupt, match="nothing is kept"):
        train("ae", epochs=5)
    assert os.listdir() == []
    assert signal.getsignal(signal.SIGINT) is before


# --- what is refused --------------------------------------------------------------------------------------------------

HALF = to_float(IMAGES, np.float64)
WITH_NAN = HALF.copy()
WITH_NAN[3, 2, 1, 0] = np.nan


@pytest.mark.parametrize(("images", "words"), [
    (IMAGES.astype(np.float32), r"float32 with values from \d+ to 2\d\d were given: expected .*; divide them by 255"),
    (HALF - 0.5, r"values from -0\.\d+ to 0\.\d+ were given: expected floats in \[0, 1\]"),
    (WITH_NAN, "NaN among their values"),
    (IMAGES.astype(np.int64), "int64 were given: expected uint8 in 0..255, or float32 or float64"),
    (HALF.astype(np.float16), "float16 were given: expected uint8"),
    (IMAGES > 100, "bool were given: expected uint8"),
    (IMAGES.transpose(0, 3, 1, 2), "channels first: expected .*images.transpose"),
    (IMAGES[0], r"got one image, an array of shape \(16, 16, 3\)"),
    (IMAGES[0, 0, 0], r"shape \(3,\) were given: expected \(N, H, W, C\)"),
    (IMAGES[:1], "one image was given: two are needed"),
    (IMAGES[:0], "expected at least one image"),
    (IMAGES.tolist(), "type list were given: expected a NumPy array"),
    (None, "type NoneType were given: expected a NumPy array"),
    (IMAGES[:, :15], "images of 15×16 cannot be halved"),
])
def test_images_that_cannot_be_trained_on(images, words):
    with pytest.raises(InputError, match=words):
        train("vqvae", images, out="mine")
    assert not Path("mine/config.json").exists()


@pytest.mark.parametrize(("given", "words"), [
    (dict(code=3), "unknown option 'code': did you mean 'codes'?"),
    (dict(latent_dim=3), "latent_dim is an option of ae and vae; vqvae has no such option"),
    (dict(codes="16"), "codes expected an integer ≥ 1, got '16'"),
    (dict(epochs=0), "epochs expected an integer ≥ 1, got 0"),
    (dict(epochs=2, steps=3), "steps and epochs both say when training ends"),
    (dict(batch_size=2.5), "batch_size expected an integer ≥ 1, got 2.5"),
    (dict(seed=-1), "seed expected an integer ≥ 0, got -1"),
    (dict(device="cuda"), "device expected cpu, gpu or gpu:N, got 'cuda'"),
    (dict(dtype="float16"), "dtype expected float32 or float64, got 'float16'"),
    (dict(held_out=40), "held-out ones of 40 was given: expected an integer from 1 to 39"),
    (dict(held_out=0), "expected an integer from 1 to 39"),
    (dict(held_out=0.1), "held_out 0.1 was given: expected a number of images"),
    (dict(held_out=IMAGES[:, :8]), "held-out images of 8×16×3"),
    (dict(held_out=to_float(IMAGES, np.float32)), "expected one size and one type for both"),
    (dict(data="shapes"), "data names images, and these are given as an array"),
    (dict(limit=3), "limit names images"),
    (dict(drawn=3), "drawn names images"),
    (dict(without="red"), "without names images"),
    (dict(progress="no"), "progress expected True or False, got 'no'"),
    (dict(out=""), "out expected a folder, got ''"),
])
def test_options_that_cannot_be_used(given, words):
    with pytest.raises(InputError, match=words):
        train("vqvae", **given)
    assert os.listdir() == []


@pytest.mark.parametrize(("model", "words"), [
    ("vqave", "unknown model 'vqave': did you mean 'vqvae'?"),
    (3, "expected the name of a system such as 'vqvae', a model that scratch.build made, or a run, got a int"),
    (None, "got a NoneType"),
    (build("ae").encoder, "got a Sequential"),
])
def test_models_that_cannot_be_trained(model, words):
    with pytest.raises(InputError, match=words):
        scratch.train(model, IMAGES)


@pytest.mark.parametrize(("given", "words"), [
    (dict(codes=8), "codes is an option of the model, which is built already: give it to build"),
    (dict(preset="article"), "preset is an option of the model, which is built already"),
    (dict(dtype="float64"), "dtype expected float32, in which the model was built, got 'float64'"),
    (dict(epoch=8), "unknown option 'epoch': did you mean 'epochs'?"),
])
def test_a_model_that_is_built_takes_no_options_of_models(given, words):
    with pytest.raises(InputError, match=words):
        go_on(build("vqvae"), **given)


def test_a_model_takes_images_of_its_own_shape():
    with pytest.raises(InputError, match="built for examples of 16×16×3, but these are 8×16×3"):
        go_on(build("ae"), IMAGES[:, :8])


def test_the_preset_of_a_built_model_says_how_it_is_trained():
    model = scratch.build("vae", (16, 16, 3), preset="mlp", widths=[5])
    run = scratch.train(model, IMAGES, epochs=1, progress=False)
    assert (run.options["preset"], run.options["batch_size"], run.options["widths"]) == ("mlp", 128, [5])


@pytest.mark.parametrize(("arguments", "words"), [
    (dict(shape=16), r"shape expected the shape of an example, integers ≥ 1 such as \(32, 32, 3\), got 16"),
    (dict(shape=(16, 16)), r"shape expected the shape \(H, W, C\) of an image, such as \(32, 32, 3\), got \(16, 16\)"),
    (dict(shape=(16, 16, 0)), "integers ≥ 1"),
    (dict(shape=(16.0, 16, 3)), "integers ≥ 1"),
    (dict(shape=(15, 16, 3)), "15×16 cannot be halved"),
    (dict(seed="a"), "seed expected an integer ≥ 0, got 'a'"),
    (dict(dtype="int8"), "dtype expected float32 or float64, got 'int8'"),
    (dict(dtype="floaty"), "dtype expected float32 or float64, got 'floaty'"),
    (dict(device=3), "device expected cpu, gpu or gpu:N, got 3"),
    (dict(epochs=3), "epochs is an option of training, not of a model: give it to train"),
    (dict(norm="Batch"), "did you mean 'batch'?"),
])
def test_models_that_cannot_be_built(arguments, words):
    with pytest.raises(InputError, match=words):
        scratch.build(**{"model": "ae", "shape": (16, 16, 3), **arguments})


def test_build_takes_numpys_dtypes_and_lists():
    model = scratch.build("ae", [16, 16, 3], dtype=np.float64, channels=(4, 8), seed=np.int64(3))
    assert model.shape == (16, 16, 3) and model.options["channels"] == [4, 8]
    assert model.state_dict()["encoder.0.weight"].dtype == np.float64


@pytest.mark.parametrize("method", ["reconstruct", "encode", "evaluate"])
@pytest.mark.parametrize(("images", "words"), [
    (IMAGES[0], r"expected images \(N, 16, 16, 3\), as this run was trained on, got .*: give image\[None\]"),
    (IMAGES[:, :8], r"expected images \(N, 16, 16, 3\).* got an array of shape \(40, 8, 16, 3\)"),
    (IMAGES.astype(float), "divide them by 255"),
    (WITH_NAN, "NaN among their values"),
    (IMAGES.astype(np.int64), "int64 were given"),
    (IMAGES.transpose(0, 3, 1, 2), "channels first"),
    (IMAGES.tolist(), "expected a NumPy array"),
])
def test_images_that_a_run_refuses(method, images, words):
    with pytest.raises(InputError, match=words):
        getattr(small_run("ae"), method)(images)


RUNS = {}


def small_run(model):
    if model not in RUNS:
        RUNS[model] = train(model)
    return RUNS[model]


@pytest.mark.parametrize(("model", "latents", "words"), [
    ("ae", np.zeros((2, 5)), r"expected latents \(N, 6\) of finite numbers, as `encode` gives them, got \(2, 5\)"),
    ("ae", np.full((2, 6), np.inf), "got some that are not"),
    ("ae", np.zeros((2, 6), int), "got int64"),
    ("vqvae", np.zeros((2, 4, 4)), r"expected latents \(N, 4, 4\) of integers from 0 to 15, .* got float64"),
    ("vqvae", np.full((2, 4, 4), 16), "got some that are not"),
    ("vqvae", np.full((2, 4, 4), -1), "got some that are not"),
    ("vqvae2", np.zeros((2, 4, 4), int), r"expected latents \(N, 4, 4\) and \(N, 8, 8\) of integers"),
    ("vqvae2", [np.zeros((2, 4, 4), int), np.zeros((3, 8, 8), int)], r"got \(2, 4, 4\) and \(3, 8, 8\)"),
])
def test_latents_that_a_run_refuses(model, latents, words):
    with pytest.raises(InputError, match=words):
        small_run(model).decode(latents)


def test_code_indices_of_any_integers_are_decoded():
    run = small_run("vqvae")
    codes = run.encode(IMAGES)
    assert np.array_equal(run.decode(codes.astype(np.uint8)), run.decode(codes))


def test_sample_says_what_it_needs():
    train("vqvae", out="mine")
    with pytest.raises(InputError, match="samples of a vqvae follow the latents of training images: give some"):
        scratch.load("mine").sample(3)
    for given, words in ((dict(count=0), "count expected an integer ≥ 1, got 0"),
                         (dict(count=1, seed=-1), "seed expected an integer ≥ 0, got -1"),
                         (dict(count=1, images=IMAGES[:, :8]), "expected images")):
        with pytest.raises(InputError, match=words):
            small_run("vqvae").sample(**given)


def test_a_loss_that_is_no_longer_finite_is_named():
    with np.errstate(all="ignore"), pytest.raises(Diverged, match=r"became (nan|inf)|not finite"):
        train("ae", lr=1e30, epochs=20)


# --- what is printed --------------------------------------------------------------------------------------------------

SCRIPT = """
import scratch
from data_utils import shapes
scratch.train("ae", shapes(40, size=16)[0], epochs=2, channels=[4, 8], latent_dim=6, batch_size=4)
"""
EPOCH = re.compile(r"epoch \d: loss [\d.]+ = reconstruction [\d.]+  \| held out: loss [\d.]+  PSNR [\d.]+ dB  \| "
                   r"[\d.]+ s, \d+ images/s")


def test_a_line_an_epoch_where_the_output_is_no_terminal():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment())
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all(EPOCH.fullmatch(line) for line in lines)


def test_progress_false_prints_nothing():
    script = SCRIPT.replace("epochs=2", "epochs=2, progress=False")
    assert in_a_terminal("-c", script).strip() == ""


@pytest.mark.skipif(os.name != "posix", reason="a terminal of its own is POSIX's")
def test_a_terminal_shows_a_bar_within_an_epoch_and_a_line_after_it():
    shown = in_a_terminal("-c", SCRIPT)
    assert "epoch 1/2:   0%|" in shown and "/9 [" in shown
    lines = [line.rpartition("\r")[2] for line in shown.replace("\r\n", "\n").splitlines()]
    assert len([line for line in lines if EPOCH.fullmatch(line)]) == 2


def test_a_notebook_without_widgets_prints_a_line_an_epoch(tmp_path):
    package = tmp_path / "IPython"
    package.mkdir()
    (package / "__init__.py").write_text("class Shell:\n    config = {'IPKernelApp': {}}\n\n\n"
                                         "def get_ipython():\n    return Shell()\n")
    done = subprocess.run([sys.executable, "-c", "import IPython\n" + SCRIPT], capture_output=True, text=True,
                          env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all(EPOCH.fullmatch(line) for line in lines)


# --- a GPU ------------------------------------------------------------------------------------------------------------


def test_a_model_is_trained_where_it_is(cupy):
    model = build("vae", device="gpu")
    run = go_on(model, out="mine")
    assert run.options["device"] == "gpu:0"
    assert all(type(part.value).__module__ == "cupy" for part in model.named_state().values())
    assert type(run.reconstruct(IMAGES)) is type(run.encode(IMAGES)) is type(run.sample(2)) is np.ndarray
    assert run.evaluate(IMAGES)["held_out_loss"] > 0
    on_cpu = scratch.load("mine")
    assert np.allclose(on_cpu.reconstruct(IMAGES), run.reconstruct(IMAGES), atol=1e-5)
    assert np.allclose(scratch.load("mine", device="gpu").reconstruct(IMAGES), run.reconstruct(IMAGES), atol=1e-5)


def test_a_model_moves_where_it_is_asked_to(cupy):
    model = build("vae")
    go_on(model)
    go_on(model, device="gpu")
    assert type(next(iter(model.named_state().values())).value).__module__ == "cupy"
    run = go_on(model, device="cpu")
    assert type(next(iter(model.named_state().values())).value) is np.ndarray
    assert not any("gpu" in type(part).__module__ for part in model.modules())
    reference = build("vae")
    for _ in range(3):
        expected = go_on(reference)
    assert np.allclose(run.reconstruct(IMAGES), expected.reconstruct(IMAGES), atol=0.05)


def test_a_device_that_is_not_there_is_named_before_anything_is_built():
    with pytest.raises(InputError, match="device gpu:99"):
        train("ae", device="gpu:99", out="mine")
    assert os.listdir() == []


def test_the_weights_file_is_pytorchs_names_alone():
    run = train("ae", out="mine")
    assert load_file("mine/checkpoint.safetensors").keys() == run.model.state_dict().keys()
