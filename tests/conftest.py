"""One BLAS thread for the tests, in this process and in those that it starts.

Products this small do not gain from threads, which on a busy machine wait for each other instead; and the same number
everywhere makes runs comparable bit for bit.
"""

import os

import pytest
from threadpoolctl import threadpool_limits

from scratch.accelerate import accelerate
from tests.gpu_emulated.stand_in import installed

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread():
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture
def cupy():
    """A GPU that is none: `--device gpu` and `import cupy` find the stand-in."""
    with installed() as module:
        yield module


@pytest.fixture(scope="module", params=["plain", "accelerated"])
def each_form(request):
    """A module that uses this runs twice: its `build` gives models of plain layers, then of accelerated ones."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "accelerated":
            build = request.module.build
            patch.setattr(request.module, "build", lambda *a, **k: accelerate(build(*a, **k), least_channels=1))
        yield
