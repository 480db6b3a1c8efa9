"""training, runs, sweep, evaluate and compare take any model and data with the declared methods.

Here a small model of tokens, whose data are the code indices of a finished VQ-VAE: a run that refers to another run.
"""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import scratch as library
from data_utils import Data
from scratch.commands import options as command_options
from scratch.layers import Linear
from scratch.models.model import Model
from scratch.models.system import System
from scratch.module import Module, Parameter
from scratch.options.errors import InputError
from scratch.options.option import Option, Text, Whole
from tests.cli.test_errors import assert_one_sentence
from tests.cli.test_new_bottleneck import same_weights
from tests.cli.test_torch_ref import torch_ref  # noqa: F401  (a fixture)
from tests.support.command_line import read_metrics, without_times
from torch_ref import options as torch_options
from torch_ref.models import Model as TorchModel

WORDS = ["words", "--of", "vqvae", "--width", "5", "--batch-size", "16"]  # 40 examples: 16, 16, 8
IMAGE_COMMANDS = [
    "reconstruct", "sample", "variations", "interpolate", "encode", "decode run codes.npz", "bits", "pca", "traverse",
    "corners", "arithmetic run --factor shape --from 0 --to 1", "aggregate", "mig", "probe", "retrieve",
    "anomaly run --against shapes:pill", "downstream",
]


class Table(Module):
    """y = E[x], a row of the table E for each token.      ∂L/∂E[k] = Σ ∂L/∂y over the places where x is k.

    Shapes: x (M,) integers, E (K, D), y (M, D).
    """

    def __init__(self, tokens, width, dtype, rng):
        self.weight = Parameter(rng.standard_normal((tokens, width)).astype(dtype))

    def forward(self, x):
        self.save(x)
        return self.weight.value[x]

    def backward(self, dy):
        (x,) = self.recall()
        gradient = np.zeros_like(self.weight.value)
        np.add.at(gradient, x, dy)
        self.weight.accumulate(gradient)


class CrossEntropy(Module):
    """L = −(1/N) Σ log softmax(a)[target], summed over the tokens of an example.      ∂L/∂a = (softmax(a) − 1ₜ) / N.

    Shapes: a (N·T, K), target (N·T,).
    """

    def forward(self, a, target, count):
        log_p = a - a.max(axis=1, keepdims=True)
        log_p = log_p - np.log(np.exp(log_p).sum(axis=1, keepdims=True))
        self.save(log_p, target, count)
        return -log_p[np.arange(len(target)), target].sum() / count

    def backward(self, dL):
        log_p, target, count = self.recall()
        da = np.exp(log_p)
        da[np.arange(len(target)), target] -= 1
        return da * (dL / count)


class Bigrams(Model):
    """Each token predicts the next: a = E[x] W + b. Examples x (N, T), int64."""

    def __init__(self, length, tokens, width, dtype, rng):
        self.length = length
        self.table = Table(tokens, width, dtype, rng)
        self.out = Linear(width, tokens, dtype=dtype, rng=rng)
        self.cross_entropy = CrossEntropy()

    def loss(self, x, noise=None):
        a = self.out.forward(self.table.forward(x[:, :-1].reshape(-1)))
        loss = self.cross_entropy.forward(a, x[:, 1:].reshape(-1), len(x))
        self.nats = loss / (self.length - 1)
        return loss, {"cross_entropy": loss}

    def backward(self, scale=1.0):
        self.table.backward(self.out.backward(self.cross_entropy.backward(scale)))

    def observed(self):
        return {"bits": self.nats / math.log(2), "perplexity": np.exp(self.nats)}, {}


class TorchBigrams(TorchModel):
    options = {"width": torch_options.whole(8), "tokens": torch_options.whole(16)}  # noqa: RUF012

    def __init__(self, shape, width, tokens, dtype):
        super().__init__()
        self.table = nn.Embedding(tokens, width, dtype=dtype)
        self.out = nn.Linear(width, tokens, dtype=dtype)

    def loss(self, x, noise=None):
        logits = self.out(self.table(x[:, :-1]))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten(), reduction="sum") / len(x)
        self.nats = loss / (x.shape[1] - 1)
        return loss, {"cross_entropy": loss}

    def observed(self):
        return {"bits": self.nats / math.log(2), "perplexity": self.nats.exp()}, {}


class Codes(Data):
    """Tokens (N, T)."""

    def describe(self):
        return f"{self.name}: {len(self.train)} training and {len(self.held_out)} held-out rows of codes"


def define():
    class Words(System, name="words"):
        options = (Option("width", Whole(1), 8, "numbers for a token"),
                   Option("tokens", Whole(2), 16, "how many different tokens there are"))
        data_options = (Option("of", Text("the folder of a run", "RUN"), None, "the run whose codes are the tokens",
                               may_change=True, group="tokens"),)
        axes = 1

        def build(self, shape, options, *, dtype, rng):
            return Bigrams(*shape, options["tokens"], options["width"], dtype, rng or np.random.default_rng())

        def load_data(self, options, download=False, runs=None):
            trained, data = runs["of"]
            if trained.codes != options["tokens"]:
                raise InputError(f"is {options['tokens']}, and {options['of']} has {trained.codes} codes.", "tokens")
            train, held_out = (trained.encode(images).reshape(len(images), -1).astype(np.int64)
                               for images in (data.train, data.held_out))
            return Codes(f"codes of {data.name}", train, held_out, {}, {})

        def references(self, options):
            return {"of": options["of"]}

    TorchModel.systems["words"] = TorchBigrams


@pytest.fixture(autouse=True)
def words():
    """The new system, known for the duration of a test."""
    def forget():
        command_options.every_option.cache_clear()
        command_options.model_names.cache_clear()

    forget()
    define()
    yield
    del System.known["words"], TorchModel.systems["words"]
    forget()


@pytest.fixture
def run(scratch, trained):
    """A finished run of the model of tokens, beside the VQ-VAE that it refers to."""
    trained("vqvae")
    result = scratch("train", *WORDS, "--epochs", 2, "--out", "run")
    assert result.status == 0, result.err
    return Path("run")


def config_of(folder):
    return json.loads(Path(folder, "config.json").read_text())


def test_a_run_says_what_it_refers_to(scratch, run):
    config = config_of(run)
    assert config["references"]["of"]["folder"] == "vqvae" and len(config["references"]["of"]["fingerprint"]) == 64
    assert config["data"] == {
        "name": "codes of shapes", "image_shape": [16], "training_images": 40, "held_out_images": 40}
    assert (run / "curves.png").exists() and not (run / "reconstructions.png").exists()
    metrics = read_metrics(run)
    assert metrics[1]["loss"] < metrics[0]["loss"]
    assert metrics[1]["held_out_bits"] == pytest.approx(metrics[1]["held_out_loss"] / 15 / math.log(2), rel=1e-5)


@pytest.mark.usefixtures("no_pictures")
def test_it_resumes_bit_for_bit_after_an_epoch_and_within_one(scratch, run):
    for name, first in (("epochs", 1), ("steps", 4)):
        whole = 2 if name == "epochs" else 6
        for option, value, out in ((f"--{name}", whole, f"whole {name}"), (f"--{name}", first, f"parts {name}")):
            assert scratch("train", *WORDS, option, value, "--out", out).status == 0
        result = scratch("train", "--resume", f"parts {name}", f"--{name}", whole)
        assert result.status == 0, result.err
        assert same_weights(f"whole {name}", f"parts {name}")
        assert without_times(read_metrics(f"whole {name}")) == without_times(read_metrics(f"parts {name}"))


@pytest.mark.usefixtures("no_pictures")
def test_two_workers_learn_the_same(scratch, run):
    assert scratch("train", *WORDS, "--epochs", 2, "--dtype", "float64", "--workers", 2, "--out", "two").status == 0
    assert scratch("train", *WORDS, "--epochs", 2, "--dtype", "float64", "--workers", 1, "--out", "one").status == 0
    one, two = read_metrics("one")[-1], read_metrics("two")[-1]
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-10)
    assert two["held_out_loss"] == pytest.approx(one["held_out_loss"], rel=1e-10)


def test_it_is_evaluated_and_its_curves_are_drawn(scratch, run):
    found = json.loads(scratch("evaluate", run, "--json").out)
    last = read_metrics(run)[-1]
    assert found == {"data": "codes of shapes", "images": 40,
                     **{name: last[f"held_out_{name}"] for name in ("loss", "cross_entropy", "bits", "perplexity")}}
    printed = scratch("evaluate", run).out
    assert "run on 40 held-out examples of codes of shapes:" in printed and "bits" in printed
    assert scratch("curves", run, "--metric", "loss", "held_out_bits", "--out", "c.png").status == 0


def test_its_option_is_swept(scratch, run):
    command = ["sweep", *WORDS[:3], "--epochs", 1, "--out", "s", "--over", "width=1,8"]
    result = scratch(*command)
    assert result.status == 0, result.err
    rows = json.loads(Path("s/sweep.json").read_text())["runs"]
    assert [row["settings"] for row in rows] == [{"width": "1"}, {"width": "8"}]
    table = next(line.split() for line in result.out.splitlines() if line.split()[:1] == ["width"])
    assert table == ["width", "loss", "cross_entropy", "bits", "perplexity", "parameters"]
    assert Path("s/figures.png").exists()
    assert scratch(*command).status == 0 and json.loads(Path("s/sweep.json").read_text())["runs"] == rows


def test_the_library_loads_it(run):
    loaded = library.load("run")
    assert loaded.model.length == 16 and loaded.codes is None
    assert loaded.evaluate(np.zeros((3, 16), np.int64))["held_out_bits"] > 0
    images = np.zeros((1, 16, 16, 3), np.uint8)
    for method, argument in ((loaded.reconstruct, images), (loaded.encode, images), (loaded.decode, images),
                             (loaded.sample, 3)):
        with pytest.raises(InputError, match="about images"):
            method(argument)
    with pytest.raises(InputError, match=r"takes examples with 1 axes, got the shape \(4, 4, 3\)"):
        library.build("words", (4, 4, 3))
    for model in ("words", library.build("words", (16,))):
        with pytest.raises(InputError, match="train takes images, and words learns from other examples"):
            library.train(model, np.zeros((20, 16, 16, 3), np.uint8))


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("command", IMAGE_COMMANDS)
def test_commands_about_images_refuse_it(scratch, run, command):
    name, *rest = command.split()
    assert_one_sentence(scratch(name, *(rest or ["run"])), name, "about images", "run", "words")


@pytest.mark.usefixtures("no_pictures")
def test_what_else_is_refused(scratch, run):
    assert_one_sentence(scratch("train", "words"), "--of is missing", "folder of a finished run")
    assert_one_sentence(scratch("train", "words", "--of", "nowhere"), "nowhere", "config.json")
    assert_one_sentence(scratch("train", *WORDS, "--tokens", 9), "--tokens is 9", "16 codes")
    assert_one_sentence(scratch("train", *WORDS, "--data", "shapes"), "--data", "words has no such option")
    assert_one_sentence(scratch("evaluate", run, "--data", "shapes"), "--data", "words has no such option")
    assert_one_sentence(scratch("evaluate", run, "--corruption", "gaussian:0.1"), "corruption", "about images")
    assert_one_sentence(scratch("evaluate", run, "--importance-samples", 3), "words")


@pytest.mark.usefixtures("no_pictures")
def test_what_it_refers_to_has_moved(scratch, run):
    shutil.move("vqvae", "moved")
    for command in (["evaluate", run], ["train", "--resume", run, "--epochs", 3]):
        assert_one_sentence(scratch(*command), "refers by of to the run vqvae", "not there", "put it back")
    result = scratch("train", "--resume", run, "--epochs", 3, "--of", "moved")
    assert result.status == 0, result.err
    assert config_of(run)["references"]["of"]["folder"] == "moved" and scratch("evaluate", run).status == 0


@pytest.mark.usefixtures("no_pictures")
def test_what_it_refers_to_has_other_weights(scratch, run):
    before = config_of(run)
    scratch("train", "--resume", "vqvae", "--epochs", 3)
    for command in (["evaluate", run], ["train", "--resume", run, "--epochs", 3]):
        assert_one_sentence(scratch(*command), "vqvae", before["references"]["of"]["fingerprint"][:12], "put it back")
    with pytest.raises(InputError, match="refers by of to the weights"):
        library.load(run)
    assert config_of(run) == before


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("references", [
    {}, {"by": {"folder": "vqvae", "fingerprint": "0"}}, {"of": {"folder": "vqvae"}}, {"of": 3}, None])
def test_damaged_references(scratch, run, references):
    config = config_of(run)
    Path(run, "config.json").write_text(json.dumps({**config, "references": references}))
    assert_one_sentence(scratch("evaluate", run), "references")


# --- the oracle -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_pictures")
def test_both_sides_are_compared(torch_ref, run):  # noqa: F811
    found = json.loads(torch_ref("compare", "words", "--of", "vqvae", "--steps", 8, "--batch-size", 16, "--json").out)
    assert found["ok"] and found["image_shape"] == [16] and found["data"] == "codes of shapes"
    assert set(found["gradients"]) == {"table.weight", "out.weight", "out.bias"}
    assert torch_ref("compare", "words", "--of", "vqvae", "--width", 3, "--dtype", "float32", "--steps", 2).status == 0
    assert_one_sentence(torch_ref("compare", "words", "--of", "vqvae", "--speed"), "--speed", "words")


@pytest.mark.usefixtures("no_pictures")
def test_a_wrong_backward_breaks_the_bounds(torch_ref, run, monkeypatch):  # noqa: F811
    correct = CrossEntropy.backward
    monkeypatch.setattr(CrossEntropy, "backward", lambda self, dL: correct(self, dL) * (1 + 1e-9))
    assert torch_ref("compare", "words", "--of", "vqvae", "--steps", 2).status == 1


@pytest.mark.usefixtures("no_pictures")
def test_the_oracle_trains_it_and_scratch_evaluates_that_run(torch_ref, scratch, run):  # noqa: F811
    torch_ref("train", *WORDS, "--epochs", 2, "--out", "whole")
    torch_ref("train", *WORDS, "--epochs", 1, "--out", "parts")
    assert torch_ref("train", "--resume", "parts", "--epochs", 2).status == 0
    assert same_weights("whole", "parts")
    assert config_of("whole")["references"] == config_of(run)["references"]
    ours, last = json.loads(scratch("evaluate", "whole", "--json").out), read_metrics("whole")[-1]
    for name in ("loss", "bits", "perplexity"):
        assert ours[name] == pytest.approx(last[f"held_out_{name}"], rel=1e-4)
