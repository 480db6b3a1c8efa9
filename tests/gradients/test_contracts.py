"""The contracts of every forward/backward pair, apart from its mathematics."""

import numpy as np
import pytest

from scratch import bottlenecks, layers, losses
from scratch.gradcheck.cases import CASES
from scratch.gradcheck.cases import layers as layer_cases
from scratch.gradcheck.differences import attempt
from scratch.layers import Conv2d, ConvTranspose2d, Linear, conv_definition
from scratch.module import Buffer, Module, Sequential
from scratch.optim import SGD, Adam
from tests.support.models import build
from tests.support.variants import VARIANTS

pytestmark = pytest.mark.usefixtures("each_form")

MODULES = [case for case in CASES if case.make is not layer_cases.definition]
each_case = pytest.mark.parametrize("case", MODULES, ids=[f"{case.name} {case.detail}".strip() for case in MODULES])

WEIGHTED = {
    "Linear": lambda dtype: (Linear(4, 3, dtype=dtype), (5, 4)),
    "Conv2d": lambda dtype: (Conv2d(4, 3, 3, padding=1, dtype=dtype), (2, 5, 6, 4)),
    "ConvTranspose2d": lambda dtype: (ConvTranspose2d(4, 3, 3, stride=2, dtype=dtype), (2, 5, 6, 4)),
    "GroupNorm": lambda dtype: (layers.GroupNorm(2, 4, dtype=dtype), (2, 5, 6, 4)),
    "BatchNorm2d": lambda dtype: (layers.BatchNorm2d(4, dtype=dtype), (2, 5, 6, 4)),
    "LayerNorm": lambda dtype: (layers.LayerNorm(4, dtype=dtype), (2, 5, 4)),
    "MultiheadAttention": lambda dtype: (layers.MultiheadAttention(4, 2, dtype=dtype), (2, 5, 4)),
    "VectorQuantizer": lambda dtype: (bottlenecks.VectorQuantizer(6, 4, dtype=dtype), (2, 5, 6, 4)),
    "CodeMixture": lambda dtype: (bottlenecks.CodeMixture(4, 3, dtype=dtype), (2, 5, 6, 4)),
}
OPTIONS = dict(channels=(3, 4), latent_dim=5, beta=0.5, codes=6, code_dim=3, codebook_init="normal", commitment=0.25,
               temperature="linear:1:0.5:10", hard=False, kl_weight=0.5)


def model(name, dtype=np.float32, likelihood="squared_error", **changes):
    options = {**OPTIONS, "likelihood": likelihood, **changes}
    return build(name, (8, 8, 1), options, dtype=dtype, rng=np.random.default_rng(0))


# --- saved ------------------------------------------------------------------------------------------------------------


@each_case
def test_backward_without_forward_is_an_error(case):
    upstream = attempt(case.build(np.random.default_rng(0)), np.random.default_rng(1)).upstream
    untouched = case.build(np.random.default_rng(0))
    with pytest.raises(RuntimeError, match=r"^\w+\.backward needs a forward in training mode before it: call "):
        untouched.backward(upstream)


@each_case
def test_saved_is_used_once_and_let_go(case):
    trial = attempt(case.build(np.random.default_rng(0)), np.random.default_rng(1))
    assert all(module.saved is None for module in trial.operation.module.modules())
    with pytest.raises(RuntimeError, match="needs a forward"):
        trial.operation.backward(trial.upstream)


# A relaxed draw, the mean of a batch and dropout are things of training alone: tests/behaviour/test_gumbel_softmax.py,
# tests/behaviour/test_norms.py and tests/behaviour/test_sequences.py say what evaluation does there.
THE_SAME = [case for case in MODULES if case.name not in ("GumbelSoftmaxBottleneck", "BatchNorm2d", "Dropout")]


@pytest.mark.parametrize("case", THE_SAME, ids=[f"{case.name} {case.detail}".strip() for case in THE_SAME])
def test_evaluation_computes_the_same_and_saves_nothing(case):
    operation = case.build(np.random.default_rng(0))
    training = attempt(operation, np.random.default_rng(1))
    expected = {name: output.copy() for name, output in operation.forward().items()}
    assert any(module.saved is not None for module in operation.module.modules())
    operation.module.eval()
    for name, output in operation.forward().items():
        np.testing.assert_array_equal(output, expected[name])
    assert all(module.saved is None for module in operation.module.modules())
    with pytest.raises(RuntimeError, match="needs a forward in training mode"):
        operation.backward(training.upstream)
    operation.module.train()
    operation.forward()
    operation.backward(training.upstream)


@each_case
def test_gradients_accumulate_and_inputs_are_left_alone(case):
    operation = case.build(np.random.default_rng(0))
    inputs = {name: tensor.copy() for name, tensor in operation.tensors.items()}
    trial = attempt(operation, np.random.default_rng(1))
    upstream = {name: u.copy() for name, u in trial.upstream.items()}
    once = {name: gradient.copy() for name, gradient in trial.gradients.items()}

    zero_grad, operation.module.zero_grad = operation.module.zero_grad, lambda: None
    operation.forward()
    twice = operation.backward(trial.upstream)
    for name in operation.tensors:
        factor = 2 if name in operation.module.named_parameters() else 1
        np.testing.assert_array_equal(twice[name], factor * once[name])
        np.testing.assert_array_equal(operation.tensors[name], inputs[name])
    for name in upstream:
        np.testing.assert_array_equal(trial.upstream[name], upstream[name])

    zero_grad()
    assert all(parameter.grad is None for parameter in operation.module.named_parameters().values())


@pytest.mark.parametrize("name", ["Linear", "Conv2d", "ConvTranspose2d"])
def test_a_first_layer_need_not_compute_its_input_gradient(name):
    layer, shape = WEIGHTED[name](np.float64)
    x = np.random.default_rng(0).standard_normal(shape)
    dy = np.random.default_rng(1).standard_normal(layer.forward(x).shape)
    assert layer.backward(dy).shape == shape
    expected = {key: gradient.copy() for key, gradient in layer.grad_dict().items()}

    layer.zero_grad()
    layer.needs_input_gradient = False
    layer.forward(x)
    assert layer.backward(dy) is None
    for key, gradient in layer.grad_dict().items():
        np.testing.assert_array_equal(gradient, expected[key])


def test_a_models_first_layer_knows_that_nobody_asks():
    assert [layer.needs_input_gradient for layer in model("ae").encoder.layers] == [False, True, True, True]


def test_sequential_goes_backward_in_the_opposite_order():
    rng = np.random.default_rng(0)
    first, second = Linear(4, 3, dtype=np.float64, rng=rng), Linear(3, 2, dtype=np.float64, rng=rng)
    x, dy = rng.standard_normal((5, 4)), rng.standard_normal((5, 2))
    both = Sequential(first, second)
    np.testing.assert_array_equal(both.forward(x), second.forward(first.forward(x)))
    np.testing.assert_array_equal(both.backward(dy), dy @ second.weight.value.T @ first.weight.value.T)
    assert list(both.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("weights, given", [(np.float32, np.float64), (np.float64, np.float32)])
def test_mixed_dtypes_are_refused(name, weights, given):
    layer, shape = WEIGHTED[name](weights)
    with pytest.raises(TypeError, match=rf"{name} has {weights.__name__} weights, got a {given.__name__} input"):
        layer.forward(np.zeros(shape, given))


@pytest.mark.parametrize("loss", losses.LIKELIHOODS.values())
@pytest.mark.parametrize("shape, dtype", [((2, 4), np.float64), ((2, 3), np.float32), ((2, 1), np.float64)])
def test_a_loss_refuses_images_of_another_shape_or_dtype(loss, shape, dtype):
    expected = (shape[0], loss.outputs * shape[1])
    with pytest.raises(ValueError) as refusal:
        loss().loss(np.zeros((2, loss.outputs * 3)), np.zeros(shape, dtype))
    assert str(refusal.value) == (
        f"{loss.__name__} expected an output {expected} {dtype.__name__} for images {shape} {dtype.__name__}, "
        f"got {(2, loss.outputs * 3)} float64")


@pytest.mark.parametrize("noise", [np.zeros((3, 5)), np.zeros((1, 5), np.float32), np.zeros((3, 1), np.float32)])
def test_a_gaussian_bottleneck_refuses_noise_that_would_upcast_or_be_broadcast(noise):
    bottleneck = bottlenecks.GaussianBottleneck((2, 2, 4), 5)
    with pytest.raises(ValueError, match=r"Reparameterize takes mu, logvar and eps of one shape and dtype, got"):
        bottleneck.forward(np.zeros((3, 2, 2, 4), np.float32), noise)


@pytest.mark.parametrize("noise", [
    np.zeros((3, 2, 2, 6)), np.zeros((1, 2, 2, 6), np.float32), np.zeros((3, 2, 2, 1), np.float32)])
def test_a_gumbel_softmax_bottleneck_refuses_noise_that_would_upcast_or_be_broadcast(noise):
    bottleneck = bottlenecks.GumbelSoftmaxBottleneck((2, 2, 4), 6, 3)
    for mode in (bottleneck.train, bottleneck.eval):
        mode()
        with pytest.raises(ValueError, match=r"GumbelSoftmax takes logits and noise of one shape and dtype, got"):
            bottleneck.forward(np.zeros((3, 2, 2, 4), np.float32), noise)


WRONG_SHAPES = {
    "Linear": (lambda: Linear(4, 3), (5, 3), "(N, 4)"),
    "Linear of images": (lambda: Linear(4, 3), (5, 2, 2, 4), "(N, 4)"),
    "LinearOfTokens": (lambda: layers.LinearOfTokens(4, 3), (5, 2, 3), "(N, D1, 4)"),
    "LayerNorm": (lambda: layers.LayerNorm(4), (5, 3), "(N, 4)"),
    "MultiheadAttention": (lambda: layers.MultiheadAttention(4, 2), (5, 4), "(N, T, 4)"),
    "Conv2d": (lambda: Conv2d(4, 3, 1), (2, 4, 5, 3), "(N, H, W, 4)"),
    "Conv2d of rows": (lambda: Conv2d(4, 3, 1), (2, 4), "(N, H, W, 4)"),
    "ConvTranspose2d": (lambda: ConvTranspose2d(4, 3, 1), (2, 4, 5, 3), "(N, H, W, 4)"),
    "MaxPool2d": (lambda: layers.MaxPool2d(2), (4, 4), "(N, H, W, C)"),
    "AvgPool2d": (lambda: layers.AvgPool2d(2), (4, 4, 3), "(N, H, W, C)"),
    "Upsample": (lambda: layers.Upsample(scale_factor=2), (4, 4), "(N, H, W, C)"),
    "GroupNorm": (lambda: layers.GroupNorm(2, 4), (2, 5, 6, 2), "(N, H, W, 4)"),
    "BatchNorm2d": (lambda: layers.BatchNorm2d(4), (2, 4), "(N, H, W, 4)"),
    "Flatten": (lambda: layers.Flatten(), (2, 3, 4), "(N, H, W, C)"),
    "Unflatten": (lambda: layers.Unflatten(1, (2, 3, 4)), (2, 23), "(N, 24)"),
    "VectorQuantizer": (lambda: bottlenecks.VectorQuantizer(6, 4), (2, 3, 3), "(N, D1, 4)"),
    "CodeMixture": (lambda: bottlenecks.CodeMixture(6, 4), (2, 3, 4), "(N, D1, 6)"),
}


@pytest.mark.parametrize("name", WRONG_SHAPES)
def test_a_wrong_shape_is_named_beside_the_right_one(name):
    make, shape, expected = WRONG_SHAPES[name]
    with pytest.raises(ValueError) as refusal:
        make().forward(np.zeros(shape, np.float32))
    assert str(refusal.value) == f"{name.split()[0]} takes an input of shape {expected}, got {shape}"


@pytest.mark.parametrize("make", [
    lambda: Conv2d(1, 1, 0),
    lambda: Conv2d(1, 1, 2.5),
    lambda: Conv2d(1, 1, (3, 3, 3)),
    lambda: Conv2d(1, 1, 3, stride=0),
    lambda: Conv2d(1, 1, 3, padding=-1),
    lambda: Conv2d(1, 1, 3, dilation=0),
    lambda: layers.Upsample(scale_factor=0),
])
def test_an_impossible_geometry_is_refused(make):
    with pytest.raises(ValueError, match=r"takes an integer ≥ [01] or a pair of them, got "):
        make()


def test_groups_that_do_not_part_the_channels_are_refused():
    with pytest.raises(ValueError, match="GroupNorm cannot divide 6 channels into 4 equal groups"):
        layers.GroupNorm(4, 6)


def test_a_kernel_larger_than_the_padded_image_is_refused():
    with pytest.raises(ValueError, match=r"kernel of \(5, 5\) with dilation \(1, 1\) does not fit into an image of"):
        Conv2d(1, 1, 5, padding=1).forward(np.zeros((1, 2, 8, 1), np.float32))


def test_an_output_padding_that_no_size_needs_is_refused():
    with pytest.raises(ValueError, match=r"output_padding \(2, 2\) must be less than the stride"):
        ConvTranspose2d(1, 1, 3, stride=2, output_padding=2)


def test_a_pooling_padded_by_more_than_half_its_kernel_is_refused():
    with pytest.raises(ValueError, match=r"padding \(2, 2\) must be at most half of the kernel \(3, 3\)"):
        layers.MaxPool2d(3, padding=2)


# --- dtypes -----------------------------------------------------------------------------------------------------------


def assert_float32(*arrays):
    for array in arrays:
        assert array.dtype == np.float32


def draw32(*shape):
    return np.random.default_rng(0).random(shape, dtype=np.float32)


LAYERS = [case for case in CASES if case.make is layer_cases.layer]


@pytest.mark.parametrize("case", LAYERS, ids=[f"{case.name} {case.detail}".strip() for case in LAYERS])
def test_a_layer_stays_in_float32(case):
    layer = getattr(layers, case.name)(**case.arguments)
    y = layer.forward(draw32(*case.shape))
    assert_float32(y, layer.backward(draw32(*y.shape)), *layer.grad_dict().values(), *layer.state_dict().values())


def test_the_definitions_stay_in_float32():
    for forward, backward in [
        (conv_definition.conv2d, conv_definition.conv2d_backward),
        (conv_definition.conv_transpose2d, conv_definition.conv_transpose2d_backward),
    ]:
        x, w, b = draw32(1, 4, 3, 2), draw32(2, 2, 2, 2), draw32(2)
        y = forward(x, w, b)
        assert_float32(y, *backward(draw32(*y.shape), x, w))


def test_the_gaussian_modules_stay_in_float32():
    mu, logvar, eps = draw32(4, 3), draw32(4, 3), draw32(4, 3)
    reparameterize, kl = bottlenecks.Reparameterize(), bottlenecks.GaussianKL()
    assert_float32(reparameterize.forward(mu, logvar, eps), *reparameterize.backward(draw32(4, 3)))
    assert_float32(kl.forward(mu, logvar), *kl.backward(0.1))


def test_the_modules_of_a_relaxed_draw_stay_in_float32():
    logits, noise = draw32(4, 3), draw32(4, 3)
    for hard in (False, True):
        draw = bottlenecks.GumbelSoftmax(hard)
        assert_float32(draw.forward(logits, noise, 0.5), draw.backward(draw32(4, 3)))
    kl = bottlenecks.CategoricalKL()
    assert_float32(kl.forward(logits), kl.backward(0.1))


@pytest.mark.parametrize("bottleneck", [
    bottlenecks.DenseBottleneck((2, 2, 4), 5),
    bottlenecks.GaussianBottleneck((2, 2, 4), 5),
    bottlenecks.VectorQuantizedBottleneck((2, 2, 4), 6, 3),
    bottlenecks.TwoLevelBottleneck((2, 2, 4), 5, 6, 3),
    bottlenecks.GumbelSoftmaxBottleneck((2, 2, 4), 6, 3, temperature=0.5),
    bottlenecks.GumbelSoftmaxBottleneck((2, 2, 4), 6, 3, temperature=0.5, hard=True),
], ids=lambda bottleneck: type(bottleneck).__name__)
def test_a_bottleneck_stays_in_float32(bottleneck):
    y, terms = bottleneck.forward(draw32(3, 2, 2, 4))
    dh = bottleneck.backward(draw32(3, 2, 2, 4), dict.fromkeys(terms, 0.1))
    assert_float32(y, dh, *terms.values(), *bottleneck.grad_dict().values())
    assert_float32(bottleneck.decode(bottleneck.encode(draw32(3, 2, 2, 4))))


@pytest.mark.parametrize("loss", losses.LIKELIHOODS.values())
def test_a_loss_stays_in_float32(loss):
    loss, output = loss(), draw32(3, 4 * loss.outputs)
    assert_float32(loss.loss(output, draw32(3, 4)), loss.backward(0.1), loss.mean(output))


@pytest.mark.parametrize("name, likelihood, changes", [
    *((name, likelihood, {}) for name in ("ae", "vae", "vqvae", "vqvae2", "dvae") for likelihood in losses.LIKELIHOODS),
    *((name, "squared_error", changes) for name, changes in VARIANTS.values())])
def test_a_model_and_its_optimiser_stay_in_float32(name, likelihood, changes):
    trained, x = model(name, likelihood=likelihood, **changes), draw32(3, 8, 8, 1)
    for optimizer in (
        Adam(trained.named_parameters(), weight_decay=0.1),
        SGD(trained.named_parameters(), momentum=0.9),
    ):
        trained.zero_grad()
        loss, terms = trained.loss(x)
        trained.backward()
        assert_float32(loss, *terms.values(), *trained.bottleneck.measured.values())
        assert_float32(*(parameter.grad for parameter in trained.named_parameters().values()))
        optimizer.step()
        assert_float32(*trained.state_dict().values(), *optimizer.state_dict().values())
    assert_float32(trained.reconstruct(x), trained.interpolate(x, x[::-1], 3))
    if trained.bottleneck.random:
        assert_float32(trained.variations(x, 2, np.random.default_rng(0)))
    if trained.bottleneck.indices is None:
        assert_float32(trained.encode(x))


# --- state dicts ------------------------------------------------------------------------------------------------------


def test_a_state_dict_speaks_pytorchs_names_and_layouts():
    shapes = {name: array.shape for name, array in model("vqvae").state_dict().items()}
    assert shapes["encoder.0.weight"] == (3, 1, 4, 4)  # (O, C, KH, KW)
    assert shapes["decoder.0.weight"] == (4, 3, 4, 4)  # (C, O, KH, KW)
    assert shapes["bottleneck.quantizer.codebook"] == (6, 3)
    assert model("ae").state_dict()["bottleneck.reduce.weight"].shape == (5, 16)  # (O, I)


@pytest.mark.parametrize("name", ["ae", "vae", "vqvae", "vqvae2", "dvae"])
def test_a_state_dict_comes_back_in_place_and_in_the_models_dtype(name):
    source, target = model(name, np.float64), model(name, np.float32)
    held = {key: part.value for key, part in target.named_state().items()}
    for parameter in source.named_parameters().values():
        parameter.value += 1
    target.load_state_dict(source.state_dict())
    for key, array in target.state_dict().items():
        np.testing.assert_array_equal(array, source.state_dict()[key].astype(np.float32))
        assert target.named_state()[key].value is held[key]


@pytest.mark.parametrize("change, message", [
    (lambda state: state.pop("encoder.0.bias"), "the state dict lacks encoder.0.bias"),
    (lambda state: state.update(extra=np.zeros(1)), "the state dict has extra, which this model does not know"),
    (
        lambda state: state.update({"encoder.2.weight": np.zeros((4, 3, 4, 5))}),
        "encoder.2.weight has shape (4, 3, 4, 5); this model expects (4, 3, 4, 4)",
    ),
    (
        lambda state: state.update({"encoder.2.weight": np.zeros((4, 3, 4))}),
        "encoder.2.weight has shape (4, 3, 4); this model expects (4, 3, 4, 4)",
    ),
], ids=["missing", "unknown", "shape", "dimensions"])
def test_a_state_dict_that_does_not_fit_is_refused_before_anything_is_written(change, message):
    own = model("ae")
    before = own.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    change(state)
    with pytest.raises(ValueError) as refusal:
        own.load_state_dict(state)
    assert str(refusal.value) == message
    for name, array in own.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_gradient_that_never_flowed_is_zero_in_the_grad_dict():
    gradients = model("ae").grad_dict()
    assert gradients.keys() == model("ae").state_dict().keys()
    assert all(gradient.any() == False for gradient in gradients.values())  # noqa: E712


def test_a_number_keeps_its_shape_in_a_state_dict():
    norm = layers.BatchNorm2d(2)
    norm.load_state_dict({**norm.state_dict(), "num_batches_tracked": np.array(7)})
    count = norm.state_dict()["num_batches_tracked"]
    assert count.shape == () and count.dtype == np.int64 and count == 7


def test_buffers_are_state_but_are_not_trained():
    class Counter(Module):
        def __init__(self):
            self.layer = Linear(2, 2)
            self.count = Buffer(np.zeros(3, np.float32))

    counter = Counter()
    assert set(counter.state_dict()) == {"count", "layer.weight", "layer.bias"}
    assert set(counter.named_parameters()) == set(counter.grad_dict()) == {"layer.weight", "layer.bias"}
    assert counter.parameter_count() == 6
