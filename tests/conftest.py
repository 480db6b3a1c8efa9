"""One BLAS thread for the tests, in this process and in those that it starts.

Products this small do not gain from threads, which on a busy machine wait for each other instead; and the same number
everywhere makes runs comparable bit for bit.
"""

import os

import pytest
from threadpoolctl import threadpool_limits

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread():
    with threadpool_limits(1, user_api="blas"):
        yield
