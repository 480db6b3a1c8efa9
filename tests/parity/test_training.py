"""Training: fifty steps side by side, the comparison that a user runs, and the two trainers behind one loop."""

import argparse
import itertools
import json
import math

import numpy as np
import pytest
import torch

from data_utils import batches, load
from scratch.accelerate.cpu.winograd import WinogradConv2d
from scratch.layers import Conv2d, ReLU
from scratch.losses import LIKELIHOODS
from scratch.optim import Adam
from scratch.optim import make_optimizer as make_scratch_optimizer
from scratch.options.presets import PRESETS, Preset
from scratch.training.trainer import Trainer as ScratchTrainer
from tests.support.beside_torch import NETWORKS, RESIDUAL, TINY, assert_all_close, assert_close, compared, torch_twin
from tests.support.models import build
from torch_ref import commands, compare
from torch_ref.bottlenecks import Bottleneck
from torch_ref.training import Trainer, make_optimizer, torch_device

SHAPE = (16, 16, 3)
MODELS = ("ae", "vae", "vqvae", "vqvae2", "dvae")
each_model = pytest.mark.parametrize("model", MODELS)
each_likelihood = pytest.mark.parametrize("likelihood", LIKELIHOODS)


@pytest.fixture(scope="module")
def images():
    return load("shapes", limit=80, image_size=16).train


def entropy(images, likelihood):
    """The Bernoulli loss of a perfect reconstruction, the least that a model can have, as grey pixels are not 0 or 1.
    For a Gaussian, whose loss can fall for long, the loss of a perfect reconstruction at the initial σ; for a logistic
    distribution the same at its initial scale of 1. For 256 logits, what remains once they know how frequent each value
    is."""
    if likelihood == "squared_error":
        return 0.0
    if likelihood == "gaussian":
        return images[0].size * (math.log(1 + math.exp(-6)) + 0.5 * math.log(2 * math.pi))
    if likelihood == "discretized_logistic":
        return images[0].size * math.log(4 * 255)
    if likelihood == "categorical":
        frequencies = torch.tensor(images).flatten().bincount() / images.size
        return images[0].size * float(torch.special.entr(frequencies).sum())
    x = torch.tensor(images / 255)
    return float((torch.special.entr(x) + torch.special.entr(1 - x)).sum()) / len(x)


def run_compare(model, images, likelihood="squared_error", **settings):
    """`compare` with accelerated forms, unless `plain`."""
    lr = {"vqvae": 3e-4, "vqvae2": 2e-4, "dvae": 3e-4}.get(model, 1e-3)  # at which enough codes stay in use
    if likelihood == "discretized_logistic" and Bottleneck.systems[model].has_codes:
        lr = 2e-4
    return compared(model, {**TINY, "likelihood": likelihood}, images, batch_size=16, lr=lr, **settings)


@each_likelihood
@each_model
@pytest.mark.parametrize("plain", [True, False])
def test_fifty_steps_of_adam_in_float64(model, likelihood, plain, images):
    """Weights whose gradient is near Adam's eps amplify rounding: hence two bounds, after one step and after fifty."""
    if likelihood == "categorical":  # which has 256 outputs for each number
        images = images[:, ::2, ::2, :1]
    result = run_compare(model, images, likelihood, steps=50, dtype="float64", plain=plain)
    assert max(row["difference"] for row in result["gradients"].values()) <= 1e-12
    assert len(result["losses"]["difference"]) == 50 and max(result["losses"]["difference"]) <= 1e-9
    assert result["weights"]["1"] <= 1e-9
    assert result["weights"]["50"] <= 1e-6
    weight = 1 / images[0].size if model in ("vqvae", "vqvae2") else 1
    first, *_, last = np.array(result["losses"]["torch"]) - weight * entropy(images, likelihood)
    assert last < (0.99 if likelihood == "categorical" else 0.9) * first, "it learned something"
    if Bottleneck.systems[model].has_codes:
        assert len(result["codes"]["agreement"]) == 50 and min(result["codes"]["agreement"]) == 1.0
        assert min(result["codes"]["in_use"]) >= 16
    assert result["ok"]


@pytest.mark.parametrize("plain", [True, False])
@each_model
def test_fifty_steps_with_residual_networks(model, plain, images):
    options = {**RESIDUAL, "likelihood": "squared_error"}
    lr = 2e-4 if model in ("vqvae2", "dvae") else 1e-3  # at which enough codes stay in use
    result = compared(model, options, images, batch_size=16, steps=50, plain=plain, lr=lr)
    assert result["ok"], result["checks"]
    assert result["losses"]["torch"][-1] < 0.9 * result["losses"]["torch"][0], "it learned something"


@pytest.mark.parametrize("model, network, plain", [
    ("vae", "mlp", True), ("ae", "pooling", False), ("vqvae", "pooling, group norm", True),
    ("vae", "group norm", False), ("ae", "batch norm", True), ("vae", "pooling, batch norm", True),
    ("vqvae", "batch norm", False), ("ae", "residual, group norm", True), ("vqvae", "residual, batch norm", False)])
def test_fifty_steps_with_every_network(model, network, plain, images):
    """With a BatchNorm2d, its running statistics also agree after fifty steps."""
    options = {**NETWORKS[network], "likelihood": "squared_error"}
    lr = 2e-4 if Bottleneck.systems[model].has_codes else 1e-3  # at which enough codes stay in use
    result = compared(model, options, images, batch_size=16, steps=50, plain=plain, lr=lr)
    assert result["ok"], result["checks"]
    assert result["losses"]["torch"][-1] < 0.9 * result["losses"]["torch"][0], "it learned something"


@each_model
def test_five_steps_of_adam_in_float32(model, images):
    result = run_compare(model, images, steps=5, dtype="float32")
    assert max(row["difference"] for row in result["gradients"].values()) <= 1e-4
    assert len(result["losses"]["difference"]) == 5 and max(result["losses"]["difference"]) <= 1e-4
    assert result["ok"]


# --- the comparison itself --------------------------------------------------------------------------------------------


def failed(result):
    return {check["name"] for check in result["checks"] if not check["ok"]}


@pytest.mark.parametrize("layer, plain", [(Conv2d, True), (WinogradConv2d, False)])
def test_a_wrong_gradient_breaks_the_bounds(layer, plain, monkeypatch, images):
    """An error of one part in a million, in one layer."""
    right = layer.backward
    monkeypatch.setattr(layer, "backward", lambda self, dy: right(self, dy * (1 + 1e-6)))
    result = run_compare("ae", images, steps=2, plain=plain)
    assert not result["ok"] and "gradients" in failed(result)
    assert result["gradients"]["encoder.0.weight"]["difference"] > 1e-7
    assert result["gradients"]["decoder.0.weight"]["difference"] < 1e-12


def test_a_wrong_update_breaks_the_bounds(monkeypatch, images):
    right = Adam.lr.fget
    monkeypatch.setattr(Adam, "lr", property(lambda self: right(self) * (1 + 1e-6 * self.steps)))
    assert failed(run_compare("ae", images, steps=5)) >= {"losses"}


def test_a_nan_breaks_the_bounds(monkeypatch, images):
    right = ReLU.backward
    monkeypatch.setattr(ReLU, "backward", lambda self, dy: right(self, dy) * float("nan"))
    assert {"gradients", "losses", "weights, first step"} <= failed(run_compare("ae", images, steps=2))


def test_too_few_codes_in_use_are_a_failure(monkeypatch, images):
    monkeypatch.setattr(compare, "use_many_codes", lambda *arguments: None)
    result = run_compare("vqvae", images, steps=20)
    assert failed(result) == {"fewest codes in use"}


def test_a_gradient_that_vanishes_is_measured_against_the_others():
    """A gradient that is truly zero holds only rounding. There alone the scale is the model's largest.
    """
    theirs = {"weight": np.array([2.0, 1.0]), "before a norm": np.array([1e-17, 0.0]), "small": np.array([1e-6, 1e-9])}
    ours = {"weight": np.array([2.0, 1.0]), "before a norm": np.array([3e-17, 0.0]), "small": np.array([1.1e-6, 1e-9])}
    found = compare.gradient_differences(ours, theirs)
    assert found == pytest.approx({"weight": 0.0, "before a norm": 1e-17, "small": 0.1})
    ours["before a norm"] = np.array([1e-3, 0.0])
    assert compare.gradient_differences(ours, theirs)["before a norm"] == pytest.approx(5e-4)


def test_batches_run_through_epochs():
    images = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)
    drawn = [compare.batch_at(images, step, 4, seed=3).ravel() for step in range(6)]
    assert [len(batch) for batch in drawn] == [4, 4, 2, 4, 4, 2]
    first, second = np.concatenate(drawn[:3]), np.concatenate(drawn[3:])
    assert sorted(first) == sorted(second) == list(range(10))
    assert first.tolist() != second.tolist()


def command_line(*arguments):
    parser = argparse.ArgumentParser()
    commands.add_compare_arguments(parser)
    return commands.run_compare(parser.parse_args(arguments))


def test_the_command_line(monkeypatch, capsys):
    monkeypatch.setitem(PRESETS, "small", Preset(TINY))
    assert command_line("vae", "--steps", "3", "--batch-size", "8", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["ok"] is True and result["model"] == "vae" and len(result["losses"]["torch"]) == 3

    assert command_line("vqvae", "--steps", "3", "--batch-size", "8", "--dtype", "float32") in (0, 1)
    printed = capsys.readouterr().out
    assert "bottleneck.quantizer.codebook" in printed and "codes in use" in printed
    assert "only the gradients and the first five losses are judged" in printed

    monkeypatch.setitem(compare.BOUNDS["float64"], "gradients", 1e-30)
    assert command_line("ae", "--steps", "1", "--batch-size", "8") == 1
    assert "BROKEN" in capsys.readouterr().out


# --- the trainers -----------------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "adam": {"optimizer": "adam", "lr": 1e-3, "momentum": 0.9, "weight_decay": 0.0},
    "adamw": {"optimizer": "adam", "lr": 1e-3, "momentum": 0.9, "weight_decay": 0.1},
    "sgd": {"optimizer": "sgd", "lr": 1e-4, "momentum": 0.9, "weight_decay": 0.0},
}


def trainers(model, optimizer="adam", seed=4, dtype=np.float64):
    """Scratch's trainer and torch's, of the same model with the same weights."""
    options = {**TINY, "likelihood": "squared_error", **OPTIMIZERS[optimizer]}
    ours = build(model, SHAPE, options, dtype=dtype, rng=np.random.default_rng(0))
    theirs = torch_twin(ours, model, SHAPE, options)
    return (ScratchTrainer(ours, make_scratch_optimizer(ours.named_parameters(), options), seed),
            Trainer(theirs, make_optimizer(theirs.parameters(), options), seed))


def some_images(count, dtype=np.float64):
    return np.random.default_rng(1).uniform(size=(count, *SHAPE)).astype(dtype)


def compare_answers(ours, theirs, ours_answer, theirs_answer):
    """The answers are those of `step`, or of `evaluate`, which has a list with the squared errors as well."""
    (terms, counts, *measured), (terms_torch, counts_torch, *measured_torch) = ours_answer, theirs_answer
    assert list(terms) == list(terms_torch)
    np.testing.assert_allclose(ours.read(list(terms.values())), theirs.read(list(terms_torch.values())), rtol=1e-9)
    assert list(counts) == list(counts_torch)
    for level, used in counts.items():
        np.testing.assert_array_equal(ours.read_array(used), theirs.read_array(counts_torch[level]))
    for [errors], [errors_torch] in zip(measured, measured_torch, strict=True):
        assert_close(ours.read_array(errors), theirs.read_array(errors_torch), 1e-9, "squared error")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@each_model
def test_the_trainers_step_alike(model, optimizer):
    """Both draw the noise of a step from (seed, epoch, step), and use the same names of terms, weights and moments."""
    ours, theirs = trainers(model, optimizer)
    x = some_images(8)
    for step in range(4):
        compare_answers(ours, theirs, ours.step(x, 2, step), theirs.step(x, 2, step))
    noise = ours.draw_noise(8, np.random.default_rng(7))
    noise_torch = theirs.draw_noise(8, np.random.default_rng(7))
    np.testing.assert_array_equal(noise, noise_torch)
    compare_answers(ours, theirs, ours.evaluate(x, noise), theirs.evaluate(x, noise))
    (weights, moments, steps), (weights_torch, moments_torch, steps_torch) = ours.state(), theirs.state()
    assert steps == steps_torch == 4
    assert_all_close(weights, weights_torch, 1e-9)
    assert_all_close(moments, moments_torch, 1e-9)


def test_every_step_and_every_shuffle_has_a_random_stream_of_its_own(monkeypatch):
    """NumPy pads a list of seeds with zeros, so [seed, epoch] and [seed, epoch, 0] would give the same stream."""
    drawn = {}
    for trainer in trainers("vae", seed=3):
        orders = drawn[type(trainer)] = []

        def draw_noise(count, rng, orders=orders):
            orders.append(rng.permutation(50))
            return rng.standard_normal((count, TINY["latent_dim"]))

        monkeypatch.setattr(trainer, "draw_noise", draw_noise)  # torch's trainer asks itself, ours the bottleneck
        monkeypatch.setattr(trainer.model.bottleneck, "draw_noise", draw_noise, raising=False)
        for epoch, step in itertools.product(range(3), range(3)):
            trainer.step(some_images(1), epoch, step)
    ours, theirs = drawn.values()
    np.testing.assert_array_equal(ours, theirs)
    shuffles = [next(batches(50, 50, 3, epoch)) for epoch in range(3)]
    assert len({tuple(order) for order in [*ours, *shuffles]}) == 9 + 3


@each_model
def test_each_trainer_continues_from_the_other_s_state(model):
    ours, theirs = trainers(model)
    x = some_images(8)
    for step in range(3):
        ours.step(x, 1, step)
    other, other_torch = trainers(model)
    other_torch.load(*ours.state())
    other.load(*other_torch.state())
    for step in range(3, 6):
        answer = ours.step(x, 1, step)
        compare_answers(ours, theirs, answer, other_torch.step(x, 1, step))
        compare_answers(ours, other, answer, other.step(x, 1, step))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_torch_continues_exactly(optimizer):
    """Saving and loading in the middle, or before the first step, does not change a bit in float32."""
    x = some_images(8, np.float32)

    def train(save_at):
        _, trainer = trainers("vae", optimizer, dtype=np.float32)
        for step in range(5):
            if step == save_at:
                state = trainer.state()
                trainer.step(x, 9, 9)  # what happens after the save is not in it
                _, trainer = trainers("vae", optimizer, dtype=np.float32)
                trainer.load(*state)
            trainer.step(x, 1, step)
        return trainer.state()

    (weights, moments, steps), *others = train(None), train(0), train(3)
    for other_weights, other_moments, other_steps in others:
        assert other_steps == steps == 5
        for one, other in ((weights, other_weights), (moments, other_moments)):
            assert one.keys() == other.keys()
            assert all(np.array_equal(one[name], other[name]) for name in one)


def test_state_before_the_first_step_is_zeros_in_the_parameters_shapes():
    for optimizer in OPTIMIZERS:
        ours, theirs = trainers("vae", optimizer)
        expected = ours.state()[1]
        moments = theirs.state()[1]
        assert {name: a.shape for name, a in moments.items()} == {name: a.shape for name, a in expected.items()}
        assert not any(array.any() for array in moments.values())


def test_evaluation_changes_nothing_and_its_squared_error_is_of_the_mean():
    """The terms draw z with the given noise, the reconstruction does not."""
    _, trainer = trainers("vae")
    x = some_images(8)
    before = trainer.state()
    rng = np.random.default_rng(0)
    terms_a, _, [error_a] = trainer.evaluate(x, trainer.draw_noise(8, rng))
    terms_b, _, [error_b] = trainer.evaluate(x, trainer.draw_noise(8, rng))
    assert trainer.read([terms_a["reconstruction"]]) != trainer.read([terms_b["reconstruction"]])
    assert trainer.read([terms_a["kl"]]) == trainer.read([terms_b["kl"]])
    np.testing.assert_array_equal(error_a, error_b)
    assert not terms_a["loss"].requires_grad and error_a.shape == (8,)
    assert trainer.model.training
    assert all(np.array_equal(array, before[0][name]) for name, array in trainer.state()[0].items())


def test_a_step_leaves_the_images_alone_and_keeps_no_graph():
    _, trainer = trainers("vqvae")
    x = some_images(4)
    copy = x.copy()
    terms, counts = trainer.step(x, 1, 0)
    np.testing.assert_array_equal(x, copy)
    assert all(term.ndim == 0 and not term.requires_grad for term in terms.values())
    assert counts[""].sum() == 4 * 4 * 4 and counts[""].shape == (TINY["codes"],)
    assert trainer.read([]) == []


def test_devices():
    assert torch_device("cpu") == torch.device("cpu")
    for name in ("tpu", "cpu:0", "gpu:x", "gpu:-1", ""):
        with pytest.raises(ValueError, match="use cpu, gpu or gpu:N"):
            torch_device(name)
    with pytest.raises(ValueError, match=r"finds \d+ NVIDIA GPU\(s\) here"):
        torch_device("gpu:99")


def test_environment_is_text():
    _, trainer = trainers("ae")
    environment = trainer.environment()
    assert environment["torch"] == torch.__version__
    assert all(isinstance(value, str) for value in environment.values())


def test_unknown_optimizer():
    with pytest.raises(ValueError, match="adam or sgd"):
        make_optimizer([torch.nn.Parameter(torch.zeros(1))], {"optimizer": "lion", "lr": 1, "weight_decay": 0})
