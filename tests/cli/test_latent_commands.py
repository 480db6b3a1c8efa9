"""The commands in the space of codes: traverse, corners, arithmetic, aggregate, mig."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from data_utils import load
from scratch.instruments.vector_codes import code_space
from scratch.runs.run import Run
from scratch.runs.trained import Trained
from tests.cli.test_commands import picture
from tests.cli.test_errors import assert_one_sentence
from tests.support.command_line import MODELS, SMALL

ARITHMETIC = ["arithmetic", "--factor", "shape", "--from", "0", "--to", "2"]


def on(run, words):
    return [words[0], run, *words[1:]]


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("model", ["ae", "vae"])
def test_each_draws_its_picture(scratch, trained, cupy, model, device):
    folder = trained(model)
    for words, name in (
        (["traverse", "--index", 3, "--dimensions", 4, "--span", 2, "--steps", 5], "traversals.png"),
        (["corners", "--index", 0, 5, 6, 7, "--steps", 4], "corners.png"),
        ([*ARITHMETIC, "--amount", 2, "--count", 4], "arithmetic.png"),
        (["aggregate", "--colour", "x"], "aggregate.png"),
    ):
        result = scratch(*on(folder, words), "--device", device)
        assert result.status == 0, result.err
        assert picture(Path(folder, name)).std() > 5
        assert scratch(*on(folder, words), "--out", "other.png").status == 0
        assert (picture("other.png") == picture(Path(folder, name))).mean() > 0.99
    assert not Path(folder, "code_grid.png").exists()


def test_dimensions_are_ordered_by_what_they_carry(scratch, trained):
    held_out = load("shapes", limit=40, image_size=16).held_out
    folder = trained("vae")
    kl = json.loads(scratch("evaluate", folder, "--json").out)["kl_per_dimension"]
    np.testing.assert_allclose(code_space(Trained(Run.open(folder)), held_out).importance, kl, rtol=1e-4)
    ae = Trained(Run.open(trained("ae")))
    space, z = code_space(ae, held_out), ae.encode(held_out)
    np.testing.assert_allclose(space.importance, z.var(axis=0), rtol=1e-4)
    np.testing.assert_allclose((z - space.centre) / space.scale @ np.ones(6) / 40 @ np.ones(40), 0, atol=1e-4)


@pytest.mark.parametrize("model", ["ae", "vae"])
def test_codes_of_two_numbers_are_drawn_as_a_grid_too(scratch, model):
    scratch("train", model, *SMALL, "--latent-dim", 2, "--epochs", 1, "--out", "two")
    result = scratch("aggregate", "two")
    assert result.out.count("wrote") == 2 and picture("two/code_grid.png").std() > 5
    scratch("train", model, *SMALL, "--latent-dim", 1, "--epochs", 1, "--out", "one")
    assert_one_sentence(scratch("aggregate", "one"), "two dimensions", "one has one")
    assert scratch("mig" if model == "vae" else "traverse", "one").status == 0


def test_the_gap_and_its_parts(scratch, trained):
    folder = trained("vae")
    found = json.loads(scratch("mig", folder, "--json").out)
    gaps = [factor["gap"] for factor in found["factors"].values()]
    assert list(found["factors"]) == ["shape", "colour", "size", "rotation", "x", "y", "background"]
    assert found["mig"] == pytest.approx(np.mean(gaps), rel=1e-12)
    for factor in found["factors"].values():
        falling = sorted(factor["nats"], reverse=True)
        assert len(falling) == 6 and 0 <= falling[-1] and falling[0] <= factor["entropy"]
        assert factor["gap"] == pytest.approx((falling[0] - falling[1]) / factor["entropy"], rel=1e-9)
    printed = scratch("mig", folder)
    assert f"gap {found['mig']:.4f}" in printed.out and picture(Path(folder, "mig.png")).std() > 5


@pytest.mark.parametrize("words", [["traverse"], ["corners"], ARITHMETIC, ["aggregate"]])
def test_a_grid_of_indices_has_no_directions(scratch, trained, words):
    assert_one_sentence(scratch(*on(trained("vqvae"), words)), words[0], "vqvae", "ae or vae")


def test_what_is_not_known_or_not_there(scratch, trained, monkeypatch):
    vae, ae = trained("vae"), trained("ae")
    assert_one_sentence(scratch("traverse", vae, "--index", 40), "40")
    assert_one_sentence(scratch("corners", vae, "--index", 0, 1, 2, 99), "99")
    assert_one_sentence(scratch("aggregate", vae, "--colour", "taste"), "taste", "rotation")
    assert_one_sentence(scratch("mig", ae), "mig", "run of ae")
    for words, parts in (
        (["--factor", "taste", "--from", "0", "--to", "1"], ["taste", "background"]),
        (["--factor", "shape", "--from", "0", "--to", "9"], ["shape of 9", "0 to 3"]),
        (["--factor", "x", "--from", "0.4..0.5", "--to", "0.9..1"], ["x of 0.9..1"]),
        (["--factor", "x", "--from", "left", "--to", "1"], ["'left'", "LOW..HIGH"]),
    ):
        assert_one_sentence(scratch("arithmetic", vae, *words), *parts)
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    assert_one_sentence(scratch("mig", vae), "pip install scipy")


def test_a_sweep_without_scipy_has_no_gap_and_says_so(scratch, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    argv = ["sweep", "vae", *SMALL, *MODELS["vae"], "--epochs", 1, "--over", "beta=1", "--out", "s"]
    assert scratch(*argv).status == 0
    (run,) = json.loads(Path("s/sweep.json").read_text())["runs"]
    assert "mig" not in run and "pip install scipy" in run["no_mig"]
