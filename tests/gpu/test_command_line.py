"""The command lines with --device gpu: runs that change their device, exhausted memory, and `devices`."""

import json
import re

import pytest

from scratch.commands import train as commands
from tests.support.command_line import MODELS, SMALL, read_metrics, without_times

TRAIN = [*SMALL, "--dtype", "float64"]
OTHER = {"cpu": "gpu", "gpu": "cpu"}


@pytest.mark.parametrize("first", OTHER)
@pytest.mark.parametrize("model", MODELS)
def test_a_run_goes_on_where_it_was_not_begun(scratch, cupy, monkeypatch, model, first):
    """An epoch on one device and an epoch on the other are two epochs on the first.

    Except for the VAE and the dVAE, because each library's generator draws other noise. Evaluation uses NumPy's.
    """
    monkeypatch.setattr(commands, "pictures_of", lambda *_: [])  # they take longer than the training
    options = ["train", model, *TRAIN, *MODELS[model], "--device", first]
    assert scratch(*options, "--epochs", 2, "--out", "whole").status == 0
    assert scratch(*options, "--epochs", 1, "--out", "parts").status == 0
    resumed = scratch("train", "--resume", "parts", "--epochs", 2, "--device", OTHER[first])
    assert resumed.status == 0, resumed.err
    assert f"device was {first}, is now {OTHER[first]}" in resumed.out
    parts, whole = without_times(read_metrics("parts")), without_times(read_metrics("whole"))
    assert [entry["epoch"] for entry in parts] == [1, 2]
    for ours, expected in list(zip(parts, whole, strict=True))[: 1 if model in ("vae", "dvae") else 2]:
        assert ours == pytest.approx(expected, rel=1e-9)
    here, there = (scratch("evaluate", "parts", "--json", "--device", device).out for device in OTHER)
    assert json.loads(here) == {**json.loads(there), **numbers_near(json.loads(there))}


def numbers_near(metrics):
    return {name: pytest.approx(value, rel=1e-9) for name, value in metrics.items() if isinstance(value, float | list)}


@pytest.mark.parametrize("model", MODELS)
def test_every_command_on_a_run(scratch, cupy, model):
    gpu = ["--device", "gpu"]
    assert scratch("train", model, *SMALL, *MODELS[model], *gpu, "--epochs", 1, "--out", "run").status == 0
    commands = [["reconstruct", "run"], ["sample", "run"], ["interpolate", "run"], ["encode", "run"],
                ["decode", "run", "run/codes.npz"], *([["variations", "run"]] if model in ("vae", "dvae") else [])]
    for command in commands:
        result = scratch(*command, *gpu)
        assert result.status == 0 and "wrote run/" in result.out, result.err


def test_exhausted_memory_names_the_batch_size_to_try_until_it_fits(scratch, cupy, memory_limit):
    size = 1024
    options = ["train", "ae", "--channels", "8,16", "--limit", size, "--epochs", 1, "--device", "gpu"]
    with memory_limit(64 * 2**20):
        while size > 1:
            result = scratch(*options, "--batch-size", size, "--out", f"run-{size}")
            if result.status == 0:
                break
            assert result.status == 2 and result.err.count("\n") == 1 and "Traceback" not in result.err
            assert re.search(rf"^error: --batch-size {size} is too much for gpu with its [\d.]+ [GM]iB", result.err)
            smaller = int(re.search(r"try --batch-size (\d+) ", result.err)[1])
            assert smaller == size // 2
            size = smaller
    assert 1 < size < 1024


def test_devices(scratch, cupy):
    found, text = json.loads(scratch("devices", "--json").out), scratch("devices").out
    assert found["state"] == "ready" and len(found["gpus"]) == cupy.cuda.runtime.getDeviceCount()
    for gpu in found["gpus"]:
        assert 0 < gpu["free"] <= gpu["memory"] and re.fullmatch(r"\d+\.\d", gpu["compute_capability"])
        assert f"{gpu['device']}  {gpu['name']}, " in text
    assert found["cupy"]["version"] == cupy.__version__ and found["cupy"]["driver"]
