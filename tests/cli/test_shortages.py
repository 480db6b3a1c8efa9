"""Too little memory, or a missing CUDA library: one sentence that says what to do, and nothing saved is lost."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from scratch.layers import Conv2d, Sigmoid
from scratch.losses import SquaredError
from scratch.training.trainer import Trainer
from tests.cli.test_errors import assert_one_sentence
from tests.gpu_emulated.stand_in import limited
from tests.support.command_line import MODELS, SMALL

GPU = ["--device", "gpu"]


def failing(monkeypatch, owner, name, error, after=0):
    """Let a method raise an error in every call after the first `after`."""
    right, calls = getattr(owner, name), []

    def method(*arguments, **keywords):
        calls.append(name)
        if len(calls) > after:
            raise error
        return right(*arguments, **keywords)

    monkeypatch.setattr(owner, name, method)


@pytest.mark.parametrize("model", MODELS)
def test_the_batch_size_to_try_is_half_of_what_was_used_until_it_fits(scratch, cupy, model):
    """There is enough memory for batches of 4, but not for batches of 8."""
    size = 32
    with limited(400_000):
        while size > 1:
            result = scratch("train", model, *SMALL, *MODELS[model], *GPU, "--batch-size", size, "--epochs", 1,
                             "--out", f"run-{size}")
            if result.status == 0:
                break
            assert_one_sentence(result, f"--batch-size {size} is too much for gpu with its 0.4 MiB of memory",
                                "Out of memory allocating", "what this one has saved is kept")
            size, before = int(re.search(r"try --batch-size (\d+) in a new run", result.err)[1]), size
            assert size == before // 2
    assert 1 < size < 32 and Path(f"run-{size}/checkpoint.safetensors").exists()


def test_where_no_batch_is_smaller(scratch, cupy):
    with limited(100_000):
        result = scratch("train", "ae", *SMALL, *MODELS["ae"], *GPU, "--batch-size", 1, "--epochs", 1)
    assert_one_sentence(result, "--batch-size 1 is too much", "try another --device, or a smaller model")


def test_the_last_good_checkpoint_is_kept(scratch, trained, monkeypatch):
    """NumPy itself raises the error, in the middle of the third epoch."""
    folder = Path(trained("vae"))
    before = {name: (folder / name).read_bytes() for name in ("checkpoint.safetensors", "resume.safetensors")}
    error = np._core._exceptions._ArrayMemoryError((10**6, 10**6), np.dtype(np.float32))
    with monkeypatch.context() as patch:
        failing(patch, Trainer, "step", error, after=1)
        result = scratch("train", "--resume", folder, "--epochs", 3)
    memory = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    assert_one_sentence(result, f"--batch-size 16 is too much for cpu with its {memory} of memory",
                        "Unable to allocate 3.64 TiB", "try --batch-size 8 in a new run", "is kept")
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert scratch("train", "--resume", folder, "--epochs", 3).status == 0


@pytest.mark.parametrize("command", ["evaluate", "reconstruct", "sample", "encode", "decode"])
def test_a_command_on_a_run_takes_the_batch_size_that_it_names(scratch, cupy, trained, command):
    folder = trained("ae")
    scratch("encode", folder, "--out", "codes.npz")
    arguments = [command, folder, *(["codes.npz"] if command == "decode" else []),
                 *(["--count", 40] if command in ("reconstruct", "sample") else []), *GPU]
    with limited(150_000):
        assert_one_sentence(scratch(*arguments), "--batch-size 16 is too much", "try --batch-size 8.")
        assert scratch(*arguments, "--batch-size", 2).status == 0


@pytest.mark.parametrize("message", [
    "cudaErrorMemoryAllocation: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA out of memory. Tried to allocate 20.00 MiB.",
])
def test_memory_that_another_than_cupy_s_pool_misses(scratch, monkeypatch, message):
    failing(monkeypatch, Sigmoid, "forward", RuntimeError(message))
    result = scratch("train", "ae", *SMALL, *MODELS["ae"])
    assert_one_sentence(result, "--batch-size 16 is too much for cpu", message.rstrip("."), "try --batch-size 8")


def test_memory_that_is_exhausted_elsewhere(scratch, trained, monkeypatch):
    """No batch is involved when a model is built or two images are interpolated."""
    folder = trained("ae")
    failing(monkeypatch, Sigmoid, "forward", MemoryError())
    assert_one_sentence(scratch("interpolate", folder), "out of memory (MemoryError): try another --device")


def test_memory_that_is_exhausted_where_a_model_is_built(scratch, monkeypatch):
    failing(monkeypatch, Conv2d, "__init__", MemoryError())
    result = scratch("train", "ae", *SMALL, *MODELS["ae"])
    assert_one_sentence(result, "out of memory (MemoryError): try another --device")


@pytest.mark.parametrize("error", [
    ImportError('Failure finding "libcublas.so": No such file: libcublas.so*\n  listdir("/usr/local/cuda/lib64"):\n'),
    RuntimeError("CuPy failed to load libnvrtc.so.13: OSError: libnvrtc.so.13: cannot open shared object file"),
])
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_library_of_cuda_that_cannot_be_loaded(scratch, cupy, trained, monkeypatch, command, error):
    library = re.search(r"lib\w+", str(error))[0]
    arguments = ["evaluate", trained("ae")] if command == "evaluate" else ["train", "ae", *SMALL, *MODELS["ae"]]
    failing(monkeypatch, cupy, "matmul", error)
    assert_one_sentence(scratch(*arguments, *GPU), f"CUDA's {library} cannot be loaded", "'cupy-cuda13x[ctk]'")


@pytest.mark.parametrize("error", [RuntimeError("a mistake of ours"), ImportError("no module named libcublas")])
def test_any_other_error_keeps_its_traceback(scratch, monkeypatch, error):
    failing(monkeypatch, SquaredError, "loss", error)
    with pytest.raises(type(error), match=str(error)):
        scratch("train", "ae", *SMALL, *MODELS["ae"])
