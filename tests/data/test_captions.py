"""Captions of the shapes: true, varied, repeatable, and readable again. Captions of labels."""

import numpy as np
import pytest

from data_utils import Data, DataError, captions_of, composed, from_array, load, shapes
from data_utils.captions import HUES, KINDS, captions, label_captions, meaning, word_indices
from data_utils.shapes import RANGES
from data_utils.torchvision_sets import CLASS_NAMES

_, FACTORS = shapes(1500, size=8)
TRUE = [{kind: words[word_indices(FACTORS)[kind][i]] for kind, (_, words) in KINDS.items()} for i in range(1500)]


def test_every_word_of_a_caption_is_true():
    for said, true in zip(map(meaning, captions(FACTORS)), TRUE, strict=True):
        assert said and said.items() <= true.items()


def test_a_complete_caption_says_all():
    assert list(map(meaning, captions(FACTORS, complete=True))) == TRUE


def test_every_word_occurs_and_every_kind_is_sometimes_left_out():
    said = [meaning(caption) for caption in captions(FACTORS)]
    for kind, (_, words) in KINDS.items():
        assert {one[kind] for one in said if kind in one} == set(words)
        assert 0.1 < sum(kind not in one for one in said) / len(said) < 0.3


def test_captions_vary_and_repeat():
    first = captions(FACTORS)
    assert first == captions(FACTORS)
    assert first[:10] == captions({name: values[:10] for name, values in FACTORS.items()})
    for other in (dict(seed=1), dict(stream=1)):
        assert sum(a != b for a, b in zip(first, captions(FACTORS, **other), strict=True)) > 1300
    assert len(set(captions({name: np.repeat(values[:1], 200) for name, values in FACTORS.items()}))) > 30


@pytest.mark.parametrize("kind, values, words", [
    ("colour", [0.0, 0.08, 0.09, 1 / 3, 0.5, 2 / 3, 5 / 6, 0.92], "red red yellow green cyan blue pink red"),
    ("ground", [0.99, 0.16], "red yellow"),
    ("size", [1 / 6, 0.25, 0.3333, 0.1, 0.9], "small medium large small large"),
    ("row", [0.34, 0.5, 0.66], "top middle bottom"),
    ("column", [0.34, 0.5, 0.66], "left centre right"),
])
def test_the_ranges_of_the_words(kind, values, words):
    factors = {name: np.full(len(values), low) for name, (low, _) in RANGES.items()}
    factors[KINDS[kind][0]] = np.array(values)
    assert [KINDS[kind][1][index] for index in word_indices(factors)[kind]] == words.split()


@pytest.mark.parametrize("caption, expected", [
    ("a small red triangle at the top left on dark blue",
     {"size": "small", "colour": "red", "shape": "triangle", "row": "top", "column": "left", "ground": "blue"}),
    ("Before a pink background, a PINK pill", {"colour": "pink", "shape": "pill", "ground": "pink"}),
    ("a plus before a red background, blue", {"shape": "plus", "colour": "blue", "ground": "red"}),
    ("a shape", {}), ("", {}), ("something else entirely", {}),
])
def test_the_meaning_of_a_caption(caption, expected):
    assert meaning(caption) == expected


def test_what_makes_no_sense_is_refused():
    with pytest.raises(DataError, match="says red and blue: expected one colour"):
        meaning("a red blue square")
    with pytest.raises(DataError, match="the factor 'x' is missing"):
        captions({name: values for name, values in FACTORS.items() if name != "x"})
    with pytest.raises(DataError, match="the seed"):
        captions(FACTORS, seed=-1)
    with pytest.raises(DataError, match="the stream"):
        captions(FACTORS, stream=-1)


def test_captions_of_labels():
    assert label_captions("mnist", np.array([7, 0])) == ["a handwritten seven", "a handwritten zero"]
    names = ("airplane", "Ship")
    assert label_captions("cifar10", np.array([0, 1]), names) == ["a photo of an airplane", "a photo of a ship"]
    for wrong in (-1, 2):
        with pytest.raises(DataError, match=f"the label {wrong} of cifar10 has no name: expected 0 to 1"):
            label_captions("cifar10", np.array([wrong]), names)
    with pytest.raises(DataError, match="the label 3 of mine has no name: name the labels"):
        label_captions("mine", np.array([3]))
    assert label_captions("svhn", np.array([7])) == ["a photo of the digit seven"]
    names = CLASS_NAMES["fashion-mnist"]
    assert label_captions("fashion-mnist", np.array([0, 1, 9, 4]), names) == [
        "a photo of a t-shirt or top", "a photo of a pair of trousers", "a photo of an ankle boot", "a photo of a coat"]
    assert label_captions("mnist", np.zeros(0, np.int64)) == []
    assert len(HUES) == 6


# --- captions of a data set -------------------------------------------------------------------------------------------


def test_captions_of_shapes():
    data = load("shapes:plus,pill", limit=50, image_size=8, seed=3)
    train, held_out = captions_of(data, seed=2)
    assert train == captions(data.factors, seed=2) and held_out == captions(data.held_out_factors, seed=2, stream=1)
    assert captions_of(data) != (train, held_out) and captions_of(data) == captions_of(data, seed=0)


def test_the_two_splits_share_no_wording():
    _, factors = shapes(300, size=8)
    images = np.zeros((300, 8, 8, 3), np.uint8)
    train, held_out = captions_of(Data("shapes", images, images, factors, factors))
    assert sum(a == b for a, b in zip(train, held_out, strict=True)) < 40


def test_captions_of_labels_in_a_data_set():
    images, labels = np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 9])
    data = Data("cifar10", images, images[:1], {"label": labels}, {"label": labels[:1]},
                {"label": CLASS_NAMES["cifar10"]})
    assert captions_of(data) == (["a photo of an airplane", "a photo of a truck"], ["a photo of an airplane"])


def test_data_without_captions():
    with pytest.raises(DataError, match="array has no captions: choose shapes, a set with labels such as mnist, or a"):
        captions_of(from_array(np.zeros((4, 8, 8, 1), np.uint8)))
    with pytest.raises(DataError, match="the seed"):
        captions_of(load("shapes", limit=2, image_size=8), seed=-1)


# --- compositions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("without", "wanted"), [
    ("red triangle", [{"colour": "red", "shape": "triangle"}]),
    ("Red Triangle,small plus", [{"colour": "red", "shape": "triangle"}, {"size": "small", "shape": "plus"}]),
    ("a pill on dark blue , top left", [{"shape": "pill", "ground": "blue"}, {"row": "top", "column": "left"}]),
    ("a large shape in the bottom left corner before a red background",
     [{"size": "large", "row": "bottom", "column": "left", "ground": "red"}]),
])
def test_what_a_composition_finds(without, wanted):
    expected = [any(said.items() <= true.items() for said in wanted) for true in TRUE]
    assert composed(FACTORS, without).tolist() == expected and 0 < sum(expected) < 1500


@pytest.mark.parametrize("caption", captions(FACTORS, complete=True)[:20])
def test_a_caption_is_a_composition_that_finds_its_image(caption):
    assert any(composed(FACTORS, caption.replace(",", ""))[:20])


@pytest.mark.parametrize(("without", "message"), [
    ("red triangel", "'red triangel' has the unknown word 'triangel': the nearest is 'triangle'; known are small, "),
    ("xyz", "'xyz' has the unknown word 'xyz': known are small, .*, centre, right, and of a ground 'on dark blue'$"),
    ("blue background", "unknown word 'background'"),
    ("dark blue", "unknown word 'dark'"),
    ("red,", "'red,' have one that says nothing: expected words such as 'red triangle'"),
    ("a shape", "says nothing"), ("", "says nothing"),
    ("red blue", "'red blue' says red and blue: expected one colour"),
    (3, "the compositions 3 were given: expected a text"),
])
def test_compositions_that_are_none(without, message):
    with pytest.raises(DataError, match=message):
        composed(FACTORS, without)
