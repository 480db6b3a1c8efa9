"""One BLAS thread for the tests, in this process and in those that it starts.

Such small products do not gain from threads, which wait for each other on a busy machine. Besides, runs can be compared
bit for bit if the number of threads is the same everywhere.
"""

import os

import pytest
from threadpoolctl import threadpool_limits

from scratch.accelerate import accelerate
from scratch.accelerate.cpu.workers import cores
from scratch.commands import sweep, train
from tests.gpu_emulated.stand_in import installed

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """How many processes `-n auto` starts: each loads PyTorch, so four at most."""
    return min(4, cores())


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread():
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="session", autouse=True)
def files_are_not_waited_for():
    """A file counts as written once the system has it: the disk itself takes some milliseconds for each of thousands.
    Processes that tests start, and kill, do wait for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture
def cupy():
    """A pretended GPU: `--device gpu` and `import cupy` find the stand-in."""
    with installed() as module:
        yield module


@pytest.fixture
def no_pictures(monkeypatch):
    """`train` and `sweep` draw no pictures of their runs, which take longer than training a tiny model does. Tests in
    test_train.py, test_edges.py, test_variants.py, test_prior.py and test_figures.py look at the pictures."""
    for command in (train, sweep):
        monkeypatch.setattr(command, "pictures_of", lambda *_: [])


@pytest.fixture(scope="module", params=["plain", "accelerated"])
def each_form(request):
    """A module that uses this runs twice: its `build` gives models of plain layers, then of accelerated ones."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "accelerated":
            build = request.module.build
            patch.setattr(request.module, "build", lambda *a, **k: accelerate(build(*a, **k), least_channels=1))
        yield
