"""Captions of the shapes: true, varied, repeatable, and readable again. Captions of labels."""

import numpy as np
import pytest

from data_utils import DataError, shapes
from data_utils.captions import HUES, KINDS, captions, label_captions, meaning, word_indices
from data_utils.shapes import RANGES

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
    assert sum(a != b for a, b in zip(first, captions(FACTORS, seed=1), strict=True)) > 1300
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


def test_captions_of_labels():
    assert label_captions("mnist", np.array([7, 0])) == ["a handwritten seven", "a handwritten zero"]
    names = ("airplane", "Ship")
    assert label_captions("cifar10", np.array([0, 1]), names) == ["a photo of an airplane", "a photo of a ship"]
    for wrong in (-1, 2):
        with pytest.raises(DataError, match=f"the label {wrong} of cifar10 has no name: expected 0 to 1"):
            label_captions("cifar10", np.array([wrong]), names)
    assert len(HUES) == 6
