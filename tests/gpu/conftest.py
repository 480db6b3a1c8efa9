"""These tests need an NVIDIA GPU, CuPy and its libraries. If one is missing, every test is skipped and says which.

tests/gpu_emulated/test_gpu_tests.py runs the same tests on the stand-in, on any machine. The fixtures below differ
between the two; there are fixtures of the same names there.
"""

import gc
import os
import sys
from contextlib import contextmanager
from pathlib import Path

os.environ["CUPY_TF32"] = "0"  # before CuPy is imported: products of float32 in float32

import pytest
import torch

from scratch.commands.devices import survey
from tests.support.command_line import scratch  # noqa: F401


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("gpu")


@pytest.fixture(scope="session")
def cupy():
    """The real CuPy, with a GPU that works."""
    found = survey()
    if found["state"] != "ready":
        pytest.skip(found["advice"])
    return sys.modules["cupy"]


@pytest.fixture
def memory_limit(cupy):
    """memory_limit(size): within a `with` block CuPy can take `size` bytes more than are taken now."""

    @contextmanager
    def limit(size):
        pool = cupy.get_default_memory_pool()
        gc.collect()
        pool.free_all_blocks()
        before = pool.get_limit()
        pool.set_limit(size=pool.total_bytes() + size)
        try:
            yield
        finally:
            pool.set_limit(size=before)

    return limit


@pytest.fixture
def torch_side(cupy, monkeypatch):
    """The device of torch_ref: the same GPU, set to compute float32 in full float32."""
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU: it is a build without CUDA, or for another version of it")
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    return "gpu"
