"""The tests of tests/gpu on the stand-in. They pass there too, which shows that the tests themselves work.

`cupy` is the stand-in here, as everywhere except in tests/gpu.
"""

import pytest

from tests.gpu.test_against_numpy import *  # noqa: F403
from tests.gpu.test_against_torch import *  # noqa: F403
from tests.gpu.test_command_line import *  # noqa: F403
from tests.gpu.test_fused import *  # noqa: F403
from tests.gpu_emulated.stand_in import limited
from tests.support.command_line import scratch  # noqa: F401


@pytest.fixture
def memory_limit():
    return limited


@pytest.fixture
def torch_side():
    return "cpu"
