"""The container, the conversion to floats and the order of the batches."""

import dataclasses
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_utils import Data, DataError, batches, printable, to_float
from data_utils.errors import shown


def test_data_describes_itself():
    data = Data("dots", np.zeros((5, 8, 8, 1), np.uint8), np.zeros((2, 8, 8, 1), np.uint8), {}, {})
    assert (data.image_size, data.channels) == (8, 1)
    assert data.describe() == "dots: 5 training and 2 held-out images of 8×8×1"
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_to_float_gives_the_dtype_asked_for_and_the_correctly_rounded_quotient(dtype):
    every_byte = np.arange(256, dtype=np.uint8).reshape(2, 8, 16, 1)
    x = to_float(every_byte, dtype)
    assert x.dtype == dtype
    assert x.shape == every_byte.shape
    expected = [dtype(byte) / dtype(255) for byte in range(256)]
    np.testing.assert_array_equal(x.ravel(), expected)
    assert (x.min(), x.max()) == (0, 1)


def test_to_float32_never_holds_the_images_in_float64():
    images = np.zeros((100, 100, 100), np.uint8)
    tracemalloc.start()
    to_float(images, np.float32)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8.1 * images.size  # twice 4 bytes a value; through float64 it would be 8 + 4


@settings(deadline=None)
@given(
    count=st.integers(0, 200),
    batch_size=st.integers(1, 60),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 1000),
    shuffle=st.booleans(),
)
def test_batches_hold_every_index_once_and_only_the_last_is_shorter(count, batch_size, seed, epoch, shuffle):
    parts = list(batches(count, batch_size, seed, epoch, shuffle))
    full, rest = divmod(count, batch_size)
    assert [len(part) for part in parts] == [batch_size] * full + [rest] * (rest > 0)
    assert sorted(index for part in parts for index in part) == list(range(count))


def test_the_order_follows_from_seed_and_epoch():
    def order(seed, epoch):
        return np.concatenate(list(batches(100, 7, seed, epoch))).tolist()

    assert order(3, 5) == order(3, 5)
    orders = [order(seed, epoch) for seed in range(4) for epoch in range(4)]
    assert len(set(map(tuple, orders))) == 16
    assert list(range(100)) not in orders


def test_without_shuffling_the_order_is_as_stored():
    assert [part.tolist() for part in batches(5, 2, seed=1, epoch=1, shuffle=False)] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_size_below_one_is_refused(batch_size):
    with pytest.raises(DataError, match=f"batch size of {batch_size} was given: expected an integer ≥ 1"):
        next(batches(10, batch_size, seed=0, epoch=0))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": -1}, "number of images of -1 .*expected an integer from 0 to 1000000000"),
        ({"count": 10**30}, "number of images of 10{30} .*from 0 to 1000000000"),
        ({"batch_size": 2.0}, r"batch size of 2\.0 .*expected an integer ≥ 1"),
        ({"batch_size": "4"}, "batch size of '4' "),
        ({"batch_size": True}, "batch size of True "),
        ({"seed": -1}, "seed -1 .*expected an integer ≥ 0"),
        ({"seed": None}, "seed None "),
        ({"epoch": -7}, "epoch -7 .*expected an integer ≥ 0"),
        ({"epoch": 1.5}, r"epoch 1\.5 "),
    ],
)
@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_that_cannot_be_cut_are_refused_at_once(wrong, message, shuffle):
    with pytest.raises(DataError, match=message):
        batches(**{"count": 10, "batch_size": 4, "seed": 0, "epoch": 0, "shuffle": shuffle, **wrong})


def test_numpy_integers_are_integers():
    numbers = map(np.int64, (10, 4, 0, 3))
    assert [part.tolist() for part in batches(*numbers)] == [part.tolist() for part in batches(10, 4, 0, 3)]


# --- floats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [np.float32, np.float64])
@pytest.mark.parametrize("wanted", [np.float32, np.float64])
def test_to_float_gives_floats_unscaled_and_never_the_stored_array_itself(stored, wanted):
    images = np.linspace(0, 1, 12, dtype=stored).reshape(1, 2, 2, 3)
    x = to_float(images, wanted)
    assert x.dtype == wanted
    np.testing.assert_array_equal(x, images.astype(wanted))
    x += 1
    assert images.max() == 1


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, bool, complex, object])
def test_to_float_refuses_other_types(dtype):
    with pytest.raises(DataError, match=f"type {np.dtype(dtype)} were given: expected uint8 in 0..255 or floats"):
        to_float(np.zeros((1, 2, 2, 3), dtype), np.float32)


@pytest.mark.parametrize("dtype", [np.uint8, int, bool])
def test_to_float_refuses_to_give_anything_but_floats(dtype):
    with pytest.raises(DataError, match=f"wanted as {np.dtype(dtype)}: expected a float type"):
        to_float(np.zeros((1, 2, 2, 3), np.uint8), dtype)


# --- messages -------------------------------------------------------------------------------------------------------


def test_what_a_terminal_cannot_show_is_escaped():
    assert printable("a\nb\x1b[31m\u202e\udc80 é 图.png") == r"a\nb\x1b[31m\u202e\udc80 é 图.png"
    assert str(DataError("two\nlines\x07")) == r"two\nlines\x07"
    empty = np.zeros((1, 2, 2, 1), np.uint8)
    assert Data("a\nb\x1b[31m", empty, empty, {}, {}).describe().startswith(r"a\nb\x1b[31m: 1 training")


def test_a_value_is_shown_in_a_few_characters_whatever_it_is():
    assert shown("x") == "'x'"
    assert shown(10**5000) == "an integer of 16610 bits"
    assert len(shown("x" * 10**6)) <= 60
    assert shown(np.eye(2)) == "array([[1., 0.], [0., 1.]])"


def test_shapes_need_neither_torch_nor_the_rest_of_the_project():
    program = (
        "import sys; from data_utils import load; load('shapes', limit=2);"
        "print(*(n for n in ('torch', 'torchvision', 'scipy', 'scratch', 'torch_ref') if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
