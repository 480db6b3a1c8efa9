"""``load`` refuses what it cannot understand, in one sentence."""

import pytest

from data_utils import NAMES, DataError, load


def test_the_names():
    assert NAMES == ("shapes", "shapes:SHAPE,SHAPE", "cifar10", "mnist", "fashion-mnist", "svhn", "folder:PATH")


@pytest.mark.parametrize("name", ["imagenet", "Shapes", "folder", ""])
def test_an_unknown_name_is_answered_with_the_known(name):
    with pytest.raises(DataError) as caught:
        load(name)
    assert repr(name) in str(caught.value)
    assert all(known in str(caught.value) for known in NAMES)


@pytest.mark.parametrize("name", ["shapes", "mnist", "folder:pictures"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"limit": 0}, "a limit of 0 images.*at least 1"),
        ({"limit": -5}, "a limit of -5 images.*at least 1"),
        ({"image_size": 0}, "image size of 0 pixels.*at least 1"),
        ({"image_size": -8}, "image size of -8 pixels.*at least 1"),
        ({"seed": -1}, "seed -1 .*not be negative"),
    ],
)
def test_numbers_out_of_range(name, given, message):
    with pytest.raises(DataError, match=message):
        load(name, **given)
