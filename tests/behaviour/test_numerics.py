"""Formulas at the limits of their numbers: far from zero, at −∞, at a bound, with empty arrays and empty batches."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from scratch import bottlenecks, layers, losses
from scratch.accelerate import accelerate
from scratch.bottlenecks import GumbelSoftmax, SoftAssignmentEntropy, UnitLength, VectorQuantizer
from scratch.bottlenecks.codebook.kmeans import lloyd
from scratch.bottlenecks.vector_quantizer import nearest_codes
from scratch.gradcheck import differences, table
from scratch.gradcheck.cases import CASES
from scratch.instruments import retrieval
from scratch.layers.checks import size
from scratch.layers.patches import pair
from scratch.losses import Reconstruction
from scratch.module import Module
from tests.support.beside_torch import check_layer, load_into_torch, to_numpy, to_torch
from tests.support.closeness import assert_close
from torch_ref.bottlenecks.codebook.kmeans import kmeans as torch_kmeans
from torch_ref.bottlenecks.codebook.nearest import nearest_codes as torch_nearest_codes

# --- the nearest code, far from the origin ----------------------------------------------------------------------------


def torch_nearest(z, codebook):
    return torch_nearest_codes(torch.tensor(z), torch.tensor(codebook)).numpy()


SEARCHES = {"ours": nearest_codes, "in blocks": lambda z, codebook: nearest_codes(z, codebook, held=len(codebook)),
            "a quantizer's": lambda z, codebook: quantizer_of(codebook).nearest(z[None])[0],
            "accelerated": lambda z, codebook: accelerate(quantizer_of(codebook)).nearest(z[None])[0],
            "torch's": torch_nearest}
each_search = pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)


def quantizer_of(codebook):
    quantizer = VectorQuantizer(*codebook.shape, dtype=codebook.dtype.type)
    quantizer.codebook.value = codebook
    return quantizer


@each_search
def test_two_codes_half_a_step_apart_at_4096(search):
    z, codes = np.float32([[4096.1], [4096.4]]), np.float32([[4096.5], [4096.0]])
    np.testing.assert_array_equal(search(z, codes), [1, 0])


@each_search
@pytest.mark.parametrize("offset", [0, 10, 1000, -1000, 30_000])
@pytest.mark.parametrize("dim", [1, 8, 64])
def test_an_offset_common_to_all_changes_no_choice(search, offset, dim):
    """The nearest code of the shifted numbers, as float32 holds them, is found, except in near-ties."""
    rng = np.random.default_rng(0)
    codes = (rng.standard_normal((64, dim)) + offset).astype(np.float32)
    z = (rng.standard_normal((500, dim)) + offset).astype(np.float32)
    exact = ((z[:, None].astype(np.float64) - codes) ** 2).sum(axis=2)
    nearest, second = np.sort(exact, axis=1)[:, :2].T
    chosen = np.take_along_axis(exact, search(z, codes)[:, None], 1)[:, 0]
    assert (chosen - nearest <= 1e-5 * (1 + nearest)).all()
    assert (second - nearest > 1e-5 * (1 + nearest)).mean() > 0.9  # clearly the nearest


def test_a_far_code_does_not_spoil_the_choice_among_the_others():
    rng = np.random.default_rng(0)
    codes, z = rng.standard_normal((64, 8)).astype(np.float32), rng.standard_normal((500, 8)).astype(np.float32)
    codes[7] = 1000
    exact = ((z[:, None].astype(np.float64) - codes) ** 2).sum(axis=2)
    chosen = np.take_along_axis(exact, nearest_codes(z, codes)[:, None], 1)[:, 0]
    assert (chosen - exact.min(axis=1)).max() < 2e-3


def test_kmeans_far_from_the_origin_is_kmeans_at_the_origin():
    rng = np.random.default_rng(0)
    vectors = np.round(rng.standard_normal((400, 8)) * 64).astype(np.float32) / 64
    far = vectors + np.float32(1024)  # a shift without rounding
    centres, counts = lloyd(vectors, vectors[:16], 3)
    far_centres, far_counts = lloyd(far, far[:16], 3)
    torch_centres, _ = torch_kmeans(torch.tensor(far), torch.tensor(far[:16]), 3)
    np.testing.assert_allclose(far_centres - 1024, centres, atol=2e-2)
    np.testing.assert_allclose(torch_centres.numpy() - 1024, centres, atol=2e-2)
    assert np.abs(counts - far_counts).sum() <= 4


@pytest.mark.parametrize("dtype, offset, bound", [(np.float32, 1024, 1e-4), (np.float64, 2**30, 1e-7)])
def test_soft_assignments_far_from_the_origin(dtype, offset, bound):
    rng = np.random.default_rng(0)
    z, e = (np.round(rng.standard_normal(shape) * 64).astype(dtype) / 64 for shape in ((50, 8), (16, 8)))
    here, far = SoftAssignmentEntropy(0.5), SoftAssignmentEntropy(0.5)
    gap, far_gap = here.forward(z, e), far.forward(z + dtype(offset), e + dtype(offset))
    assert far_gap == pytest.approx(gap, rel=bound)
    for ours, theirs in zip(far.backward(), here.backward(), strict=True):
        assert_close(ours, theirs, bound)


@pytest.mark.parametrize("dtype, temperature", [
    (np.float32, 1e-30), (np.float32, 1e-38), (np.float32, 1e-40), (np.float64, 1e-300)])
def test_soft_assignments_at_a_temperature_near_zero_are_the_hard_ones(dtype, temperature):
    codes, z = np.array([[0.0, 0], [1, 0], [0, 2]], dtype), np.array([[0.1, 0], [0.2, 0], [0.9, 0], [0, 1.8]], dtype)
    entropy = SoftAssignmentEntropy(temperature)
    share = np.array([2, 1, 1]) / 4
    assert entropy.forward(z, codes) == pytest.approx(np.log(3) + (share * np.log(share)).sum(), rel=1e-6)
    for gradient in entropy.backward():
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_neighbours_far_from_the_origin():
    rng = np.random.default_rng(0)
    train, queries = (np.round(rng.standard_normal((n, 3)) * 1024) / 1024 for n in (200, 50))
    expected = retrieval.nearest(train, queries, 8)
    np.testing.assert_array_equal(retrieval.nearest(train + 2.0**30, queries + 2.0**30, 8), expected)


# --- unit length below its floor --------------------------------------------------------------------------------------


def test_a_vector_shorter_than_the_floor_is_divided_by_the_floor():
    unit = UnitLength()
    unit.forward(np.array([[0.9e-12, 0.0]]))
    np.testing.assert_allclose(unit.backward(np.array([[1.0, 0.0]])), [[1e12, 0.0]], rtol=1e-12)


@pytest.mark.parametrize("dtype, bound", [(np.float64, 1e-13), (np.float32, 1e-6)])
@pytest.mark.parametrize("scale", [0.0, 1e-14, 0.5e-12, 2e-12, 1e-9, 1.0, 1e9])
def test_unit_length_is_pytorchs_normalize_at_every_length(scale, dtype, bound):
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((6, 4)) for _ in range(2))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True) * scale).astype(dtype)
    unit, leaf = UnitLength(), torch.tensor(x, requires_grad=True)
    y = F.normalize(leaf, dim=-1)
    y.backward(torch.tensor(dy.astype(dtype)))
    assert_close(unit.forward(x), y.numpy(force=True), bound)
    assert_close(unit.backward(dy.astype(dtype)), leaf.grad.numpy(), bound)


def test_unit_length_below_its_floor_by_finite_differences():
    rng = np.random.default_rng(0)
    unit, x, dy = UnitLength(), 0.2e-12 * rng.standard_normal((3, 2)), rng.standard_normal((3, 2))
    unit.forward(x)
    dx = unit.backward(dy)
    direction = 1e-15 * rng.standard_normal(x.shape)
    numeric = ((unit.forward(x + direction) - unit.forward(x - direction)) * dy).sum() / 2
    assert numeric == pytest.approx((dx * direction).sum(), rel=1e-6)


# --- the maximum of −∞ ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("geometry", [
    (2, None, 0, 1), (3, 2, 1, 1), (3, 1, 1, 1), (2, 2, 1, 1), (5, 2, 2, 1), (3, 1, 1, 2), ((3, 2), (2, 1), (1, 0), 1)])
@pytest.mark.parametrize("share", [1.0, 0.9, 0.5])
def test_the_gradient_of_a_maximum_of_minus_infinity_stays_inside_the_image(geometry, share):
    kernel, stride, padding, dilation = geometry
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 6, 7, 3))
    x[rng.random(x.shape) < share] = -np.inf
    ours = layers.MaxPool2d(kernel, stride, padding, dilation)
    theirs = torch.nn.MaxPool2d(kernel, stride, padding, dilation)
    leaf = to_torch(x)
    y = theirs(leaf)
    np.testing.assert_array_equal(ours.forward(x), to_numpy(y))
    dy = rng.standard_normal(to_numpy(y).shape)
    y.backward(to_torch(dy))
    np.testing.assert_allclose(ours.backward(dy), to_numpy(leaf.grad), rtol=0, atol=1e-14)


# --- numbers that are no floating-point numbers -----------------------------------------------------------------------


def inputs_of(layer):
    """Random arguments of a forward, or of a loss."""
    rng = np.random.default_rng(0)
    grid, matrix = rng.random((2, 4, 4, 4)), rng.random((3, 16))
    special = {
        "Linear": (matrix,), "Unflatten": (matrix,), "Concatenate": (grid, grid),
        "Reparameterize": (matrix,) * 3, "GaussianKL": (matrix,) * 2, "FreeBits": (matrix,) * 2,
        "CapacityTarget": (np.float64(2.0),), "L1": (matrix,), "UnitLength": (matrix,), "CodeMixture": (matrix,),
        "SoftAssignmentEntropy": (matrix, matrix), "LinearOfTokens": (matrix,),
        "LayerNorm": (matrix,), "ToGrid": (matrix.reshape(3, 4, 4),), "TransformerBlock": (matrix.reshape(3, 4, 4),),
        "MultiheadAttention": (matrix.reshape(3, 4, 4),), "CrossEntropy": (matrix, np.array([0, 1, 2])),
        "GumbelSoftmax": (grid, grid, 1.0), "TokenPositions": (matrix.reshape(3, 4, 4),),
        "LogitLaplace": (np.concatenate([grid, grid], axis=-1), grid),
        "DiscretizedLogistic": (np.concatenate([grid, grid], axis=-1), grid),
        "Categorical": (np.concatenate([grid] * 256, axis=-1), grid),
    }
    return special.get(type(layer).__name__, (grid, grid) if isinstance(layer, Reconstruction) else (grid,))


ARGUMENTS = {  # of the classes that take some
    "BatchNorm2d": (4,), "Conv2d": (4, 3, 3), "ConvTranspose2d": (4, 3, 3), "GroupNorm": (2, 4), "Linear": (16, 3),
    "AvgPool2d": (2,), "MaxPool2d": (2, 2, 1), "ResidualBlock": (4, 3), "Shift": (-0.5,), "Unflatten": (1, (4, 2, 2)),
    "CapacityTarget": (1.0,), "CapacityBottleneck": ((4, 4, 4), 3, 1.0), "CodeMixture": (16, 3), "FreeBits": (0.1,),
    "CuredVectorQuantizer": (6, 4), "VectorQuantizer": (6, 4), "ReversedVectorQuantizer": (6, 4),
    "DenseBottleneck": ((4, 4, 4), 3), "SparseBottleneck": ((4, 4, 4), 3), "GaussianBottleneck": ((4, 4, 4), 3),
    "FreeBitsBottleneck": ((4, 4, 4), 3, 0.1), "TwoLevelBottleneck": ((4, 4, 4), 3, 6, 3),
    "GumbelSoftmaxBottleneck": ((4, 4, 4), 6, 3), "VectorQuantizedBottleneck": ((4, 4, 4), 6, 3),
    "SoftAssignmentEntropy": (0.5,), "LinearOfTokens": (16, 3), "LayerNorm": (16,), "ToGrid": (2, 2),
    "GridPositions": (4, 4, 4), "TransformerBlock": (4, 2, 8), "MultiheadAttention": (4, 2),
    "TokenPositions": (4, 4), "GroupedQuantizer": (2, 6, 4),
}


def new(kind):
    parameters = {} if kind.__init__ is object.__init__ else inspect.signature(kind.__init__).parameters
    takes_more = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    keywords = {"dtype": np.float64} if takes_more or "dtype" in parameters else {}
    keywords |= {"scale_factor": 2} if kind is layers.Upsample else {}
    return kind(*ARGUMENTS.get(kind.__name__, ()), **keywords)


KINDS = [
    kind for room in (layers, bottlenecks, losses) for kind in vars(room).values()
    if inspect.isclass(kind) and issubclass(kind, Module) and kind not in (Module, Reconstruction)
    and (hasattr(kind, "forward") or hasattr(kind, "loss"))  # not what only keeps codes in use
    and kind is not layers.Embedding  # which takes integers
]


def call(layer, inputs):
    return layer.loss(*inputs) if hasattr(layer, "loss") else layer.forward(*inputs)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, bool, complex])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_not_floating_is_refused(kind, dtype):
    layer = new(kind)
    inputs = inputs_of(layer)
    call(layer, inputs)
    refused = [x.astype(dtype) if isinstance(x, np.ndarray | np.generic) else x for x in inputs]
    says = rf"^\w+ (takes floating-point numbers|has \w+ (weights|σ)), got (a )?{np.dtype(dtype)}"
    with pytest.raises(TypeError, match=says):
        call(layer, refused)


def test_every_kind_of_layer_loss_and_bottleneck_is_among_them():
    names = {kind.__name__ for kind in KINDS}
    named = {name: getattr(room, name) for room in (layers, bottlenecks) for name in room.__all__}
    assert {name for name, kind in named.items() if hasattr(kind, "forward")} - {"Embedding"} <= names
    assert {kind.__name__ for kind in losses.LIKELIHOODS.values()} <= names


@pytest.mark.parametrize("kind", [layers.Linear, layers.Conv2d])
def test_a_layer_of_integers_computes_nothing(kind):
    layer = kind(*ARGUMENTS[kind.__name__], dtype=np.int64)
    with pytest.raises(TypeError, match="takes floating-point numbers, got int64"):
        layer.forward(inputs_of(layer)[0].astype(np.int64))


def test_two_feature_maps_of_two_dtypes_are_not_joined():
    with pytest.raises(TypeError, match="Concatenate takes inputs of one dtype, got float32 and float64"):
        layers.Concatenate().forward(np.ones((1, 2), np.float32), np.ones((1, 2)))


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("integer", [int, np.int64, np.int32, np.uint8])
def test_numpys_integers_are_sizes(integer):
    one, two, three = integer(1), integer(2), integer(3)
    conv = layers.Conv2d(one, two, three, (one, two), padding=one, dilation=np.array([1, 2])[0])
    assert conv.window.kernel == (3, 3) and conv.window.stride == (1, 2)
    assert all(type(value) is int for value in (*conv.window.kernel, *conv.window.stride, *conv.window.padding))
    assert conv.forward(np.zeros((1, 5, 5, 1), np.float32)).shape == (1, 5, 3, 2)
    assert layers.ConvTranspose2d(two, one, three, two, one, one).output_padding == (1, 1)
    assert layers.Linear(three, two).forward(np.zeros((1, 3), np.float32)).shape == (1, 2)
    assert layers.Upsample(scale_factor=two).factor == (2, 2)
    assert layers.MaxPool2d(two).window.stride == (2, 2)
    assert layers.Unflatten(1, (one, two, three)).forward(np.zeros((1, 6))).shape == (1, 2, 3, 1)


@pytest.mark.parametrize("value", [
    True, 1.0, "1", None, np.float64(1), np.True_, (1, True), (1, 2.0), (1,), (1, 2, 3), 0])
def test_what_is_no_size_is_refused(value):
    with pytest.raises(ValueError, match="kernel_size takes"):
        pair(value, "kernel_size", 1)
    with pytest.raises(ValueError, match="out_features takes an integer ≥ 1, got"):
        size(value, "out_features")
    for make in (lambda: layers.Linear(value, 2), lambda: layers.Linear(2, value), lambda: layers.Conv2d(value, 2, 3),
                 lambda: layers.ConvTranspose2d(2, value, 3), lambda: layers.Unflatten(1, (2, 3, value))):
        with pytest.raises(ValueError, match="takes an integer ≥ 1, got"):
            make()


# --- batches of no image ----------------------------------------------------------------------------------------------

NOTHING = {
    "Linear": (dict(in_features=4, out_features=3), (0, 4)),
    "Conv2d": (dict(in_channels=4, out_channels=3, kernel_size=4, stride=2, padding=1), (0, 6, 8, 4)),
    "Conv2d, 1×1": (dict(in_channels=4, out_channels=3, kernel_size=1), (0, 6, 8, 4)),
    "ConvTranspose2d": (dict(in_channels=4, out_channels=3, kernel_size=4, stride=2, padding=1), (0, 3, 4, 4)),
    "GroupNorm": (dict(num_groups=2, num_channels=4), (0, 6, 8, 4)),
    "BatchNorm2d": (dict(num_features=4), (0, 6, 8, 4)),
    **{name: ({}, (0, 6, 8, 4)) for name in ("ReLU", "LeakyReLU", "Sigmoid", "Tanh", "SiLU", "Flatten")},
    "MaxPool2d": (dict(kernel_size=3, stride=2, padding=1), (0, 6, 8, 4)),
    "AvgPool2d": (dict(kernel_size=2), (0, 6, 8, 4)),
    "AvgPool2d, without padding": (dict(kernel_size=3, padding=1, count_include_pad=False), (0, 6, 8, 4)),
    "Upsample": (dict(scale_factor=2), (0, 6, 8, 4)),
    "Unflatten": (dict(dim=1, unflattened_size=(4, 2, 3)), (0, 24)),
}


@pytest.mark.parametrize("name", NOTHING)
def test_a_batch_of_no_image_passes_where_pytorchs_does(name):
    arguments, shape = NOTHING[name]
    kind = name.partition(",")[0]
    ours, theirs = getattr(layers, kind)(**arguments), getattr(torch.nn, kind)(**arguments)
    load_into_torch(theirs, ours)
    x = np.zeros(shape, np.float32)
    leaf = to_torch(x)
    y = theirs(leaf)
    y.backward(torch.zeros_like(y))
    for form in (ours, accelerate(ours, least_channels=1)):
        form.zero_grad()
        found = form.forward(x)
        assert found.shape == to_numpy(y).shape and found.dtype == np.float32
        assert form.backward(np.zeros_like(found)).shape == shape
        for parameter, theirs_ in theirs.named_parameters():
            gradient = form.grad_dict()[parameter]
            assert gradient.shape == theirs_.shape and not gradient.any()
    form.eval()
    assert form.forward(x).shape == to_numpy(y).shape
    if kind == "BatchNorm2d":  # what was known of the images stays known
        np.testing.assert_array_equal(ours.running_mean.value, theirs.running_mean.numpy())
        np.testing.assert_array_equal(ours.running_var.value, theirs.running_var.numpy())


@pytest.mark.parametrize("layer", [layers.ResidualBlock(4, 3, norm="group"), layers.Shift(-0.5)])
def test_a_batch_of_no_image_passes_through_what_pytorch_does_not_have(layer):
    x = np.zeros((0, 6, 8, 4), np.float32)
    y = layer.forward(x)
    assert y.shape == layer.backward(y).shape == x.shape


def test_a_single_pixel_is_refused_still_and_two_are_not():
    with pytest.raises(ValueError, match="single pixel"):
        layers.BatchNorm2d(4).forward(np.zeros((1, 1, 1, 4), np.float32))
    check_layer(layers.BatchNorm2d(4, dtype=np.float64), torch.nn.BatchNorm2d(4, dtype=torch.float64),
                np.random.default_rng(0).standard_normal((2, 1, 1, 4)), np.random.default_rng(1), 1e-6)


# --- gradcheck looks at forward too -----------------------------------------------------------------------------------

WITH_A_SURROGATE = [
    case for case in CASES if case.build(np.random.default_rng(0)).surrogate is not None]


def test_the_straight_through_estimators_have_one():
    assert {"VectorQuantizer", "CuredVectorQuantizer", "ReversedVectorQuantizer", "GumbelSoftmax", "TwoLevelBottleneck",
            "VectorQuantizedBottleneck", "GumbelSoftmaxBottleneck", "GroupedQuantizer"
            } >= {case.name for case in WITH_A_SURROGATE}
    assert {"VectorQuantizer", "TwoLevelBottleneck"} <= {case.name for case in WITH_A_SURROGATE}


def spoiled(case, spoil):
    """The case, with spoil(name, output) in place of each output of its forward."""
    def build(_, rng):
        operation = case.build(rng)
        forward = operation.forward
        operation.forward = lambda: {name: spoil(name, output) for name, output in forward().items()}
        return operation

    return replace(case, make=build)


@pytest.mark.parametrize("case", WITH_A_SURROGATE, ids=lambda case: f"{case.name} {case.detail}".strip())
@pytest.mark.parametrize("spoil", [
    lambda name, output: output * (1 + 1e-9), lambda name, output: output + 1e-9 * (np.ndim(output) == 0),
    lambda name, output: output / 7 if np.ndim(output) == 0 else output], ids=["values", "terms", "a mean for a sum"])
def test_a_forward_that_its_surrogate_does_not_share_fails(case, spoil):
    outputs = case.build(np.random.default_rng(0)).forward()
    if all(np.abs(spoil(name, output) - output).max() < 1e-15 for name, output in outputs.items()):
        pytest.skip("it has no terms, or terms of zero, which are zero in any scale")
    rows = table.run_case(spoiled(case, spoil))
    assert rows and not any(row.ok for row in rows)
    assert {row.reason for row in rows} == {rows[0].reason} and rows[0].reason.startswith("forward's ")
    assert rows[0].reason in table.table(rows, [table.FINITE_DIFFERENCES])
    with pytest.raises(ValueError, match=r"^forward's "):
        differences.check(spoiled(case, spoil).build(np.random.default_rng(0)), np.random.default_rng(0))


def test_a_mean_for_the_quantizers_sum_is_found(monkeypatch):
    """Terms replaced by their .mean(): backward still fits the surrogate, but forward's value does not."""
    case = next(case for case in CASES if case.name == "VectorQuantizer")
    assert all(row.ok and not row.reason for row in table.run_case(case))
    monkeypatch.setattr(bottlenecks.vector_quantizer, "batch_mean_of_sums", lambda values: values.mean())
    assert not any(row.ok for row in table.run_case(case))


def test_a_hard_draw_is_its_surrogates():
    case = next(case for case in CASES if case.name == "GumbelSoftmax" and case.arguments.get("hard"))
    assert all(row.ok for row in table.run_case(case))
    assert isinstance(case.build(np.random.default_rng(0)).module, GumbelSoftmax)
