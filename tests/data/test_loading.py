"""``load`` refuses what it cannot understand, in one sentence."""

from pathlib import Path

import numpy as np
import pytest

from data_utils import NAMES, DataError, composed, errors, load
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
        ({"drawn": 0}, "a number of drawn shapes of 0 was given: expected an integer from 1 to 10000000$"),
        ({"drawn": 10**7 + 1}, "a number of drawn shapes of 10000001 "),
        ({"drawn": "x"}, "a number of drawn shapes of 'x' .*integer"),
        ({"root": 3}, "data root 3 was given: expected the path of a folder"),
        ({"root": ""}, "data root '' was given"),
        ({"root": b"data"}, "data root b'data' was given"),
        ({"download": "no"}, "as download 'no' was given: expected True or False"),
        ({"skip_unreadable": 1}, "as skip_unreadable 1 was given: expected True or False"),
    ],
)
def test_what_an_argument_cannot_be(name, given, message):
    with pytest.raises(DataError, match=message):
        load(name, **given)


@pytest.mark.parametrize("name", ["mnist", "folder:pictures"])
def test_only_shapes_are_drawn(name):
    for given in ({"drawn": 5}, {"without": "red"}, {"without": ""}):
        (option, value), = given.items()
        told = f"^{option} {value!r} was given, which is for shapes, and '{name}' is not drawn: leave it out"
        with pytest.raises(DataError, match=told):
            load(name, **given)
    with pytest.raises(DataError, match="there is no data set 'Shapes': the nearest is 'shapes'"):
        load("Shapes", drawn=5)


@pytest.mark.parametrize("name", ["mnist", "shapes:pill"])
def test_only_folders_hold_unreadable_pictures(name):
    with pytest.raises(DataError, match=f"skip_unreadable True .* for folders of pictures, and '{name}' is no folder"):
        load(name, skip_unreadable=True)


def test_more_or_fewer_drawn_shapes():
    few, many = (load("shapes", drawn=drawn, image_size=8) for drawn in (30, 11_000))
    assert (len(few.train), len(few.held_out), len(many.train), len(many.held_out)) == (30, 1000, 11_000, 1000)
    np.testing.assert_array_equal(few.train, many.train[:30])
    np.testing.assert_array_equal(few.held_out, many.held_out)
    for name, values in few.factors.items():
        np.testing.assert_array_equal(values, many.factors[name][:30])
    both = load("shapes", drawn=30, limit=20, image_size=8)
    assert len(both.train) == len(both.held_out) == 20 and len(load("shapes", drawn=3, limit=20).train) == 3


@pytest.mark.parametrize("name", ["shapes", "shapes:triangle,plus"])
def test_compositions_left_out(name):
    whole = load(name, drawn=400, image_size=8)
    part = load(name, drawn=400, image_size=8, without="red triangle,small plus")
    left_out = composed(whole.factors, "red triangle,small plus")
    assert 0 < left_out.sum() < 400
    np.testing.assert_array_equal(part.train, whole.train[~left_out])
    np.testing.assert_array_equal(part.held_out, whole.held_out)
    assert part.factors.keys() == whole.factors.keys()
    for factor, values in part.factors.items():
        np.testing.assert_array_equal(values, whole.factors[factor][~left_out])
        np.testing.assert_array_equal(part.held_out_factors[factor], whole.held_out_factors[factor])
    limited = load(name, drawn=400, image_size=8, without="red triangle,small plus", limit=100)
    np.testing.assert_array_equal(limited.train, part.train[:100])
    assert len(limited.held_out) == 100


def test_compositions_that_cannot_be_left_out():
    with pytest.raises(DataError, match="without 'pill', none of the 10000 training images of 'shapes:pill' is left"):
        load("shapes:pill", without="pill")
    with pytest.raises(DataError, match="unknown word 'triangel': the nearest is 'triangle'"):
        load("shapes", without="red triangel")
    with pytest.raises(DataError, match="the compositions 3 were given"):
        load("shapes", without=3)


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
    assert len(load("shapes", drawn=100, limit=100).train) == 100
    with pytest.raises(DataError, match=r"10001000 images of 32×32×3 take 30\.7 GB of memory"):
        load("shapes", drawn=10**7)


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
