"""`--code-groups`: from training to bits, samples and back, on tiny models."""

import json
from pathlib import Path

import numpy as np
import pytest

import scratch as library
from scratch.runs.examples import load_examples
from tests.cli.test_errors import assert_one_sentence
from tests.cli.test_new_bottleneck import same_weights
from tests.cli.test_prior import SIZES
from tests.cli.test_torch_ref import torch_ref  # noqa: F401  (a fixture)
from tests.support.command_line import MODELS, SMALL, read_metrics, without_times

GROUPED = [*SMALL, *MODELS["vqvae"], "--code-groups", 2, "--codebook-init", "normal"]


@pytest.fixture
def grouped(scratch):
    """grouped("vqvae") -> (the folder of a run of two epochs, that of a prior over its codes)."""
    def train(model, *options):
        for command in ([model, *GROUPED, *options, "--out", "run"],
                        ["prior", "--of", "run", *SIZES, "--out", "prior"]):
            result = scratch("train", *command, "--epochs", 2)
            assert result.status == 0, result.err
        return Path("run"), Path("prior")

    return train


def test_bits_samples_and_completions(scratch, grouped):
    pytest.importorskip("constriction")
    run, prior = grouped("vqvae", "--likelihood", "discretized_logistic")
    assert json.loads((prior / "config.json").read_text())["options"]["grids"] == "4x4x2"
    found = json.loads(scratch("bits", run, "--prior", prior, "--coder", 2, "--json").out)
    assert found["fixed"] == 4 * 4 * 2 * 4 and found["levels"][""]["grid"] == [4, 4, 2]
    assert found["prior"] == pytest.approx(read_metrics(prior)[-1]["held_out_bits"], rel=1e-5)
    assert found["coder"]["bits"] == pytest.approx(found["coder"]["bound"], rel=0.01)
    assert "log2 16 bits for each of 4×4×2" in scratch("bits", run).out
    for command in (["sample", run], ["sample", prior], ["complete", prior, "--rows", 2], ["likelihood", prior],
                    ["interpolate", run], ["evaluate", run], ["anomaly", run, "--against", "shapes:pill"]):
        result = scratch(*command)
        assert result.status == 0, result.err
    codes = library.load(run).encode(load_examples(library.load(run).options).held_out[:3])
    rows = np.concatenate([np.zeros((3, 1), np.int64), codes.reshape(3, -1)], axis=1)
    written = library.load(prior).complete(rows, 2)
    assert written.shape == (3, 4, 4, 2) and np.array_equal(written[:, :2], codes[:, :2])
    assert library.load(run).decode(library.load(prior).write(2)).shape == (2, 16, 16, 3)


@pytest.mark.usefixtures("no_pictures")
def test_codes_go_to_a_file_and_back(scratch, grouped):
    run, _ = grouped("vqvae")
    assert "codes (40, 4, 4, 2) uint8" in scratch("encode", run, "--out", "c.npz").out
    assert scratch("decode", run, "c.npz", "--out", "d.npz").status == 0
    trained = library.load(run)
    images = load_examples(trained.options).held_out
    with np.load("c.npz") as file:
        np.testing.assert_array_equal(file["codes"], trained.encode(images))
    with np.load("d.npz") as file:
        np.testing.assert_array_equal(file["images"], np.rint(255 * trained.reconstruct(images)).astype(np.uint8))


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("model, cures", [
    ("vqvae", []), ("vqvae2", ["--codebook-update", "ema", "--restart-after", 2, "--codebook-init", "kmeans"])])
def test_it_resumes_bit_for_bit(scratch, grouped, model, cures):
    whole, prior = grouped(model, *cures)
    assert scratch("train", model, *GROUPED, *cures, "--epochs", 1, "--out", "parts").status == 0
    result = scratch("train", "--resume", "parts", "--epochs", 2)
    assert result.status == 0, result.err
    assert same_weights(whole, "parts")
    assert without_times(read_metrics(whole)) == without_times(read_metrics("parts"))
    grids = json.loads((prior / "config.json").read_text())["options"]["grids"]
    assert grids == ("4x4x2,8x8x2" if model == "vqvae2" else "4x4x2")


@pytest.mark.usefixtures("no_pictures")
def test_two_workers_learn_the_same(scratch):
    for workers in (1, 2):
        result = scratch("train", "vqvae", *GROUPED, "--epochs", 2, "--dtype", "float64", "--workers", workers,
                         "--out", workers)
        assert result.status == 0, result.err
    one, two = (read_metrics(str(workers))[-1] for workers in (1, 2))
    assert two["held_out_loss"] == pytest.approx(one["held_out_loss"], rel=1e-10)
    assert two["codes_used_group_2"] == one["codes_used_group_2"] >= 1


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("model, more", [("vqvae", ["--given", "caption"]), ("vqvae2", [])])
def test_both_sides_of_the_prior_are_compared(torch_ref, grouped, model, more):  # noqa: F811
    grouped(model)
    found = json.loads(torch_ref("compare", "prior", "--of", "run", *SIZES[:6], *more, "--steps", 8, "--json").out)
    assert found["ok"], found["checks"]


def test_the_oracle_trains_groups(torch_ref):  # noqa: F811
    result = torch_ref("train", "vqvae", *GROUPED, "--epochs", 1, "--out", "theirs")
    assert result.status == 0, result.err
    assert library.load("theirs").encode(np.zeros((1, 16, 16, 3), np.uint8)).shape == (1, 4, 4, 2)


def test_groups_that_do_not_divide_the_channels(scratch, torch_ref):  # noqa: F811
    assert_one_sentence(scratch("train", "vqvae", "--code-groups", 3, "--out", "x"),
                        "--code-groups 3 codebooks cannot have equal shares of a --code-dim of 8: choose a number")
    assert not Path("x").exists()
    assert_one_sentence(torch_ref("train", "vqvae", "--code-groups", 3, "--out", "x"), "3", "8")
