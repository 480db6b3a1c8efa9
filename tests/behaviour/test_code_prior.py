"""The prior over codes: its probabilities, its gradient, what it writes, and how tokens are chosen."""

import itertools
import math

import numpy as np
import pytest

from scratch.gradcheck.differences import Operation, check
from scratch.layers.softmax import softmax
from scratch.models.choosing import chooser, guided, keep_largest, keep_probable
from scratch.models.code_prior import CodePrior
from scratch.models.code_rows import read_grids
from scratch.optim import Adam
from scratch.options.errors import InputError


def new_prior(grids=((2, 2),), codes=3, labels=0, dropout=0.0, seed=0, width=8, text_length=0, vocabulary=2):
    rng = np.random.default_rng(seed)
    prior = CodePrior(grids, codes, width, 2, 2, dropout, labels, text_length, vocabulary, dtype=np.float64, rng=rng)
    for name, parameter in prior.named_parameters().items():  # large enough that no code is like another
        scale = 1.0 if "embedding" in name or "start" in name else 0.3
        parameter.value += scale * rng.standard_normal(parameter.value.shape)
    return prior


def rows(count, length, codes, labels=1, seed=1):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.integers(0, labels, (count, 1)), rng.integers(0, codes, (count, length))], axis=1)


def captioned(prior, count, codes, seed=1):
    """Rows whose captions, of the tokens 0 and 1, have one token, two, three, ... and then the end, 2."""
    x = rows(count, prior.length, codes, seed=seed)
    text = x[:, 1 : 1 + prior.text_length]
    text %= prior.text.end
    for number, caption in enumerate(text):
        caption[1 + number % prior.text_length :] = prior.text.end
    return x


def test_the_probabilities_of_all_rows_sum_to_one():
    prior = new_prior(labels=2)
    codes = np.array(list(itertools.product(range(3), repeat=4)))
    for label in range(2):
        x = np.concatenate([np.full((len(codes), 1), label), codes], axis=1)
        assert math.isclose(np.exp(-prior.nats_of(x)).sum(), 1, rel_tol=1e-12)


@pytest.mark.parametrize("grids, labels, dropout, text_length", [
    (((2, 2),), 0, 0.0, 0), (((1, 2), (2, 2)), 3, 0.0, 0), (((2, 1),), 2, 0.4, 0), (((2, 2),), 0, 0.2, 3)])
def test_its_gradient(grids, labels, dropout, text_length):
    prior = new_prior(grids, labels=labels, dropout=dropout, text_length=text_length)
    check_gradient(prior)


def check_gradient(prior):
    """Against finite differences, with random rows of 3 codes."""
    x = captioned(prior, 4, 3) if prior.text_length else rows(4, prior.length, 3, max(prior.labels, 1))
    noise = prior.draw_noise(4, np.random.default_rng(2))

    def backward(upstream):
        prior.zero_grad()
        prior.backward(float(upstream["loss"]))
        return {name: parameter.gradient() for name, parameter in prior.named_parameters().items()}

    tensors = {name: parameter.value for name, parameter in prior.named_parameters().items()}
    operation = Operation(tensors, lambda: {"loss": prior.loss(x, noise)[0]}, backward, module=prior)
    differences = check(operation, np.random.default_rng(3))
    keys = {name: difference for name, difference in differences.items() if not name.endswith("in_proj_bias")}
    assert max(keys.values()) < 1e-7
    assert max(differences.values()) < 1e-6  # a third of these biases, the keys', has a gradient of rightly 0


def test_the_loss_is_the_mean_over_codes_of_a_sum_over_them():
    prior = new_prior()
    loss, terms = prior.loss(rows(5, 4, 3))
    assert terms.keys() == {"image"} and math.isclose(loss, terms["image"] / 4)
    assert math.isclose(prior.observed()[0]["bits"], terms["image"] / math.log(2))


def test_the_probabilities_of_captions_and_codes_sum_to_one():
    """A caption is over at its first end, so as many captions exist as texts of at most S tokens."""
    prior = new_prior(((1, 2),), codes=2, text_length=2)
    texts = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (1, 2), (2, 2)]
    x = np.array([(0, *text, a, b) for text in texts for a in range(2) for b in range(2)])
    with prior.evaluating():
        nats = prior.nats_by_term(x)
    p = np.exp(-nats["text"] - nats["image"])
    assert math.isclose(p.sum(), 1, rel_tol=1e-12)
    np.testing.assert_allclose(np.exp(-nats["image"]).reshape(-1, 4).sum(axis=1), 1, rtol=1e-12)


def test_the_places_behind_the_end_of_a_caption_count_nothing():
    prior = new_prior(text_length=3)
    x = captioned(prior, 3, 3)
    prior.loss(x)
    assert prior.text.labels(x[:, 1:4]).tolist() == [
        [x[0, 1], 2, -100], [x[1, 1], x[1, 2], 2], [x[2, 1], x[2, 2], x[2, 3]]]
    assert prior.weights == {"text": 1 / 24, "image": 7 / 32}


def test_a_caption_that_it_writes_stays_at_its_end():
    prior = new_prior(text_length=4)
    written = prior.write(np.zeros(200, int), chooser(np.random.default_rng(0)), count=4)
    assert written.shape == (200, 4)
    ended = np.maximum.accumulate(written == 2, axis=1)
    assert (written[ended] == 2).all() and 0.2 < ended[:, -1].mean() < 1


def check_writing(prior, x):
    """Writing the rows x, token after token with kept keys, meets the logits of the pass over whole rows."""
    nats = np.zeros(len(x))

    def choose(logits, place):
        chosen = x[:, 1 + place]
        if place >= prior.text_length:
            nats[...] -= (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))[np.arange(len(x)), chosen]
        return chosen

    assert np.array_equal(prior.write(x[:, 0], choose), x[:, 1:])
    np.testing.assert_allclose(nats, prior.nats_of(x), rtol=1e-12)


@pytest.mark.parametrize("grids, text_length", [(((2, 3),), 0), (((1, 2), (2, 2)), 0), (((2, 2),), 3)])
def test_writing_with_kept_keys_gives_the_logits_of_the_whole_row(grids, text_length):
    prior = new_prior(grids, labels=2, text_length=text_length)
    x = captioned(prior, 3, 3) if text_length else rows(3, prior.length, 3, 2)
    check_writing(prior, x)


def test_known_codes_come_first_and_the_rest_follows_them():
    prior = new_prior()
    known = rows(50, 4, 3)[:, 1:3]
    written = prior.write(np.zeros(50, int), chooser(np.random.default_rng(0)), known)
    assert written.shape == (50, 4) and np.array_equal(written[:, :2], known)


def test_what_is_drawn_has_the_models_probabilities():
    prior = new_prior(((1, 2),), codes=2)
    drawn = prior.write(np.zeros(20_000, int), chooser(np.random.default_rng(0)))
    frequency = np.bincount(2 * drawn[:, 0] + drawn[:, 1], minlength=4) / len(drawn)
    x = np.array([[0, a, b] for a in range(2) for b in range(2)])
    np.testing.assert_allclose(frequency, np.exp(-prior.nats_of(x)), atol=0.015)


def test_it_learns_what_one_code_says_about_the_next():
    """Rows in which all codes are equal: log₂ 4 = 2 bits for the first code, none for the others."""
    prior = CodePrior(((2, 2),), 4, 16, 2, 1, 0.0, 0, dtype=np.float32, rng=np.random.default_rng(0))
    optimizer = Adam(prior.named_parameters(), 1e-2)
    x = np.repeat(np.arange(32)[:, None] % 4, 5, axis=1)
    x[:, 0] = 0
    for _ in range(150):
        prior.zero_grad()
        prior.loss(x)
        prior.backward()
        optimizer.step()
    assert 2 - 1e-3 < prior.observed()[0]["bits"] < 2.1
    written = prior.write(np.zeros(40, int), chooser(np.random.default_rng(0)))
    assert (written == written[:, :1]).mean() > 0.97 and len(np.unique(written)) == 4


def test_the_largest_and_the_most_probable_are_kept():
    logits = np.log(np.array([[0.5, 0.2, 0.05, 0.25], [0.1, 0.1, 0.1, 0.7]]))
    kept = np.isfinite(keep_largest(logits, 2))
    assert kept.tolist() == [[True, False, False, True], [True, True, True, True]]  # equal ones stay together
    assert np.array_equal(keep_largest(logits, 9), logits)
    for share, expected in ((0.4, [0]), (0.6, [0, 3]), (0.75, [0, 3]), (0.76, [0, 1, 3]), (1.0, [0, 1, 2, 3])):
        assert np.flatnonzero(np.isfinite(keep_probable(logits, share)[0])).tolist() == expected, share


def test_a_temperature_of_0_takes_the_most_likely():
    logits = np.random.default_rng(0).standard_normal((20, 5))
    assert np.array_equal(chooser(np.random.default_rng(0), temperature=0)(logits, 0), logits.argmax(axis=1))
    cold = chooser(np.random.default_rng(0), temperature=0.01)(logits, 0)
    assert (cold == logits.argmax(axis=1)).mean() > 0.9


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
def test_guidance_leads_from_one_caption_to_another(guidance):
    """Each code has p ∝ p_other · (p_caption / p_other)^guidance, both after the same codes, and both halves get it."""
    prior = new_prior(text_length=2)
    captions = captioned(prior, 6, 3)[:, 1:3]
    others, seen = np.tile([[1, prior.text.end]], (6, 1)), []

    def choose(logits, place):
        seen.append(logits)
        return logits.argmax(axis=1)

    written = prior.write(np.zeros(12, int), guided(choose, guidance), np.concatenate([captions, others]))
    assert np.array_equal(written[:6, 2:], written[6:, 2:])
    after = []
    for known in (captions, others):
        logits = []
        prior.write(np.zeros(6, int), watched(logits, written[:6, 2:]), known)
        after.append(logits)
    for found, one, other in zip(seen, *after, strict=True):
        p = softmax(other) * (softmax(one) / softmax(other)) ** guidance
        np.testing.assert_allclose(softmax(found), p / p.sum(axis=1, keepdims=True), rtol=1e-10)
        assert np.abs(softmax(one) - softmax(other)).max() > 0.01


def watched(logits, codes):
    """A function that chooses these codes, and keeps the logits."""
    def choose(given, place):
        logits.append(given)
        return codes[:, len(logits) - 1]

    return choose


@pytest.mark.parametrize("text", ["", "8", "8x", "8x8x8x8", "8x8x0", "0x4", "ax4", "4x4,", "-1x4"])
def test_what_is_no_grid_is_refused(text):
    with pytest.raises(InputError, match="expected the sizes of grids"):
        read_grids(text)
