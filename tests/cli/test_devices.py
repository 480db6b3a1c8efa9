"""`devices`: the devices that exist, and which part is missing for one that does not work."""

import json
import sys

import numpy as np
import pytest

from tests.gpu_emulated.stand_in import CUDARuntimeError


def survey(scratch):
    """(the JSON, the text) that the command prints; both exit with 0, whatever is missing."""
    as_json, text = scratch("devices", "--json"), scratch("devices")
    assert as_json.status == text.status == 0 and not as_json.err + text.err
    found = json.loads(as_json.out)
    assert f"NumPy {np.__version__}" in text.out and found["numpy"]["version"] == np.__version__
    assert text.out.endswith(f"{found['state']}: {found['advice']}.\n")
    return found, text.out


def raising(error):
    def function(*arguments):
        raise error

    return function


def test_all_is_well(scratch, cupy):
    found, text = survey(scratch)
    assert found["state"] == "ready" and "--device gpu" in found["advice"]
    assert found["cupy"] == {"version": cupy.__version__, "runtime": "13.2", "driver": "13.2"}
    assert found["gpus"] == [
        {"device": "gpu:0", "name": "stand-in", "memory": 2**33, "free": 2**33, "compute_capability": "9.0"}]
    assert "gpu:0  stand-in, 8.0 GiB of memory (8.0 GiB free), compute capability 9.0\n" in text
    assert "CUDA runtime 13.2, driver for CUDA 13.2\n" in text


def test_the_blas_is_named(scratch):
    for pool in survey(scratch)[0]["numpy"]["blas"]:
        assert pool.keys() == {"library", "version", "kernels", "threads"} and pool["threads"] == 1


def test_no_cupy(scratch, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    found, _ = survey(scratch)
    assert found["state"] == "no CuPy" and found["cupy"] is None and found["gpus"] == []
    assert "pip install 'cupy-cuda13x[ctk]'" in found["advice"] and "'cupy-cuda12x[ctk]'" in found["advice"]


def test_a_cupy_that_cannot_be_imported(scratch, monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "cupy.py").write_text(
        "raise ImportError('=====\\ntoo long a story') from OSError('libcudart.so.13 is gone')")
    found, _ = survey(scratch)
    assert found["state"] == "broken CuPy" and "(libcudart.so.13 is gone)" in found["advice"]


@pytest.mark.parametrize("driver, error, state, parts", [
    (0, "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version", "no driver",
     ["no NVIDIA driver", "--device cpu"]),
    (12080, "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version", "old driver",
     ["CUDA 12.8", "CUDA 13.2", "update the driver", "pip install 'cupy-cuda12x[ctk]'"]),
    (13020, "cudaErrorNoDevice: no CUDA-capable device is detected", "no GPU",
     ["no NVIDIA GPU", "CUDA_VISIBLE_DEVICES is ''"]),
    (13020, "cudaErrorUnknown: unknown error", "no GPU", ["no usable GPU", "cudaErrorUnknown"]),
])
def test_no_driver_an_old_one_or_no_gpu(scratch, cupy, monkeypatch, driver, error, state, parts):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(cupy.cuda.runtime, "driverGetVersion", lambda: driver)
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", raising(CUDARuntimeError(error)))
    found, text = survey(scratch)
    assert found["state"] == state and found["gpus"] == []
    assert all(part in found["advice"] for part in parts)
    assert ("no driver" in text) == (driver == 0)


@pytest.mark.parametrize("library, error", [
    # CuPy 14.2 asks pathfinder for its libraries, which names several versions and lists the folders that it saw
    ("libcublas", ImportError('Failure finding "libcublas.so.13 or libcublas.so.12": No such file\n  listdir("/lib")')),
    ("libnvrtc", RuntimeError('Failure finding "libnvrtc.so.13 or libnvrtc.so.12": No such file\n  listdir("/lib")')),
    # CuPy before that, and the linker
    ("libnvrtc", RuntimeError("CuPy failed to load libnvrtc.so.12: OSError: libnvrtc.so.12: cannot open shared")),
    ("libcublas", ImportError("libcublas.so.13: cannot open shared object file: No such file or directory")),
    ("cublas64_13", ImportError('Failure finding "cublas64_13.dll": No such file: cublas64_13.dll')),
])
def test_a_library_that_cannot_be_loaded_is_named(scratch, cupy, monkeypatch, library, error):
    monkeypatch.setattr(cupy, "matmul", raising(error))
    found, _ = survey(scratch)
    assert found["state"] == "no library" and [gpu["name"] for gpu in found["gpus"]] == ["stand-in"]
    assert f"CUDA's {library} cannot be loaded: pip install 'cupy-cuda13x[ctk]'" in found["advice"]


def test_a_gpu_that_cannot_compute(scratch, cupy, monkeypatch):
    monkeypatch.setattr(cupy, "matmul", raising(CUDARuntimeError("cudaErrorNoKernelImageForDevice: no kernel")))
    found, _ = survey(scratch)
    assert found["state"] == "not usable" and "gpu:0" in found["advice"] and "NoKernelImage" in found["advice"]
