"""The accelerated forms against the plain ones that define them."""

import copy
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratch.accelerate import accelerate, back_to_plain
from scratch.accelerate.cpu import blockwise_optim, elementwise, planes
from scratch.accelerate.cpu.attention import ColumnwiseAttention
from scratch.accelerate.cpu.blocks import BlockwiseWindow
from scratch.accelerate.cpu.elementwise import BlockwiseGELU, ClippedReLU, LayerNormByProducts
from scratch.accelerate.cpu.exchange import Exchange, Share
from scratch.accelerate.cpu.factors import Factors, block_of, joined, keep_factors
from scratch.accelerate.cpu.norms import BatchNormByChannels, GroupNormByChannels
from scratch.accelerate.cpu.planes import ConvToFewChannels
from scratch.accelerate.cpu.pooling import DisjointMaxPool2d, RectifiedMaxPool2d, ReLUOfPooling, UpsampleByRows
from scratch.accelerate.cpu.threads import Threads
from scratch.accelerate.cpu.workers import ParallelTrainer, replica, sensible_workers
from scratch.layers import (
    GELU,
    BatchNorm2d,
    Conv2d,
    GroupNorm,
    LayerNorm,
    Linear,
    MaxPool2d,
    MultiheadAttention,
    ReLU,
    Upsample,
)
from scratch.layers.patches import Window
from scratch.module import Sequential
from scratch.optim import Adam
from scratch.training.trainer import Trainer
from tests.support.beside_torch import assert_all_close, assert_close
from tests.support.coupled import CLIPPED, COUNTS, SYSTEMS, examples_of, model_of
from tests.support.forms import both_forms

pairs = {least: st.tuples(st.integers(least, 4), st.integers(least, 4)) for least in (0, 1)}
drawn = settings(derandomize=True, deadline=None, max_examples=100)


@drawn
@given(pairs[1], pairs[1], pairs[0], pairs[0], pairs[1], st.integers(1, 3))
def test_col2im_by_blocks_is_col2im(kernel, stride, padding, beyond, positions, channels):
    """This holds also if no patch reaches some rows and columns of the image."""
    plain, blockwise = (kind(kernel, stride, padding) for kind in (Window, BlockwiseWindow))
    extra = tuple(min(b, s - 1) for b, s in zip(beyond, stride, strict=True))
    try:
        size = plain.image_size(positions, extra)
    except ValueError:
        return  # all of the image would be padding
    p = np.random.default_rng(0).standard_normal((2, *positions, *kernel, channels))
    assert_close(blockwise.col2im(p, size), plain.col2im(p, size), 1e-14)


# --- convolutions to few channels -------------------------------------------------------------------------------------


@drawn
@given(pairs[1], pairs[0], pairs[1], st.integers(0, 5), st.tuples(st.integers(1, 4), st.integers(1, 3)), st.booleans(),
       st.booleans(), st.sampled_from([1, 300, 2**19]), st.sampled_from([np.float32, np.float64]))
def test_a_convolution_to_few_channels(kernel, padding, size, N, channels, bias, needed, held, dtype):
    """Also with images that are smaller than the kernel, and with a padding of more than the kernel."""
    (O, more), rng = channels, np.random.default_rng(0)
    if kernel == (1, 1) or any(n + 2 * p < k for n, p, k in zip(size, padding, kernel, strict=True)):
        return
    plain = Conv2d(O + more, O, kernel, padding=padding, bias=bias, dtype=dtype, rng=rng)
    plain.needs_input_gradient = needed
    fast = accelerate(copy.deepcopy(plain))
    assert type(fast) is ConvToFewChannels
    x, found = rng.standard_normal((N, *size, O + more)).astype(dtype), []
    dy = rng.standard_normal(plain.forward(x).shape).astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planes, "HELD", held)
        for form in (plain, fast):
            y, dx = form.forward(x), form.backward(dy)
            found.append({"y": y, **({"dx": dx} if needed else {}), **form.grad_dict()})
            assert needed or dx is None
    for name, array in found[0].items():
        assert found[1][name].dtype == dtype and found[1][name].shape == array.shape
        np.testing.assert_allclose(found[1][name], array, atol={np.float32: 1e-4, np.float64: 1e-12}[dtype])


def test_a_convolution_to_few_channels_saves_and_refuses_what_the_plain_form_does():
    layer, x = accelerate(Conv2d(5, 3, 3)), np.zeros((1, 4, 4, 5), np.float32)
    layer.eval().forward(x)
    assert layer.saved is None
    layer.train()
    with pytest.raises(RuntimeError, match="needs a forward"):
        layer.backward(x)
    with pytest.raises(ValueError, match=r"takes an input of shape \(N, H, W, 5\)"):
        layer.forward(x[..., :3])
    with pytest.raises(ValueError, match="does not fit into an image"):
        layer.forward(x[:, :2])
    with pytest.raises(TypeError, match="float32 weights, got a float64"):
        layer.forward(x.astype(np.float64))
    assert type(back_to_plain(layer)) is Conv2d


# --- pooling ----------------------------------------------------------------------------------------------------------


@drawn
@given(st.tuples(st.integers(2, 4), st.integers(2, 4)), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3),
       st.sampled_from([np.float32, np.float64]), st.sampled_from([(), (np.inf, -np.inf), (np.nan, np.inf)]))
def test_the_largest_of_windows_side_by_side(kernel, N, beyond, windows, dtype, also):
    """Equal to the last bit. The numbers are few, so most windows have several largest ones."""
    rng = np.random.default_rng(0)
    size = [k * (windows + 1) + min(beyond, k - 1) for k in kernel]
    x = rng.choice(np.array([-1, 0, 2, 3, *also], dtype), (N, *size, 3))
    layer = MaxPool2d(kernel)
    plain, fast = both_forms(layer, x, rng)
    assert type(layer) is DisjointMaxPool2d
    for name, array in plain.items():
        assert fast[name].dtype == dtype
        np.testing.assert_array_equal(fast[name], array)


@pytest.mark.parametrize("settings", [
    dict(kernel_size=3, stride=2), dict(kernel_size=2, stride=3), dict(kernel_size=2, padding=1),
    dict(kernel_size=2, dilation=2), dict(kernel_size=(1, 2)), dict(kernel_size=2)])
def test_which_pooling_has_a_form_of_its_own_and_it_goes_back(settings):
    layer = accelerate(MaxPool2d(**settings))
    assert type(layer) is (DisjointMaxPool2d if settings == dict(kernel_size=2) else MaxPool2d)
    assert type(back_to_plain(layer)) is MaxPool2d


@pytest.mark.parametrize("also", [(), (np.inf, -np.inf), (np.nan, np.inf)])
def test_a_relu_before_pooling_is_computed_after_it(also):
    rng = np.random.default_rng(0)
    x = rng.choice(np.array([-2, -1, 0, 2, 3, *also], np.float32), (3, 6, 7, 5))
    layers = Sequential(ReLU(), ReLU(), MaxPool2d(2), ReLU(), MaxPool2d(2, 1))
    plain, fast = both_forms(layers, x, rng)
    forms = [ClippedReLU, ReLUOfPooling, RectifiedMaxPool2d, ClippedReLU, MaxPool2d]
    assert [type(layer) for layer in layers.layers] == forms
    for name, array in plain.items():
        np.testing.assert_array_equal(fast[name], array)
    layers.eval().forward(x)
    assert all(layer.saved is None for layer in layers.layers)
    for layer in layers.train().layers:
        with pytest.raises(RuntimeError, match="needs a forward"):
            layer.backward(x)
        with pytest.raises(TypeError, match="takes floating-point numbers"):
            layer.forward(np.ones_like(x, int))
    assert [type(layer) for layer in back_to_plain(layers).layers] == [ReLU, ReLU, MaxPool2d, ReLU, MaxPool2d]


@drawn
@given(pairs[1], st.integers(0, 3), pairs[1], st.sampled_from([np.float32, np.float64]))
def test_upsampling_adds_what_the_plain_form_adds(factor, N, size, dtype):
    rng, layer = np.random.default_rng(0), Upsample(scale_factor=factor)
    plain, fast = both_forms(layer, rng.standard_normal((N, *size, 3)).astype(dtype), rng)
    assert type(layer) is UpsampleByRows and type(back_to_plain(layer)) is Upsample
    for name, array in plain.items():
        assert fast[name].dtype == dtype
        np.testing.assert_allclose(fast[name], array, atol={np.float32: 1e-5, np.float64: 1e-14}[dtype])


@pytest.mark.parametrize("layer", [MaxPool2d(2), Upsample(scale_factor=2)])
def test_pooling_saves_nothing_in_evaluation_and_refuses_what_the_plain_forms_refuse(layer):
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 3), dtype=np.float32)
    expected = layer.eval().forward(x)
    np.testing.assert_array_equal(accelerate(layer).forward(x), expected)
    assert layer.saved is None
    layer.train()
    with pytest.raises(RuntimeError, match="needs a forward"):
        layer.backward(expected)
    with pytest.raises(TypeError, match="takes floating-point numbers"):
        layer.forward(x.astype(np.int64))
    with pytest.raises(ValueError, match="takes an input of shape"):
        layer.forward(x[0])
    if isinstance(layer, MaxPool2d):
        with pytest.raises(ValueError, match="does not fit into an image"):
            layer.forward(x[:, :1])


# --- norms of channels ------------------------------------------------------------------------------------------------


def with_weights(norm, rng):
    """With scales, shifts and running statistics that are not 1 and 0."""
    for part in norm.named_state().values():
        if part.value.dtype.kind == "f":
            part.value[...] = rng.uniform(0.5, 2, part.value.shape)
    return norm


@drawn
@given(st.integers(2, 5), pairs[1], st.sampled_from([(1, 1), (1, 3), (3, 1), (8, 4), (2, 300)]),
       st.sampled_from([1e-5, 0.1]), st.sampled_from([0, -3, 100]), st.sampled_from([np.float32, np.float64]),
       st.booleans())
def test_norms_by_channels(N, size, groups, eps, mean, dtype, of_batch):
    rng, (count, length) = np.random.default_rng(0), groups
    layer = (BatchNorm2d(count * length, eps=eps, dtype=dtype) if of_batch else
             GroupNorm(count, count * length, eps=eps, dtype=dtype))
    x = (mean + rng.standard_normal((N, *size, count * length))).astype(dtype)
    if size[0] * size[1] * (N if of_batch else length) > 3:  # x̂ of two numbers is −1 and 1, and ∂L/∂x nearly 0
        plain, fast = both_forms(with_weights(layer, rng), x, rng)
        assert type(layer) is (BatchNormByChannels if of_batch else GroupNormByChannels)
        assert {array.dtype for array in fast.values()} == {np.dtype(dtype)}
        assert_all_close(fast, plain, {np.float32: 1e-3, np.float64: 1e-11}[dtype])


def test_batch_norm_by_channels_moves_the_running_statistics_and_evaluates_with_them():
    rng = np.random.default_rng(0)
    plain = with_weights(BatchNorm2d(6, dtype=np.float64), rng)
    fast, x = accelerate(copy.deepcopy(plain)), 5 + rng.standard_normal((3, 4, 4, 6))
    for form in (plain, fast):
        form.forward(x), form.forward(x[:1])
    assert_all_close(fast.state_dict(), plain.state_dict(), 1e-13)
    assert_close(fast.eval().forward(x), plain.eval().forward(x), 1e-13)
    assert fast.saved is None
    with pytest.raises(ValueError, match="a batch of a single pixel"):
        fast.train().forward(x[:1, :1, :1])


@drawn
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.sampled_from([0, -3, 1e6]))
def test_batch_norm_in_shares_is_that_of_the_whole_batch(lengths, mean):
    """Also where the mean is a million deviations: sums of squares would leave four digits of the variance."""
    rng = np.random.default_rng(0)
    x = mean + rng.standard_normal((sum(lengths), 3, 2, 4))
    dy = rng.standard_normal(x.shape)
    shared = accelerate(with_weights(BatchNorm2d(4, dtype=np.float64), rng))
    whole, exchange = copy.deepcopy(shared), Exchange(len(lengths), 0, len(lengths))

    def of_share(numbered):
        number, layer = numbered
        share = slice(sum(lengths[:number]), sum(lengths[: number + 1]))
        layer.batch = Share(exchange, number)
        return layer.forward(x[share]), layer.backward(dy[share]), layer.weight.grad, layer.bias.grad

    answers = Threads(len(lengths)).map(of_share, enumerate([replica(shared) for _ in lengths]))
    y, dx, dw, db = zip(*answers, strict=True)
    expected = {"y": whole.forward(x), "dx": whole.backward(dy), "dw": whole.weight.grad, "db": whole.bias.grad}
    found = {"y": np.concatenate(y), "dx": np.concatenate(dx), "dw": sum(dw), "db": sum(db)}
    tolerance = 1e-9 if mean == 1e6 else 1e-12  # x itself is rounded to 1e-10 deviations
    assert_all_close(found, expected, tolerance)
    assert_all_close(shared.state_dict(), whole.state_dict(), tolerance)


NORMS = {"batch": lambda: BatchNorm2d(4), "group": lambda: GroupNorm(2, 4)}


@pytest.mark.parametrize("name", NORMS)
def test_norms_by_channels_save_and_refuse_what_the_plain_forms_do(name):
    plain, x = NORMS[name](), np.random.default_rng(0).standard_normal((3, 4, 4, 4), dtype=np.float32)
    layer = accelerate(NORMS[name]())
    assert_close(layer.eval().forward(x), plain.eval().forward(x), 1e-6)
    assert layer.saved is None
    layer.train()
    with pytest.raises(RuntimeError, match="needs a forward"):
        layer.backward(x)
    with pytest.raises(ValueError, match="takes an input of shape"):
        layer.forward(x[..., :3])
    given = x.copy()
    layer.forward(x), layer.backward(x)
    np.testing.assert_array_equal(x, given)  # what they are given is not changed
    assert type(back_to_plain(layer)) is type(plain)


@pytest.mark.parametrize("name", NORMS)
def test_norms_by_channels_of_no_images_of_equal_numbers_and_of_nan(name):
    rng, layer = np.random.default_rng(0), NORMS[name]()
    x = rng.standard_normal((3, 2, 2, 4), dtype=np.float32)
    plain, fast = both_forms(with_weights(layer, rng), x[:0], rng)
    assert {name: array.shape for name, array in fast.items()} == {name: array.shape for name, array in plain.items()}
    x[:, :, :, :2] = 0.1
    plain, fast = both_forms(back_to_plain(layer), x, rng)
    np.testing.assert_allclose(fast["y"], plain["y"], atol=1e-4)
    x[0, 1, 1, 1] = np.nan
    plain, fast = both_forms(back_to_plain(layer), x, rng)
    for name, array in plain.items():
        np.testing.assert_array_equal(np.isnan(fast[name]), np.isnan(array))


# --- layers of tokens -------------------------------------------------------------------------------------------------


@drawn
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.booleans(), st.booleans(),
       st.sampled_from([1, 20, 2**18]))
def test_attention_by_columns_is_attention(N, T, heads, D, causal, bias, held):
    """With one row of scores at a time, with some rows of some heads, and with all at once."""
    rng = np.random.default_rng(0)
    layer = MultiheadAttention(heads * D, heads, bias=bias, causal=causal, dtype=np.float64, rng=rng)
    layer.held = held  # of both forms
    plain, fast = both_forms(layer, rng.standard_normal((N, T, heads * D)), rng)
    assert type(layer) is ColumnwiseAttention
    assert_all_close(fast, plain, 1e-13)


def test_scores_of_a_thousand_stay_finite():
    """The largest score of each query is subtracted before the exponential, whatever the other queries have."""
    rng = np.random.default_rng(0)
    layer = MultiheadAttention(8, 2, causal=True, dtype=np.float64, rng=rng)
    x = rng.standard_normal((2, 6, 8)) * np.array([1e-3, 1, 30, 100, 1, 300])[:, None]
    plain, fast = both_forms(layer, x, rng)
    assert all(np.isfinite(array).all() for array in fast.values())
    assert_all_close(fast, plain, 1e-11)


@pytest.mark.parametrize("make, kind", [
    (lambda: GELU("tanh"), BlockwiseGELU), (GELU, BlockwiseGELU),
    (lambda: LayerNorm(5, dtype=np.float64), LayerNormByProducts)])
@pytest.mark.parametrize("shape", [(1, 5), (7, 5), (2, 3, 5)])
def test_gelu_and_layer_norm(make, kind, shape, monkeypatch):
    """Numbers from −30 to 30, where the tanh of GELU is −1 or 1, in blocks that end within a row."""
    monkeypatch.setattr(elementwise, "BLOCK", 4)
    layer, rng = make(), np.random.default_rng(0)
    plain, fast = both_forms(layer, rng.uniform(-30, 30, shape), rng)
    assert type(layer) is kind and fast["y"].shape == fast["dx"].shape == shape
    assert_all_close(fast, plain, 1e-13)


def test_a_layer_norm_of_numbers_far_from_zero():
    """A mean of 10⁶ times the deviation, as the plain form computes it: in two parts."""
    rng = np.random.default_rng(0)
    layer = LayerNorm(64, dtype=np.float64)
    plain, fast = both_forms(layer, 1e6 + rng.standard_normal((9, 64)), rng)
    assert_all_close(fast, plain, 1e-9)


@pytest.mark.parametrize("layer, shape", [
    (GELU("tanh"), (4, 9, 6)), (LayerNorm(6), (4, 9, 6)), (MultiheadAttention(6, 2, causal=True), (4, 9, 6))])
def test_layers_of_tokens_in_float32(layer, shape):
    rng = np.random.default_rng(0)
    plain, fast = both_forms(layer, rng.standard_normal(shape, dtype=np.float32), rng)
    assert {array.dtype for array in fast.values()} == {np.dtype(np.float32)}
    assert_all_close(fast, plain, 2e-6)


@pytest.mark.parametrize("layer", [GELU("tanh"), LayerNorm(4), MultiheadAttention(4, 2)])
def test_layers_of_tokens_save_nothing_in_evaluation_and_refuse_what_the_plain_forms_refuse(layer):
    x = np.random.default_rng(0).standard_normal((2, 3, 4), dtype=np.float32)
    expected = back_to_plain(layer).eval().forward(x)
    assert_close(accelerate(layer).forward(x), expected, 1e-6)
    assert layer.saved is None
    layer.train()
    with pytest.raises(RuntimeError, match="needs a forward"):
        layer.backward(x)
    with pytest.raises(TypeError, match=r"takes floating-point numbers|float32 weights"):
        layer.forward(x.astype(np.int64))
    if isinstance(layer, GELU):
        return
    with pytest.raises(ValueError, match="takes an input of shape"):
        layer.forward(x[..., :3])


# --- workers ----------------------------------------------------------------------------------------------------------

def trainer(name, workers, dtype=np.float64):
    """A trainer of a new model of tests/support/coupled.py, its layers in their faster forms."""
    built = accelerate(model_of(name, dtype), 1)
    optimizer = Adam(built.named_parameters(), 1e-3, weight_decay=0.01, clip_norm=CLIPPED.get(name))
    learner = ParallelTrainer(built, optimizer, 4, workers) if workers > 1 else Trainer(built, optimizer, 4)
    if learner.prepared_from:
        learner.prepare([examples_of(name, 8, dtype), examples_of(name, 7, dtype)])
    return learner


def assert_same_counts(ours, expected):
    assert list(ours) == list(expected)
    for level, counts in expected.items():
        np.testing.assert_array_equal(ours[level], counts)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("workers", [2, 3])
def test_several_workers_learn_what_one_learns(name, workers):
    """The shares have different sizes, and the last batch has fewer examples than there are workers."""
    one, several = (trainer(name, count) for count in (1, workers))
    for step, count in enumerate(COUNTS):
        x = examples_of(name, count)
        (terms, counts), (terms_several, counts_several) = one.step(x, 1, step), several.step(x, 1, step)
        assert list(terms) == list(terms_several)
        np.testing.assert_allclose(several.read(terms_several.values()), one.read(terms.values()), rtol=1e-9)
        assert_same_counts(counts_several, counts)
    x, noise = examples_of(name, 7), one.draw_noise(7, np.random.default_rng(0))
    (terms, counts, measured), other = one.evaluate(x, noise), several.evaluate(x, noise)
    np.testing.assert_allclose(several.read(other[0].values()), one.read(terms.values()), rtol=1e-9)
    assert_same_counts(other[1], counts)
    assert (other[2] is None) == (measured is None) == (name == "prior")
    if measured is not None:
        np.testing.assert_allclose(other[2], measured, rtol=1e-9)
    (weights, moments, steps), (weights_several, moments_several, steps_several) = one.state(), several.state()
    assert steps == steps_several == 4
    assert_all_close(weights_several, weights, 1e-9)
    assert_all_close(moments_several, moments, 1e-9)


@pytest.mark.parametrize("name", SYSTEMS)
def test_several_workers_repeat_bit_for_bit(name):
    def train():
        parallel = trainer(name, 3, np.float32)
        for step in range(5):
            parallel.step(examples_of(name, 9, np.float32), 1, step)
        return parallel.state()[0]

    first, second = train(), train()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_the_shares_of_an_update_are_all_blocks_and_about_equal(monkeypatch):
    monkeypatch.setattr(blockwise_optim, "BLOCK", 50)
    learner = trainer("prior", 3)
    learner.step(examples_of("prior", 6), 1, 0)
    shares = learner.shares_of_blocks()
    sizes = [sum(block.arrays[0].size for block in share) for share in shares]
    assert sum(sizes) == learner.model.parameter_count() and max(sizes) - min(sizes) <= 2 * 50
    assert [block for share in shares for block in share] == learner.optimizer.blocks()
    found = {name: [] for name in learner.optimizer.parameters}
    for block in learner.optimizer.blocks():
        assert 0 < block.arrays[0].size == sum(numbers.stop - numbers.start for _, numbers in block.pieces) <= 50
        for name, numbers in block.pieces:
            found[name] += range(numbers.start, numbers.stop)
    assert all(found[name] == list(range(p.value.size)) for name, p in learner.optimizer.parameters.items())


def test_a_parameter_that_is_assigned_a_new_array_trains_on():
    """The optimiser keeps all weights in one array, and moves the new one into it."""
    left, assigned = trainer("ae", 2), trainer("ae", 2)
    for learner in (left, assigned):
        learner.step(examples_of("ae", 6), 1, 0)
    for parameter in list(assigned.model.named_parameters().values())[::2]:
        parameter.value = parameter.value.copy()
    for learner in (left, assigned):
        learner.step(examples_of("ae", 6), 1, 1)
    for ours, theirs in zip(assigned.state()[:2], left.state()[:2], strict=True):
        assert_all_close(ours, theirs, 0)


def test_what_a_model_writes_after_its_first_update_is_written_into_its_weights(monkeypatch):
    """The update has moved the weights into one array."""
    learner = trainer("vqvae, restart", 2)

    def update(model, choices):
        if model.bottleneck.quantizer.batch.writes:
            model.bottleneck.quantizer.codebook.value[...] = 7

    monkeypatch.setattr(type(learner.model), "moves", True)
    monkeypatch.setattr(type(learner.model), "update", update)
    learner.step(examples_of("vqvae, restart", 6), 1, 0)
    assert (learner.model.bottleneck.quantizer.codebook.value == 7).all()


@pytest.mark.parametrize("name", ["ae, wide", "vae, wide and clipped"])
def test_a_wide_dense_layer_leaves_factors_and_learns_what_it_learns_with_products(name, monkeypatch):
    """A share without images leaves none, and blocks are whole rows, however long these are."""
    monkeypatch.setattr(blockwise_optim, "BLOCK", 100)
    factored = trainer(name, 3)
    monkeypatch.setattr(ParallelTrainer, "factors", False)
    multiplied = trainer(name, 3)
    for step, count in enumerate(COUNTS):
        for learner in (factored, multiplied):
            learner.step(examples_of(name, count), 1, step)
        left = {name for name, parts in factored.gradients().items() if any(isinstance(p, Factors) for p in parts)}
        assert left == {name for name, p in factored.optimizer.parameters.items()
                        if name.startswith("bottleneck") and p.value.ndim == 2}
        assert not any(isinstance(p, Factors) for parts in multiplied.gradients().values() for p in parts)
        for ours, theirs in zip(factored.state()[:2], multiplied.state()[:2], strict=True):
            assert_all_close(ours, theirs, 1e-11)


def test_factors_join_and_add_up_to_their_product():
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((7, 6)), rng.standard_normal((7, 5))
    whole, parts = x.T @ dy, [Factors(x[a:b], dy[a:b]) for a, b in ((0, 3), (3, 3), (3, 5))]
    parts.append(x[5:].T @ dy[5:])
    assert parts[0].size == whole.size and parts[0].dtype == whole.dtype
    together, rest = joined(parts)
    for numbers in (slice(0, 30), slice(5, 15), slice(25, 30)):
        found = block_of(together, numbers) + block_of(rest, numbers)
        np.testing.assert_allclose(found, whole.reshape(-1)[numbers], atol=1e-14)
    assert joined(parts[3:])[0] is parts[3]
    total = parts[0]
    total += parts[3]
    np.testing.assert_allclose(total, x[:3].T @ dy[:3] + parts[3])


def test_a_second_gradient_of_a_layer_is_added_to_its_factors():
    layer, rng = keep_factors(Linear(8, 9, dtype=np.float64)), np.random.default_rng(0)
    inputs, gradients = rng.standard_normal((2, 2, 8)), rng.standard_normal((2, 2, 9))
    for x, dy in zip(inputs, gradients, strict=True):
        layer.forward(x)
        layer.backward(dy)
    expected = sum(x.T @ dy for x, dy in zip(inputs, gradients, strict=True))
    np.testing.assert_allclose(layer.weight.grad, expected, atol=1e-14)


def test_a_step_in_float32_stays_in_float32():
    parallel = trainer("vae", 2, np.float32)
    terms, _ = parallel.step(examples_of("vae", 9, np.float32), 1, 0)
    assert {np.asarray(term).dtype for term in terms.values()} == {np.dtype(np.float32)}
    for worker in parallel.workers:
        assert {p.grad.dtype for p in worker.model.named_parameters().values()} == {np.dtype(np.float32)}


def test_a_replica_shares_the_weights_and_nothing_else():
    model = trainer("vqvae", 1).model
    other = replica(model)
    for (name, part), twin in zip(model.named_state().items(), other.named_state().values(), strict=True):
        assert twin.value is part.value and twin is not part, name
    model.loss(examples_of("vqvae", 2))
    assert other.encoder.layers[0].saved is None


def test_an_error_in_a_worker_is_raised():
    with pytest.raises(ValueError, match="takes an input of shape"):
        trainer("ae", 2).step(np.zeros((4, 16, 16, 1)), 1, 0)


@pytest.mark.parametrize("worker", [0, 1, 2])
def test_an_error_in_one_worker_ends_those_that_wait_for_its_sums_and_the_next_step_works(worker, monkeypatch):
    learner = trainer("ae, batch norm", 3)
    decoder = learner.workers[worker].model.decoder

    def fail(x):
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(decoder, "forward", fail)
        with pytest.raises(MemoryError, match="no room"):
            learner.step(examples_of("ae", 9), 1, 0)
    terms, _ = learner.step(examples_of("ae", 9), 1, 0)
    assert np.isfinite(learner.read(terms.values())).all()


@pytest.mark.parametrize("count", [1, 3])
def test_threads_answer_in_order_and_take_their_inputs_in_order(count):
    taken = []

    def inputs():
        for number in range(40):
            taken.append(number)
            yield number

    def answer(number):
        time.sleep(0.002 * (number % 3))
        assert np.geterr()["over"] == "raise" and len(taken) <= number + 3 * count + 2  # drawn when they are needed
        return number, threading.current_thread() is threading.main_thread()

    with np.errstate(over="raise"):
        found = Threads(count).map(answer, inputs())
    assert [number for number, _ in found] == taken == list(range(40))
    assert {in_main for _, in_main in found} == {count == 1}


def test_a_sensible_number_of_workers(monkeypatch):
    monkeypatch.setattr("scratch.accelerate.cpu.workers.cores", lambda: 4)
    assert [sensible_workers(size) for size in (1, 31, 32, 64, 4096)] == [1, 1, 2, 4, 4]
