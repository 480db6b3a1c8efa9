"""A new bottleneck is its file, its torch twin, its gradcheck case and its test.

The three classes and the case below are what the first three files would hold. Nothing else in the project is changed,
and both command lines train, save, resume, evaluate, sweep, check, compare and list the new system.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import scratch as library
from scratch.arrays import array_module
from scratch.bottlenecks.bottleneck import Bottleneck
from scratch.bottlenecks.dense import LATENT_DIM
from scratch.commands import options as command_options
from scratch.commands.parser import build_parser
from scratch.gradcheck.cases.case import CASES, add, bottleneck
from scratch.layers import Flatten, Linear, Unflatten
from scratch.losses import batch_mean_of_sums
from scratch.module import Module
from scratch.options.option import Option, Real, Scheduled
from scratch.options.presets import PRESETS
from tests.cli.test_errors import assert_one_sentence
from tests.cli.test_torch_ref import torch_ref  # noqa: F401  (a fixture)
from tests.support.command_line import SMALL, read_metrics, without_times
from torch_ref import options as torch_options
from torch_ref.bottlenecks import Bottleneck as TorchBottleneck

NEW = ["bounded", *SMALL, "--latent-dim", "6", "--bound", "1.5", "--pull", "linear:0:0.1:4"]


def define():
    """The new bottleneck, its twin and its gradcheck case. Returns scratch's class."""

    class Energy(Module):
        """energy = (1/N) Σ z².      ∂energy/∂z = 2 z / N.      Shapes: z (N, Z)."""

        def forward(self, z):
            self.save(z)
            return batch_mean_of_sums(z * z)

        def backward(self, denergy):
            (z,) = self.recall()
            return z * (2 * denergy / len(z))

    class BoundedBottleneck(Bottleneck, system="bounded"):
        """z = c·tanh(h W₁ + b₁),   y = z W₂ + b₂,   and the term energy = (1/N) Σ z².

        Shapes: h, y (N, H, W, C), flattened in between; z (N, Z).

            ∂L/∂(h W₁ + b₁) = ∂L/∂z · (c − z²/c)
        """

        options = (
            LATENT_DIM,
            Option("bound", Real(0, included=False), 2.0, "bound c of the numbers in the code"),
            Option("pull", Scheduled(0), 0.01, "weight of the code's energy"),
        )

        def __init__(self, feature_shape, latent_dim, bound, *, dtype=np.float32, rng=None):
            H, W, C = feature_shape
            features = math.prod(feature_shape)
            self.bound, self.activity = bound, None
            self.flatten = Flatten()
            self.reduce = Linear(features, latent_dim, dtype=dtype, rng=rng)
            self.energy = Energy()
            self.expand = Linear(latent_dim, features, dtype=dtype, rng=rng)
            self.unflatten = Unflatten(1, (C, H, W))

        @classmethod
        def build(cls, around, options, *, dtype, rng):
            return cls(around.shape, options["latent_dim"], options["bound"], dtype=dtype, rng=rng)

        def weights(self, image_shape, options):
            return {"reconstruction": 1.0, "energy": options["pull"]}

        def forward(self, h, noise=None):
            z = self.encode(h)
            self.save(z)
            return self.decode(z), {"energy": self.energy.forward(z)}

        def backward(self, dy, dterms):
            (z,) = self.recall()
            dz = self.expand.backward(self.unflatten.backward(dy))
            dz += self.energy.backward(dterms["energy"])
            return self.flatten.backward(self.reduce.backward(dz * (self.bound - z * z / self.bound)))

        def encode(self, h):
            u = self.reduce.forward(self.flatten.forward(h))
            return self.bound * array_module(u).tanh(u)

        def decode(self, z):
            return self.unflatten.forward(self.expand.forward(z))

    class Twin(TorchBottleneck, system="bounded"):
        options = {  # noqa: RUF012
            "latent_dim": torch_options.whole(128),
            "bound": torch_options.number(2.0, above=True),
            "pull": torch_options.schedule(0.01),
        }

        def __init__(self, feature_shape, latent_dim, bound, dtype):
            super().__init__()
            features = math.prod(feature_shape)
            self.bound = bound
            self.reduce = nn.Linear(features, latent_dim, dtype=dtype)
            self.expand = nn.Linear(latent_dim, features, dtype=dtype)
            self.unflatten = nn.Unflatten(1, feature_shape)

        def weights(self, options, image_shape):
            return {"reconstruction": 1.0, "energy": options["pull"]}

        def forward(self, h, noise=None):
            z = self.encode(h)
            return self.decode(z), {"energy": z.square().sum(1).mean()}

        def encode(self, h):
            return self.bound * torch.tanh(self.reduce(h.flatten(1)))

        def decode(self, z):
            return self.unflatten(self.expand(z))

    Twin.__name__ = "BoundedBottleneck"  # as its file would call it
    add(bottleneck, BoundedBottleneck, (3, 2, 2, 4), dict(feature_shape=(2, 2, 4), latent_dim=5, bound=1.5))
    return BoundedBottleneck


def forget_what_is_cached():
    for cached in (command_options.every_option, command_options.model_names):
        cached.cache_clear()


@pytest.fixture(autouse=True)
def bounded():
    """The new system, known for the duration of a test."""
    cases = len(CASES)
    forget_what_is_cached()
    yield define()
    del Bottleneck.systems["bounded"], TorchBottleneck.systems["bounded"], CASES[cases:]
    forget_what_is_cached()


def same_weights(one, other):
    return Path(one, "checkpoint.safetensors").read_bytes() == Path(other, "checkpoint.safetensors").read_bytes()


def test_it_is_trained_saved_resumed_and_evaluated(scratch):
    result = scratch("train", *NEW, "--epochs", 2, "--out", "whole")
    assert result.status == 0, result.err
    assert result.out.startswith("bounded with ")
    options = json.loads(Path("whole/config.json").read_text())["options"]
    assert (options["bound"], options["pull"]) == (1.5, "linear:0:0.1:4")
    scratch("train", *NEW, "--epochs", 1, "--out", "parts")
    assert scratch("train", "--resume", "parts", "--epochs", 2).status == 0
    assert same_weights("whole", "parts")
    metrics = read_metrics("whole")
    assert without_times(metrics) == without_times(read_metrics("parts"))
    assert 0 < metrics[-1]["energy"] <= 6 * 1.5**2 and metrics[-1]["loss"] > metrics[-1]["reconstruction"]
    found = json.loads(scratch("evaluate", "whole", "--json").out)
    assert {"loss", "energy", "psnr", "ssim"} <= found.keys()
    assert found["energy"] == metrics[-1]["held_out_energy"]


def test_the_commands_on_a_run_take_it(scratch):
    assert scratch("train", *NEW, "--epochs", 1, "--out", "run").status == 0
    for argv in ("reconstruct run", "interpolate run", "encode run", "decode run run/codes.npz",
                 "pca run", "curves run --out c.png", "probe run", "retrieve run", "anomaly run --against shapes:pill",
                 "traverse run", "corners run",
                 "arithmetic run --factor shape --from 0 --to 1", "aggregate run", "downstream run"):
        result = scratch(*argv.split())
        assert result.status == 0, (argv, result.err)
    with np.load("run/codes.npz") as file:
        assert file["latents"].shape == (40, 6) and abs(file["latents"]).max() <= 1.5
    assert_one_sentence(scratch("sample", "run"), "bounded", "prior")
    assert_one_sentence(scratch("variations", "run"), "drawn at random")
    assert_one_sentence(scratch("mig", "run"), "mig", "bounded")


def test_its_option_is_swept(scratch):
    result = scratch("sweep", "bounded", *SMALL, "--epochs", 1, "--out", "s", "--over", "bound=0.5,4")
    assert result.status == 0, result.err
    runs = {run["settings"]["bound"]: run for run in json.loads(Path("s/sweep.json").read_text())["runs"]}
    assert list(runs) == ["0.5", "4"] and runs["0.5"]["energy"] < runs["4"]["energy"]
    assert Path("s/figures.png").exists()


@pytest.mark.parametrize("argv, parts", [
    ("train bounded --bund 1", ["--bund", "did you mean '--bound'?"]),
    ("train bounded --bound 0", ["--bound expected a number > 0"]),
    ("train bounded --pull linear:0:1", ["--pull", "linear:0:1"]),
    ("train ae --bound 1", ["--bound is an option of bounded; ae has no such option."]),
    ("train bonded", ["'bonded'", "did you mean 'bounded'?"]),
    ("train bounded --preset mlp", ["no recipe for bounded", "small or article"]),
])
def test_what_it_does_not_take(scratch, argv, parts):
    assert_one_sentence(scratch(*argv.split()), *parts)


def test_the_page_of_options_and_the_presets_know_it(scratch):
    page = scratch("options").out
    assert "| `bound` | a number > 0 | 2.0 | bound c of the numbers in the code | bounded |" in page
    assert PRESETS["article"].fits("bounded")
    model = library.build("bounded", (32, 32, 3), preset="article", bound=3.0, seed=0)
    assert model.options["latent_dim"] == 1024 and model.options["bound"] == 3.0


def test_help_lists_its_options(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["train", "--help"])
    text = capsys.readouterr().out
    assert "bounded" in text and "--bound X" in text and "bound c of the numbers in the code (default: 2.0)" in text


@pytest.mark.parametrize("program", ["scratch", "torch_ref"])
def test_its_gradients_are_checked_on_both_sides(request, program):
    result = request.getfixturevalue(program)("gradcheck", "BoundedBottleneck", "--json")
    found = json.loads(result.out)
    assert result.status == 0 and found["ok"]
    assert {row["tensor"] for row in found["rows"]} == {
        "h", "reduce.weight", "reduce.bias", "expand.weight", "expand.bias"}
    assert all(len(row["differences"]) == (2 if program == "torch_ref" else 1) for row in found["rows"])


def test_a_wrong_backward_is_found(scratch, bounded, monkeypatch):
    correct = bounded.backward
    monkeypatch.setattr(bounded, "backward", lambda self, dy, dterms: correct(self, dy, dterms) * 1.001)
    result = scratch("gradcheck", "BoundedBottleneck")
    assert result.status == 1 and "FAILED" in result.out


def test_both_sides_are_compared(torch_ref):  # noqa: F811
    options = ["--channels", "4,8", "--latent-dim", 6, "--bound", 1.5, "--pull", "linear:0:0.1:4"]
    result = torch_ref("compare", "bounded", *options, "--steps", 6, "--batch-size", 4, "--json")
    found = json.loads(result.out)
    assert result.status == 0 and found["ok"] and "bottleneck.expand.bias" in found["gradients"]


def test_the_oracle_trains_it_and_scratch_evaluates_that_run(torch_ref, scratch):  # noqa: F811
    torch_ref("train", *NEW, "--epochs", 2, "--out", "whole")
    torch_ref("train", *NEW, "--epochs", 1, "--out", "parts")
    assert torch_ref("train", "--resume", "parts", "--epochs", 2).status == 0
    assert same_weights("whole", "parts")
    ours, last = json.loads(scratch("evaluate", "whole", "--json").out), read_metrics("whole")[-1]
    for name in ("loss", "energy", "psnr"):
        assert ours[name] == pytest.approx(last[f"held_out_{name}"], rel=1e-4)


def test_the_library_has_it(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    model = library.build("bounded", (8, 8, 3), channels=[4], latent_dim=3, bound=0.5, seed=1)
    run = library.train(model, images, epochs=1, batch_size=8, out=tmp_path / "run", progress=False)
    assert abs(run.encode(images)).max() <= 0.5
    again = library.load(tmp_path / "run")
    assert (again.reconstruct(images) == run.reconstruct(images)).all()
