"""`train vqvae` with the cures for unused codes, and the figure that compares the runs."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.command_line import MODELS, SMALL, caller, read_metrics, without_times
from torch_ref.commands import build_parser

CURED = {
    "ema": ["--codebook-update", "ema", "--ema-decay", 0.9],
    "kmeans": ["--codebook-init", "kmeans"],
    "restart": ["--restart-after", 2],
    "all": ["--codebook-update", "ema", "--codebook-init", "kmeans", "--restart-after", 2, "--entropy-weight", 0.1,
            "--entropy-temperature", 0.5, "--code-metric", "cosine"],
    "reversed": ["--straight-through", "reversed"],
}
TRAIN = ["train", "vqvae", *SMALL, *MODELS["vqvae"]]


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("cure", CURED)
def test_resuming_equals_never_having_stopped(scratch, cure):
    options = [*TRAIN, *CURED[cure]]
    assert scratch(*options, "--epochs", 3, "--out", "whole").status == 0
    assert scratch(*options, "--epochs", 1, "--out", "parts").status == 0
    assert scratch("train", "--resume", "parts", "--epochs", 3).status == 0
    assert Path("whole/checkpoint.safetensors").read_bytes() == Path("parts/checkpoint.safetensors").read_bytes()
    assert without_times(read_metrics("whole")) == without_times(read_metrics("parts"))


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("cure", CURED)
def test_the_oracle_s_run_is_scratch_s_to_evaluate(scratch, capsys, cure):
    torch_ref = caller(build_parser, capsys)
    assert torch_ref(*TRAIN, *CURED[cure], "--epochs", 2, "--out", "theirs").status == 0
    assert scratch(*TRAIN, *CURED[cure], "--epochs", 2, "--out", "ours").status == 0
    assert [entry.keys() for entry in read_metrics("theirs")] == [entry.keys() for entry in read_metrics("ours")]
    printed, last = json.loads(scratch("evaluate", "theirs", "--json").out), read_metrics("theirs")[-1]
    for name in ("loss", "reconstruction", "psnr"):
        assert printed[name] == pytest.approx(last[f"held_out_{name}"], rel=1e-4)


def test_curves_of_several_runs(scratch, trained):
    one, other = trained("vqvae"), trained("ae")
    assert scratch(*TRAIN, *CURED["ema"], "--epochs", 1, "--out", "runs/vqvae").status == 0
    assert scratch("curves", one, "runs/vqvae", "--out", "both.png").status == 0
    with Image.open("both.png") as picture:
        assert np.asarray(picture).std() > 5
    result = scratch("curves", one, other, "--metric", "loss", "codes_used", "--out", "x.png")
    assert result.status == 2 and "held_out_psnr" in result.err
    assert "'codes_used' is not among the metrics of every run" in result.err
    assert scratch("curves", one, other, "--metric", "loss", "--out", "x.png").status == 0
    Path("runs/vqvae/metrics.jsonl").unlink()
    result = scratch("curves", "runs/vqvae", "--out", "x.png")
    assert result.status == 2 and "has not finished an epoch" in result.err
