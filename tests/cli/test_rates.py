"""`train vae` with free bits, a capacity, a cyclical β and a learned σ."""

import json
from pathlib import Path

import pytest

from tests.support.command_line import MODELS, SMALL, caller, read_metrics, without_times
from torch_ref.commands import build_parser

ASKED = {  # options, and the metrics that a run has for them
    "free bits": (["--free-bits", 0.1], {"kl", "kl_free"}),
    "capacity": (["--capacity", "linear:0:5:6", "--beta", 10], {"kl", "kl_gap"}),
    "cyclical": (["--beta", "cyclical:0:1:4"], {"kl"}),
    "gaussian": (["--likelihood", "gaussian"], {"kl", "sigma"}),
}
TRAIN = ["train", "vae", *SMALL, *MODELS["vae"]]
pytestmark = pytest.mark.usefixtures("no_pictures")
each_one = pytest.mark.parametrize("asked", ASKED)


@each_one
def test_resuming_equals_never_having_stopped(scratch, asked):
    options, metrics = ASKED[asked]
    assert scratch(*TRAIN, *options, "--epochs", 3, "--out", "whole").status == 0
    assert scratch(*TRAIN, *options, "--epochs", 1, "--out", "parts").status == 0
    assert scratch("train", "--resume", "parts", "--epochs", 3).status == 0
    assert Path("whole/checkpoint.safetensors").read_bytes() == Path("parts/checkpoint.safetensors").read_bytes()
    entries = read_metrics("whole")
    assert without_times(entries) == without_times(read_metrics("parts"))
    own = {"epoch", "loss", "reconstruction", "seconds", "images_per_second", *metrics}
    assert {name for name in entries[0] if not name.startswith("held_out_")} == own
    assert {f"held_out_{name}" for name in metrics} <= entries[0].keys()


@each_one
def test_the_oracle_s_run_is_scratch_s_to_evaluate(scratch, capsys, asked):
    torch_ref, (options, metrics) = caller(build_parser, capsys), ASKED[asked]
    assert torch_ref(*TRAIN, *options, "--epochs", 2, "--out", "theirs").status == 0
    assert scratch(*TRAIN, *options, "--epochs", 2, "--out", "ours").status == 0
    assert [entry.keys() for entry in read_metrics("theirs")] == [entry.keys() for entry in read_metrics("ours")]
    printed, last = json.loads(scratch("evaluate", "theirs", "--json").out), read_metrics("theirs")[-1]
    for name in ("loss", "reconstruction", "psnr", *metrics):
        assert printed[name] == pytest.approx(last[f"held_out_{name}"], rel=1e-4)


@each_one
def test_the_oracle_compares_them(capsys, asked):
    likelihood_or_rate, _ = ASKED[asked]
    result = caller(build_parser, capsys)("compare", "vae", *likelihood_or_rate, "--steps", 2, "--batch-size", 8)
    assert result.status == 0, result.out + result.err


def test_a_run_that_is_older_than_these_options_opens_and_goes_on(scratch):
    assert scratch(*TRAIN, "--epochs", 2, "--out", "whole").status == 0
    assert scratch(*TRAIN, "--epochs", 1, "--out", "older").status == 0
    path = Path("older/config.json")
    config = json.loads(path.read_text())
    del config["options"]["free_bits"], config["options"]["capacity"]
    path.write_text(json.dumps(config))
    assert scratch("evaluate", "older").status == 0
    assert scratch("train", "--resume", "older", "--epochs", 2).status == 0
    assert without_times(read_metrics("older")) == without_times(read_metrics("whole"))


def test_a_learned_sigma_moves_and_is_part_of_the_checkpoint(scratch):
    assert scratch(*TRAIN, "--likelihood", "gaussian", "--lr", 0.03, "--epochs", 3, "--out", "run").status == 0
    sigmas = [entry["held_out_sigma"] for entry in read_metrics("run")]
    assert 1 > sigmas[0] > sigmas[1] > sigmas[2] > 0.5
    printed = json.loads(scratch("evaluate", "run", "--json").out)
    assert printed["sigma"] == pytest.approx(sigmas[2], rel=1e-6)
