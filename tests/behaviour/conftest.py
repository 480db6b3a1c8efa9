"""What several of these tests ask for."""

import pytest

from tests.stand_in import installed


@pytest.fixture
def cupy():
    """A GPU that is none: `--device gpu` and `import cupy` find the stand-in."""
    with installed() as module:
        yield module
