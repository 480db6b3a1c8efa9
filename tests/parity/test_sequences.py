"""The layers of a transformer against torch.nn in float64, over drawn shapes and arguments."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from scratch import layers
from scratch.losses import CrossEntropy
from tests.support.beside_torch import check_layer, load_into_torch, torch_gradients
from tests.support.closeness import assert_all_close, assert_close
from torch_ref.layers import TransformerBlock

drawn = settings(max_examples=40, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
small = st.integers(1, 5)
float64 = torch.float64


def normal_parameters(module, rng):
    """Weights that are not what they begin as: scales of 1 and biases of 0 hide errors."""
    for parameter in module.named_parameters().values():
        parameter.value[...] = rng.standard_normal(parameter.value.shape)
    return module


@drawn
@given(small, small, st.integers(3, 9), st.sampled_from([1e-5, 0.1]), seeds)
def test_layer_norm(n, t, c, eps, seed):
    """Not for two numbers: x̂ is then ±1, and the gradient is nearly 0, a difference of rounding."""
    rng = np.random.default_rng(seed)
    ours = normal_parameters(layers.LayerNorm(c, eps, dtype=np.float64), rng)
    check_layer(ours, nn.LayerNorm(c, eps, dtype=float64), rng.standard_normal((n, t, c)), rng)


@drawn
@given(small, small, small, seeds)
def test_softmax_and_gelu(n, t, c, seed):
    rng = np.random.default_rng(seed)
    x = 5 * rng.standard_normal((n, t, c))
    check_layer(layers.Softmax(), nn.Softmax(-1), x, rng)
    for approximate in ("none", "tanh"):
        check_layer(layers.GELU(approximate), nn.GELU(approximate), x, rng)


@drawn
@given(small, small, st.integers(1, 4), st.integers(1, 6), seeds)
def test_linear_of_rows_with_more_axes(n, t, into, out, seed):
    rng = np.random.default_rng(seed)
    ours, theirs = layers.LinearOfTokens(into, out, dtype=np.float64), nn.Linear(into, out, dtype=float64)
    check_layer(ours, theirs, rng.standard_normal((n, t, into)), rng)


@drawn
@given(small, small, st.integers(1, 7), small, seeds)
def test_embedding(n, t, rows, width, seed):
    rng = np.random.default_rng(seed)
    ours, theirs = layers.Embedding(rows, width, dtype=np.float64, rng=rng), nn.Embedding(rows, width, dtype=float64)
    load_into_torch(theirs, ours)
    x = rng.integers(0, rows, (n, t))
    y_torch = theirs(torch.tensor(x))
    dy = rng.standard_normal(y_torch.shape)
    y_torch.backward(torch.tensor(dy))
    assert np.array_equal(ours.forward(x), y_torch.detach().numpy())
    assert ours.backward(dy) is None
    assert_all_close(ours.grad_dict(), torch_gradients(theirs), 1e-12)


@drawn
@given(st.integers(1, 3), st.integers(1, 6), st.sampled_from([(4, 1), (4, 2), (6, 3), (5, 5)]), st.booleans(),
       st.booleans(), st.sampled_from([1, 7, 40, 2**20]), seeds)
def test_attention_with_any_size_of_its_blocks(n, t, sizes, causal, bias, held, seed):
    rng = np.random.default_rng(seed)
    ours = normal_parameters(layers.MultiheadAttention(*sizes, bias=bias, causal=causal, dtype=np.float64), rng)
    ours.held = held
    theirs = nn.MultiheadAttention(*sizes, bias=bias, batch_first=True, dtype=float64)
    load_into_torch(theirs, ours)
    x = rng.standard_normal((n, t, sizes[0]))
    x_torch = torch.tensor(x, requires_grad=True)
    mask = torch.ones(t, t, dtype=torch.bool).triu(1) if causal else None
    y_torch, _ = theirs(x_torch, x_torch, x_torch, attn_mask=mask, need_weights=False)
    dy = rng.standard_normal(x.shape)
    y_torch.backward(torch.tensor(dy))
    assert_close(ours.forward(x), y_torch.detach().numpy(), 1e-12, "output")
    assert_close(ours.backward(dy), x_torch.grad.numpy(), 1e-12, "input gradient")
    # q·(k + b) − q·(k′ + b) does not depend on the bias b of the keys: its gradient is rightly 0
    assert_all_close(ours.grad_dict(), torch_gradients(theirs), 1e-12)


@drawn
@given(st.integers(1, 3), st.integers(1, 5), st.booleans(), seeds)
def test_transformer_block(n, t, causal, seed):
    rng = np.random.default_rng(seed)
    ours = layers.TransformerBlock(6, 2, 9, causal=causal, dtype=np.float64, rng=rng)
    check_layer(ours, TransformerBlock(6, 2, 9, causal=causal, dtype=float64), rng.standard_normal((n, t, 6)), rng)


@drawn
@given(st.integers(1, 3), small, st.integers(2, 6), st.booleans(), seeds)
def test_cross_entropy(n, t, classes, weighted, seed):
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.1, 2, classes) if weighted else None
    ours = CrossEntropy(weight, ignore_index=-1)
    theirs = nn.CrossEntropyLoss(None if weight is None else torch.tensor(weight), ignore_index=-1, reduction="sum")
    a, x = rng.standard_normal((n, t, classes)), rng.integers(-1, classes, (n, t))
    a_torch = torch.tensor(a, requires_grad=True)
    loss = theirs(a_torch.flatten(0, 1), torch.tensor(x).flatten()) / n
    (0.7 * loss).backward()
    assert_close(np.asarray(ours.loss(a, x)), loss.detach().numpy(), 1e-12, "loss")
    assert_close(ours.backward(0.7), a_torch.grad.numpy(), 1e-12, "gradient")


def test_a_block_in_float32():
    """Beside itself in float64: rounding alone."""
    rng = np.random.default_rng(0)
    precise = layers.TransformerBlock(32, 4, 128, causal=True, dtype=np.float64, rng=rng)
    ours = layers.TransformerBlock(32, 4, 128, causal=True)
    ours.load_state_dict(precise.state_dict())
    x, dy = rng.standard_normal((2, 4, 40, 32))
    answers = []
    for block, dtype in ((ours, np.float32), (precise, np.float64)):
        answers.append({"y": block.forward(x.astype(dtype)), "dx": block.backward(dy.astype(dtype)),
                        **block.grad_dict()})
    assert all(array.dtype == np.float32 for array in answers[0].values())
    assert_all_close({name: array.astype(np.float64) for name, array in answers[0].items()}, answers[1], 1e-5)


@pytest.mark.parametrize("name", ["LayerNorm", "MultiheadAttention", "TransformerBlock", "Embedding"])
def test_state_dicts_go_both_ways(name):
    rng = np.random.default_rng(0)
    make = {
        "LayerNorm": lambda: (layers.LayerNorm(6), nn.LayerNorm(6)),
        "MultiheadAttention": lambda: (layers.MultiheadAttention(6, 2), nn.MultiheadAttention(6, 2)),
        "TransformerBlock": lambda: (layers.TransformerBlock(6, 2, 9),
                                     nn.TransformerEncoderLayer(6, 2, 9, norm_first=True)),
        "Embedding": lambda: (layers.Embedding(6, 2), nn.Embedding(6, 2)),
    }[name]
    (ours, theirs), (other, _) = make(), make()
    load_into_torch(theirs, normal_parameters(ours, rng))
    other.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, array in ours.state_dict().items():
        assert np.array_equal(array, other.state_dict()[name])
