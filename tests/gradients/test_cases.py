"""Every operation that `gradcheck` lists, against finite differences and autograd. The checker itself has to find
errors."""

import argparse
import json

import numpy as np
import pytest
import torch

import scratch.bottlenecks
import scratch.commands.gradcheck
import scratch.gradcheck.table
import scratch.layers
import scratch.losses
import torch_ref.gradcheck
from scratch.gradcheck.cases import CASES, Case
from scratch.gradcheck.cases.layers import layer
from scratch.gradcheck.differences import BOUND, attempt, check, finite_differences
from scratch.gradcheck.table import run_case, run_model
from scratch.layers import Conv2d, Linear, Tanh
from scratch.options.errors import InputError
from tests.gradients.planted.mistake import Mistake, planted
from torch_ref.gradcheck import AUTOGRAD, twin
from torch_ref.layers import ResidualBlock

NAMES = [f"{case.name} {case.detail}".strip() for case in CASES]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_every_case_agrees_with_finite_differences(case, seed):
    for row in run_case(case, seed):
        assert row.differences["finite differences"] <= 1e-7, row.tensor
        assert row.ok


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_every_case_agrees_with_autograd(case):
    for row in run_case(case, columns=[AUTOGRAD]):
        assert row.differences["autograd"] <= 1e-12, row.tensor


def test_nothing_with_a_backward_is_left_out():
    bottlenecks = {name for name in scratch.bottlenecks.__all__
                   if "backward" in dir(getattr(scratch.bottlenecks, name))} - {"Bottleneck", "QuantizedBottleneck"}
    exported = {*scratch.layers.__all__, *bottlenecks, "SquaredError", "Gaussian", "BernoulliFromLogits",
                "LogitLaplace", "DiscretizedLogistic", "Categorical"}
    assert exported <= {case.name for case in CASES}
    assert {kind.__name__ for kind in scratch.losses.LIKELIHOODS.values()} <= exported


STRAIGHT_THROUGH = [case for case in CASES if case.name in ("VectorQuantizer", "VectorQuantizedBottleneck")
                    or case.arguments.get("hard")]


@pytest.mark.parametrize("case", STRAIGHT_THROUGH, ids=[f"{case.name} {case.detail}" for case in STRAIGHT_THROUGH])
def test_the_straight_through_surrogate_has_the_values_of_the_forward_pass(case):
    operation = case.build(np.random.default_rng(0))
    forward, surrogate = operation.forward(), operation.surrogate()
    assert forward.keys() == surrogate.keys()
    for output in forward:
        np.testing.assert_allclose(surrogate[output], forward[output], rtol=0, atol=1e-14)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_check_leaves_its_tensors_as_they_were(case):
    rng = np.random.default_rng(0)
    operation = case.build(rng)
    before = {name: tensor.copy() for name, tensor in operation.tensors.items()}
    check(operation, rng)
    for name, tensor in operation.tensors.items():
        np.testing.assert_array_equal(tensor, before[name])


def test_the_inputs_of_a_kinked_operation_keep_their_distance_from_its_kinks():
    far = 0.1 - 1e-12
    for case in CASES:
        x = case.build(np.random.default_rng(0)).tensors.get("x")
        if case.name in ("ReLU", "LeakyReLU"):
            assert np.abs(x).min() >= far and x.min() < 0 < x.max()
        if case.name == "MaxPool2d":
            assert np.diff(np.sort(x.ravel())).min() >= far


# --- mutations: a check that cannot fail proves nothing ---------------------------------------------------------------

LINEAR = Case("Linear", dict(in_features=4, out_features=3), (5, 4), layer)
CONV = Case("Conv2d", dict(in_channels=2, out_channels=3, kernel_size=3, stride=2, padding=1), (2, 5, 6, 2), layer)
TANH = Case("Tanh", {}, (3, 4), layer)


def differences(case):
    return check(case.build(np.random.default_rng(0)), np.random.default_rng(1))


def test_a_missing_factor_is_caught(monkeypatch):
    monkeypatch.setattr(Tanh, "backward", lambda self, dy: dy * (1 - self.recall()[0]))
    assert differences(TANH)["x"] > 1e-3


def test_a_factor_off_by_a_millionth_is_caught(monkeypatch):
    correct = Tanh.backward
    monkeypatch.setattr(Tanh, "backward", lambda self, dy: correct(self, dy) * (1 + 1e-6))
    assert BOUND < differences(TANH)["x"] < 1e-5


def test_a_wrong_sign_is_caught(monkeypatch):
    correct = Linear.backward
    monkeypatch.setattr(Linear, "backward", lambda self, dy: -correct(self, dy))
    found = differences(LINEAR)
    assert found["x"] > 0.1
    assert found["weight"] <= BOUND and found["bias"] <= BOUND


def test_a_missing_bias_gradient_is_caught(monkeypatch):
    def backward(self, dy):
        (x,) = self.recall()
        self.weight.accumulate(x.T @ dy)
        return dy @ self.weight.value.T

    monkeypatch.setattr(Linear, "backward", backward)
    found = differences(LINEAR)
    assert found["bias"] > 0.1
    assert found["x"] <= BOUND and found["weight"] <= BOUND


def test_a_flipped_kernel_is_caught_though_ones_upstream_and_ones_in_would_hide_it(monkeypatch):
    correct = Conv2d.backward

    def backward(self, dy):
        dx = correct(self, dy)
        self.weight.grad = self.weight.grad[::-1].copy()
        return dx

    monkeypatch.setattr(Conv2d, "backward", backward)
    assert differences(CONV)["weight"] > 0.1


def test_a_gradient_of_another_shape_is_refused_rather_than_broadcast(monkeypatch):
    correct = Linear.backward

    def backward(self, dy):
        dx = correct(self, dy)
        self.bias.grad = self.bias.grad[:1]
        return dx

    monkeypatch.setattr(Linear, "backward", backward)
    with pytest.raises(ValueError, match=r"bias has shape \(3,\), its gradient \(1,\)"):
        differences(LINEAR)


def test_a_nan_is_no_agreement():
    operation = TANH.build(np.random.default_rng(0))
    trial = attempt(operation, np.random.default_rng(0))
    trial.gradients["x"][0, 0] = np.nan
    assert not finite_differences(trial, np.random.default_rng(1))["x"] <= BOUND


@pytest.mark.parametrize("term", ["codebook", "commitment"])
def test_a_quantizer_that_exchanges_or_drops_its_terms_is_caught(monkeypatch, term):
    """The codebook loss taken after the straight-through line (trap 4), β on the wrong term (trap 3)."""
    quantizer = scratch.bottlenecks.VectorQuantizer
    correct = quantizer.backward
    monkeypatch.setattr(quantizer, "backward", lambda self, dq, dterms: correct(self, dq, {**dterms, term: 0.0}))
    (case,) = [case for case in CASES if case.name == "VectorQuantizer"]
    assert differences(case)["codebook" if term == "codebook" else "z"] > 0.1


def test_autograd_catches_a_wrong_gradient_too(monkeypatch):
    correct = Tanh.backward
    monkeypatch.setattr(Tanh, "backward", lambda self, dy: correct(self, dy) * (1 + 1e-9))
    (row,) = run_case(TANH, columns=[AUTOGRAD])
    assert row.differences["autograd"] > 1e-12 and not row.ok


# --- the command ------------------------------------------------------------------------------------------------------


def command(module, *words):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return module.run(parser.parse_args(words))


def test_the_table_has_a_line_for_each_gradient_and_ends_with_zero(capsys):
    assert command(scratch.commands.gradcheck, "linear", "GaussianKL") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["operation", "gradient", "of", "shape", "finite", "differences"]
    assert [line.split()[-1] for line in lines[1:8]] == ["ok"] * 7  # x, weight, bias; x, weight; mu, logvar
    assert "7 gradients, none out of bounds" in lines[-1]


@pytest.mark.parametrize("module, titles", [
    (scratch.commands.gradcheck, ["finite differences"]),
    (torch_ref.gradcheck, ["finite differences", "autograd"]),
])
def test_json_holds_what_the_table_shows(capsys, module, titles):
    assert command(module, "Conv2d", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["ok"] and list(printed["bounds"]) == titles
    assert {row["tensor"] for row in printed["rows"]} == {"x", "weight", "bias"}
    for row in printed["rows"]:
        assert row["ok"] and list(row["differences"]) == titles
        assert all(row["differences"][title] <= printed["bounds"][title] for title in titles)


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_failure_is_marked_and_ends_with_one(capsys, monkeypatch, flags):
    correct = Tanh.backward
    monkeypatch.setattr(Tanh, "backward", lambda self, dy: 2 * correct(self, dy))
    assert command(scratch.commands.gradcheck, "Tanh", "Sigmoid", *flags) == 1
    printed = capsys.readouterr().out
    if flags:
        assert [row["ok"] for row in json.loads(printed)["rows"]] == [True, False]
        assert not json.loads(printed)["ok"]
    else:
        assert printed.count("FAILED") == 1 and "1 out of bounds" in printed


def test_an_unknown_name_is_refused_with_the_nearest_and_the_known_ones():
    with pytest.raises(InputError, match=r"'Conv3d'.*did you mean 'Conv2d'\?.*ConvTranspose2d.*TwoLevelBottleneck\.$"):
        command(scratch.commands.gradcheck, "Conv3d")
    with pytest.raises(InputError, match=r"unknown model 'vea'.*'vae'"):
        command(scratch.commands.gradcheck, "--model", "vea")


@pytest.mark.parametrize("module", [scratch.commands.gradcheck, torch_ref.gradcheck])
@pytest.mark.parametrize("old, new, says", [
    ("self.column_sums(dy)", "dy", "bias has shape (3,), its gradient (5, 3)"),
    ("self.weight.value.T", "self.weight.value", "ValueError in backward, scratch/layers/linear.py:"),
])
def test_a_wrong_shape_or_an_exception_is_a_row_and_the_table_goes_on(capsys, module, old, new, says):
    with planted(Mistake("Linear", "scratch.layers.linear.Linear.backward", old, new, "", "")):
        assert command(module, "Linear", "Tanh") == 1
        printed = capsys.readouterr().out
        assert command(module, "Linear", "Tanh", "--json") == 1
        rows = json.loads(capsys.readouterr().out)["rows"]
    assert f"FAILED: {says}" in printed and printed.count(says) >= 2  # in the table, and below it
    assert [row["ok"] for row in rows if row["name"] == "Tanh"] == [True]
    assert any(says in row["reason"] for row in rows)


def test_failures_stand_under_the_table_with_what_they_look_like_and_where(capsys):
    mistake = Mistake("Linear", "scratch.layers.linear.Linear.backward", "x.T @ dy", "2 * x.T @ dy", "", "")
    with planted(mistake):
        assert command(scratch.commands.gradcheck, "Linear") == 1
        below = capsys.readouterr().out.split("\n\n")[1]
        assert command(scratch.commands.gradcheck, "Linear", "--json") == 1
        (row, _) = [row for row in json.loads(capsys.readouterr().out)["rows"] if not row["ok"]]
    assert "Linear weight 4×3: wrong, finite differences " in below
    assert "looks like twice the right gradient: the ratio is 2.000 at every coordinate" in below
    assert "Linear.backward, scratch/layers/linear.py:" in below
    assert row["finding"]["kind"] == "factor" and row["finding"]["text"].startswith("looks like twice")
    assert row["where"].startswith("Linear.backward, scratch/layers/linear.py:")


# --- whole models -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", sorted(scratch.bottlenecks.bottleneck.Bottleneck.systems))
def test_a_whole_model_is_checked_in_every_parameter_and_the_image(system):
    rows = run_model(system)
    assert all(row.ok for row in rows), [row.tensor for row in rows if not row.ok]
    assert rows[0].tensor == "image" and len(rows) > 10
    assert {row.tensor.partition(".")[0] for row in rows[1:]} >= {"encoder", "bottleneck", "decoder"}


def test_the_part_of_a_model_that_is_wrong_is_named():
    with planted(Mistake("Linear", "scratch.layers.linear.Linear.backward", "x.T @ dy", "x.T @ dy / len(x)", "", "")):
        failed = {row.tensor: row for row in run_model("vae") if not row.ok}
    assert failed.keys() == {"bottleneck.mu.weight", "bottleneck.logvar.weight", "bottleneck.expand.weight"}
    row = failed["bottleneck.mu.weight"]
    assert "1/N of the right gradient" in str(row.finding) and "⅓" not in str(row.finding)
    assert row.where.startswith("in bottleneck.mu: Linear.backward, scratch/layers/linear.py:")


def test_a_term_of_a_model_that_is_forgotten_is_named():
    mistake = Mistake("x", "scratch.bottlenecks.gaussian.GaussianBottleneck.backward", "dlogvar + dlogvar_kl",
                      "dlogvar", "", "")
    with planted(mistake):
        failed = {row.tensor: row for row in run_model("vae") if not row.ok}
    assert "without the share of kl" in str(failed["bottleneck.logvar.weight"].finding)
    assert "GaussianBottleneck.backward" in failed["bottleneck.logvar.weight"].where


def test_the_command_checks_whole_models(capsys):
    assert command(scratch.commands.gradcheck, "--model", "ae", "--json") == 0
    assert {row["name"] for row in json.loads(capsys.readouterr().out)["rows"]} == {"ae"}
    with pytest.raises(InputError, match="one of them"):
        command(scratch.commands.gradcheck, "Linear", "--model", "ae")


def test_a_class_of_the_same_name_in_another_package_is_no_twin():
    """torchvision.models has a ResidualBlock, which counts among torch.nn.Module's descendants once it is imported."""
    other = type("ResidualBlock", (torch.nn.Module,), {"__module__": "torchvision.models.optical_flow.raft"})
    assert twin("ResidualBlock") is ResidualBlock is not other
