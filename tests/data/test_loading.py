"""``load`` refuses what it cannot understand, in one sentence."""

from pathlib import Path

import numpy as np
import pytest

from data_utils import NAMES, DataError, errors, load
from data_utils import shapes as draw_shapes


def test_the_names():
    assert NAMES == ("shapes", "shapes:SHAPE,SHAPE", "cifar10", "mnist", "fashion-mnist", "svhn", "folder:PATH")


@pytest.mark.parametrize("name", ["imagenet", "Shapes", "folder", "", "--", "a\x00b"])
def test_an_unknown_name_is_answered_with_the_known(name):
    with pytest.raises(DataError) as caught:
        load(name)
    assert repr(name) in str(caught.value)
    assert all(known in str(caught.value) for known in NAMES)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("cifar100", "cifar10"),
        ("CIFAR10", "cifar10"),
        ("fashionmnist", "fashion-mnist"),
        ("minst", "mnist"),
        ("shape", "shapes"),
        ("Shapes", "shapes"),
        ("shape:pill", "shapes:SHAPE,SHAPE"),
        ("folder", "folder:PATH"),
        ("Folder:pictures", "folder:PATH"),
    ],
)
def test_the_nearest_name_is_told(name, meant):
    with pytest.raises(DataError) as caught:
        load(name)
    told = f"there is no data set {name!r}: the nearest is {meant!r}; choose one of shapes,"
    assert str(caught.value).startswith(told)


def test_a_name_that_is_near_to_none_has_no_nearest():
    with pytest.raises(DataError, match="no data set 'imagenet': choose one of shapes,"):
        load("imagenet")


def test_a_folder_without_its_prefix_is_recognised(tmp_path):
    with pytest.raises(DataError, match=f"the nearest is 'folder:{tmp_path}'"):
        load(str(tmp_path))


def test_the_nearest_shape_is_told():
    with pytest.raises(DataError, match="names 'pil', which is not a shape: the nearest is 'pill'; choose from pill, "):
        load("shapes:plus,pil")
    with pytest.raises(DataError, match="names 'xyz', which is not a shape: choose from pill, "):
        load("shapes:xyz")


@pytest.mark.parametrize("name", ["shapes", "mnist", "folder:pictures"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"limit": 0}, "a limit of images of 0 was given: expected an integer from 1 to 1000000000$"),
        ({"limit": -5}, "a limit of images of -5 .*from 1 to"),
        ({"limit": "x"}, "a limit of images of 'x' .*integer"),
        ({"limit": True}, "a limit of images of True .*integer"),
        ({"limit": 10**30}, "a limit of images of 10{30} .*from 1 to 1000000000$"),
        ({"image_size": 0}, "an image size in pixels of 0 was given: expected an integer from 1 to 4096$"),
        ({"image_size": -8}, "an image size in pixels of -8 "),
        ({"image_size": 3.5}, r"an image size in pixels of 3\.5 .*integer"),
        ({"image_size": False}, "an image size in pixels of False .*integer"),
        ({"image_size": 10**30}, "an image size in pixels of 10{30} .*from 1 to 4096$"),
        ({"seed": -1}, "the seed -1 was given: expected an integer ≥ 0"),
        ({"seed": 0.5}, r"the seed 0\.5 "),
        ({"seed": True}, "the seed True "),
        ({"channels": 2}, "images of 2 channels"),
        ({"channels": True}, "images of True channels"),
        ({"channels": 3.0}, r"images of 3\.0 channels"),
        ({"channels": "3"}, "images of '3' channels"),
        ({"root": 3}, "data root 3 was given: expected the path of a folder"),
        ({"root": ""}, "data root '' was given"),
        ({"root": b"data"}, "data root b'data' was given"),
        ({"download": "no"}, "as download 'no' was given: expected True or False"),
    ],
)
def test_what_an_argument_cannot_be(name, given, message):
    with pytest.raises(DataError, match=message):
        load(name, **given)


@pytest.mark.parametrize("name", [None, 3, Path("shapes"), ["shapes"], b"shapes"])
def test_a_name_that_is_not_text(name):
    with pytest.raises(DataError, match="expected a name, such as 'shapes'"):
        load(name)


def test_more_images_than_memory_are_refused_before_they_are_drawn(monkeypatch):
    monkeypatch.setattr(errors, "memory_of_this_machine", lambda: 10**6)
    assert len(load("shapes", limit=100, image_size=32).train) == 100  # 2 · 100 · 32 · 32 · 3 = 614 400 bytes
    with pytest.raises(DataError, match=r"400 images of 32×32×3 take 0\.0 GB of memory.*smaller images, or fewer"):
        load("shapes", limit=200, image_size=32)
    with pytest.raises(DataError, match="1000 images of 32×32×3 take"):
        draw_shapes(1000)


def test_memory_that_the_system_refuses_is_a_sentence(monkeypatch):
    def refuse(*shape_and_dtype):
        raise MemoryError

    monkeypatch.setattr(np, "empty", refuse)
    with pytest.raises(DataError, match="'shapes' does not fit into memory: choose smaller images, or fewer"):
        load("shapes", limit=2)


def test_a_machine_that_does_not_tell_its_memory(monkeypatch):
    monkeypatch.delattr("os.sysconf")
    assert errors.memory_of_this_machine() is None
    assert len(load("shapes", limit=2).train) == 2
