"""Reading words off images: the judge's gradient, the measures on pixels, distances."""

import math

import numpy as np
import pytest

from data_utils import KINDS, captions, composed, draw, meaning, random_factors, shapes, word_indices
from scratch.gradcheck.differences import Operation, check
from scratch.instruments import words
from scratch.models.judge import Judge, with_words
from scratch.optim import Adam


def test_the_judges_gradient():
    judge = Judge(8, [3, 4], 0.1, dtype=np.float64, rng=np.random.default_rng(0))
    for name, parameter in judge.named_parameters().items():
        if "bias" in name:
            parameter.value += 0.1
    images, factors = shapes(5, 8)
    x = with_words(images, factors)
    noise = judge.draw_noise(5, np.random.default_rng(2))

    def backward(upstream):
        judge.zero_grad()
        judge.backward(float(upstream["loss"]))
        return {name: parameter.gradient() for name, parameter in judge.named_parameters().items()}

    tensors = {name: parameter.value for name, parameter in judge.named_parameters().items()}
    operation = Operation(tensors, lambda: {"loss": judge.loss(x, noise)[0]}, backward, module=judge)
    assert max(check(operation, np.random.default_rng(1)).values()) < 1e-6


def test_the_judge_learns_words():
    images, factors = shapes(64, 16)
    x = with_words(images, factors)
    judge = Judge(16, [8, 16], 0.1, dtype=np.float32, rng=np.random.default_rng(0))
    optimizer = Adam(judge.named_parameters(), 1e-2)
    first = judge.loss(x)[1]
    assert first.keys() == KINDS.keys()
    for kind, (_, known) in KINDS.items():  # a new network is nearly without an opinion
        assert first[kind] == pytest.approx(math.log(len(known)), abs=0.5)
    for _ in range(60):
        judge.zero_grad()
        judge.loss(x)
        judge.backward()
        optimizer.step()
    judge.loss(x)
    found = judge.observed()[0]
    assert found["words_right"] > 0.97 and found["images_right"] > 0.9
    read = judge.words((images / 255).astype(np.float32))
    wanted = np.stack(list(word_indices(factors).values()), axis=1)
    assert read.shape == (64, 6) and (read == wanted).mean() > 0.5  # by running statistics, after few steps


def test_rows_hold_pixels_and_words():
    images, factors = shapes(3, 8)
    rows = with_words(images, factors)
    assert rows.dtype == np.uint8 and rows.shape == (3, 8 * 8 * 3 + 6)
    assert np.array_equal(rows[:, :-6].reshape(images.shape), images)
    assert np.array_equal(rows[:, -6:].T, list(word_indices(factors).values()))


def test_what_is_measured_on_pixels_is_true_of_drawn_shapes():
    images, factors = words.unseen_images(1500, 32, 5)
    found = words.measured_factors(images / 255)
    for name, most in (("x", 0.002), ("y", 0.002), ("size", 0.02)):
        assert np.abs(found[name] - factors[name]).max() < most + (0.02 if name == "size" else 0.002), name
    for name in ("colour", "background"):
        away = np.abs(found[name] - factors[name])
        assert np.median(np.minimum(away, 1 - away)) < 0.01, name
    right = words.shares_right(words.measured_words(images / 255), word_indices(factors))
    assert set(right) == {*words.MEASURED, "all"}
    assert min(right[kind] for kind in ("colour", "row", "column", "ground")) > 0.97 and right["size"] > 0.92


def test_hues():
    colours = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [0.5, 0.5, 0.5]])
    np.testing.assert_allclose(words.hue(colours), [0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 0])


def test_an_image_without_a_shape_is_measured_without_a_warning():
    assert all(np.isfinite(values).all() for values in words.measured_factors(np.zeros((2, 8, 8, 3))).values())


def test_shares():
    read = {"size": np.array([0, 1, 2, 0]), "row": np.array([1, 1, 0, 0])}
    wanted = {"size": np.array([0, 1, 1, 0]), "row": np.array([1, 0, 0, 0]), "shape": np.zeros(4)}
    assert words.shares_right(read, wanted) == {"size": 0.75, "row": 0.75, "all": 0.5}


def test_images_of_a_composition_and_of_a_caption():
    factors = words.composition("red triangle", 30, 0)
    assert len(factors["x"]) == 30 and composed(factors, "red triangle").all()
    text = captions(factors, 0, complete=True)[0]
    images = words.images_of(text, 5, 16, 0)
    assert images.shape == (5, 16, 16, 3)
    assert meaning(text) == {kind: KINDS[kind][1][index[0]] for kind, index in word_indices(factors).items()}
    everything = random_factors(words.DRAWN_FOR_ONE, 0, words.OTHERS_STREAM)
    fits = composed(everything, text.replace(",", ""))
    assert np.array_equal(images, draw({name: values[fits][:5] for name, values in everything.items()}, 16))


def test_distances():
    training = np.random.default_rng(0).random((20, 4, 4, 3))
    near = np.clip(training[[3, 7]] + 0.01, 0, 2)
    np.testing.assert_allclose(words.distances_to_nearest(near, training), 0.01, rtol=1e-5)
    same = np.repeat(training[:2, None], 3, axis=1)
    assert words.diversity(same) == 0
    assert words.diversity(np.stack([training[:4], training[:4] + 0.5], axis=1)) == pytest.approx(0.5)
