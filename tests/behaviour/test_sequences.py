"""What the layers of a transformer do beside their gradients: causality, memory, the cache, noise, and refusals."""

import math
import tracemalloc

import numpy as np
import pytest

from scratch import layers
from scratch.layers.attention import KeysAndValues, blocks
from scratch.losses import CrossEntropy


def test_a_causal_token_does_not_see_later_ones():
    rng = np.random.default_rng(0)
    block = layers.TransformerBlock(8, 2, 16, causal=True, dtype=np.float64, rng=rng).eval()
    x = rng.standard_normal((2, 6, 8))
    changed = x.copy()
    changed[:, 4:] += 1
    assert np.array_equal(block.forward(x)[:, :4], block.forward(changed)[:, :4])
    assert not np.allclose(block.forward(x)[:, 4:], block.forward(changed)[:, 4:])


@pytest.mark.parametrize("pieces", [[1] * 7, [3, 1, 3], [7]])
def test_tokens_that_come_in_pieces_give_what_they_give_at_once(pieces):
    rng = np.random.default_rng(0)
    block = layers.TransformerBlock(8, 2, 16, causal=True, dtype=np.float64, rng=rng).eval()
    x, past, at, parts = rng.standard_normal((3, 7, 8)), KeysAndValues(7), 0, []
    for count in pieces:
        parts.append(block.forward(x[:, at : at + count], past=past))
        at += count
    np.testing.assert_allclose(np.concatenate(parts, axis=1), block.forward(x), rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="there is room for 7 tokens, 7 are there, and 1 more came"):
        block.forward(x[:, :1], past=past)


@pytest.mark.parametrize("M, T, held", [(6, 5, 1), (6, 5, 12), (6, 5, 25), (6, 5, 60), (1, 1, 1), (3, 4, 10**6)])
def test_blocks_cover_every_query_once_and_hold_few_scores(M, T, held):
    seen = np.zeros((M, T), int)
    for heads, queries in blocks(M, T, T, held):
        seen[heads, queries] += 1
        assert seen[heads, queries].size * T <= max(held, T)
    assert (seen == 1).all()


def test_attention_never_holds_all_scores():
    """8 heads of 1,024 tokens have 8·2²⁰ scores, 64 MB in float64. With `held` = 2¹⁷ scores at a time (1 MB), forward
    and backward stay below a third of that; most of it is q, k, v and their gradients."""
    attention = layers.MultiheadAttention(32, 8, causal=True, dtype=np.float64)
    attention.held = 2**17
    x = np.random.default_rng(0).standard_normal((1, 1024, 32))
    tracemalloc.start()
    try:
        attention.backward(attention.forward(x))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20 * 8 / 3


def test_large_scores_stay_finite():
    attention = layers.MultiheadAttention(4, 1, causal=True)
    x = np.full((1, 3, 4), 1e4, np.float32)
    assert np.isfinite(attention.forward(x)).all()
    assert np.isfinite(attention.backward(np.ones_like(x))).all()


def test_dropout_keeps_the_mean_and_evaluation_keeps_all():
    dropout = layers.Dropout(0.25, rng=np.random.default_rng(0))
    x = np.ones((1000, 100), np.float32)
    y = dropout.forward(x)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs(y.mean() - 1) < 0.01
    assert np.array_equal(dropout.backward(x), y)  # the same numbers are left out
    assert dropout.eval().forward(x) is x
    none = layers.Dropout(0.0)
    assert none.forward(x) is x and none.backward(y) is y


def test_softmax_sums_to_one_and_does_not_overflow():
    y = layers.Softmax().forward(np.array([[1e4, 0.0, -1e4], [3.0, 3.0, 3.0]]))
    np.testing.assert_array_equal(y, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])


def test_the_cross_entropy_of_uniform_logits_is_log_k():
    loss = CrossEntropy().loss(np.zeros((2, 3, 5)), np.zeros((2, 3), int))
    assert math.isclose(loss, 3 * math.log(5))


@pytest.mark.parametrize("make, error, message", [
    (lambda: layers.Embedding(4, 2).forward(np.array([4])), ValueError, "rows 0 to 3, got indices from 4 to 4"),
    (lambda: layers.Embedding(4, 2).forward(np.array([-1])), ValueError, "rows 0 to 3, got indices from -1 to -1"),
    (lambda: layers.Embedding(4, 2).forward(np.array([1.0])), TypeError, "takes integers, got float64"),
    (lambda: layers.MultiheadAttention(6, 4), ValueError, "cannot cut 6 numbers into 4 equal heads"),
    (lambda: layers.Dropout(1.0), ValueError, "0 ≤ p < 1, got 1"),
    (lambda: layers.Dropout().forward(np.ones(3), np.ones(2)), ValueError, r"noise of its input's shape \(3,\)"),
    (lambda: layers.Softmax(0), ValueError, "takes dim −1"),
    (lambda: layers.GELU("tan"), ValueError, "got 'tan'"),
    (lambda: layers.GELU().forward(np.ones(3, int)), TypeError, "floating-point"),
    (lambda: CrossEntropy().loss(np.ones((2, 3)), np.ones((2, 1), int)), ValueError, r"integer labels \(2,\)"),
    (lambda: CrossEntropy().loss(np.ones((2, 3)), np.array([0, 3])), ValueError, "classes 0 to 2, got the label 3"),
    (lambda: CrossEntropy(np.ones(2)).loss(np.ones((2, 3)), np.array([0, 1])), ValueError, "each of 3 classes"),
])
def test_what_makes_no_sense_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
