"""Byte-pair encoding: any text comes back, training is repeatable, frequent words become single tokens."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_utils import DataError, shapes
from data_utils.captions import captions
from data_utils.tokenizer import BYTES, Tokenizer

_, FACTORS = shapes(500, size=8)
CAPTIONS = captions(FACTORS)
TRAINED = Tokenizer.train(CAPTIONS, 400)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text())
def test_any_text_comes_back(text):
    text = text.encode(errors="replace").decode()  # without lone surrogates, which are no Unicode text
    for tokenizer in (TRAINED, Tokenizer()):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, TRAINED.vocabulary - 1)))
def test_any_tokens_have_a_text(tokens):
    assert isinstance(TRAINED.decode(tokens), str)


def test_frequent_words_become_tokens():
    assert [TRAINED.decode([token]) for token in TRAINED.encode("a small red triangle")] == [
        "a", " small", " red", " triangle"]
    assert len(TRAINED.encode("a small red triangle")) < len(TRAINED.encode("a rhinoceros"))


def test_the_first_pair_by_hand():
    """"ab" occurs four times and "bc" three times; then "ab" and "c" are the most frequent pair."""
    tokenizer = Tokenizer.train(["abc abc", "abc ab"], BYTES + 2)
    a, b, c = b"abc"
    assert tokenizer.merges == [(a, b), (BYTES, c)]
    assert tokenizer.encode("abcab") == [BYTES + 1, BYTES]
    assert tokenizer.spelling[-1] == b"abc"


def test_training_is_repeatable_and_stops_where_nothing_occurs_twice():
    assert Tokenizer.train(CAPTIONS, 300).merges == Tokenizer.train(CAPTIONS, 300).merges == TRAINED.merges[:44]
    assert Tokenizer.train(["xy"], 999).merges == []
    assert Tokenizer.train([], 999).vocabulary == BYTES
    assert Tokenizer(TRAINED.merges).encode(CAPTIONS[0]) == TRAINED.encode(CAPTIONS[0])


@pytest.mark.parametrize("make, message", [
    (lambda: Tokenizer.train([], 255), "a vocabulary of"),
    (lambda: Tokenizer([(1, 256)]), r"the pair 0 of the tokenizer is \(1, 256\): expected two tokens from 0 to 255"),
    (lambda: Tokenizer([(1, 2), (256, 257)]), "the pair 1 of the tokenizer"),
    (lambda: Tokenizer([(1, 2, 3)]), "the pair 0"),
    (lambda: Tokenizer([(97, 97), *((256 + n, 256 + n) for n in range(100))]), "up to pair 22 .* at most 16777216"),
    (lambda: TRAINED.encode("half of \ud83d"), r"the text 'half of \\ud83d' is no Unicode"),
    (lambda: TRAINED.decode([TRAINED.vocabulary]), f"the token {TRAINED.vocabulary} was given"),
    (lambda: TRAINED.decode([-1]), "the token -1 was given"),
])
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()
