import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread():
    """Products this small do not gain from threads, which on a busy machine wait for each other instead."""
    with threadpool_limits(1, user_api="blas"):
        yield
