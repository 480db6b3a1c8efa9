"""The forms that start fewer kernels on a GPU, against the plain forms on the same GPU."""

import copy
import pickle

import numpy as np
import pytest

from scratch import layers
from scratch.accelerate import accelerate_on_gpu, accelerate_optimizer
from scratch.accelerate.gpu.forms import form_on_gpu
from scratch.arrays import each, to_device, to_host
from scratch.bottlenecks.gumbel_softmax import GumbelSoftmax, GumbelSoftmaxBottleneck
from scratch.gradcheck.cases import CASES
from scratch.layers.patches import Window
from scratch.models.autoencoder import Autoencoder
from scratch.module import Parameter
from scratch.optim import SGD, Adam, make_optimizer
from scratch.training.trainer import Trainer
from tests.support.closeness import assert_all_close, assert_close
from tests.support.formulas import classes_with_formulas
from tests.support.models import build
from tests.support.on_device import run_case
from tests.support.rates import RATES
from tests.support.tiny import MODELS, OPTIONS, images, with_likelihoods
from tests.support.variants import VARIANTS

OPTIMIZERS = {  # the learning rate differs from step to step: a kernel must not keep that of its first call
    "adam": dict(optimizer="adam", lr="linear:1e-2:1e-3:5", weight_decay=0.0),
    "adam, weight decay": dict(optimizer="adam", lr="exponential:1e-2:1e-3:5", weight_decay=0.1),
    "sgd": dict(optimizer="sgd", lr="cosine:1e-3:1e-4:5", momentum=0.9),
}
BOUNDS = {"float64": 1e-10, "float32": 1e-5}
each_dtype = pytest.mark.parametrize("dtype", BOUNDS)
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS)
each_model = pytest.mark.parametrize("model", ["ae", "vae", "vqvae", "vqvae2", "dvae"])


# --- parts ------------------------------------------------------------------------------------------------------------


@each_dtype
@each_optimizer
def test_an_optimiser_s_updates(cupy, optimizer, dtype):
    rng, results = np.random.default_rng(0), []
    start, gradients = rng.standard_normal((7, 9)).astype(dtype), rng.standard_normal((6, 7, 9)).astype(dtype)
    for form in (lambda own: own, accelerate_optimizer):
        parameter = Parameter(cupy.asarray(start))
        own = form(make_optimizer({"w": parameter}, OPTIMIZERS[optimizer]))
        for gradient in gradients:
            parameter.grad = cupy.asarray(gradient)
            own.step()
        results.append({"w": to_host(parameter.value), **own.state_dict()})
    assert_all_close(results[1], results[0], BOUNDS[dtype])
    assert np.abs(results[0]["w"] - start).max() > 1e-3


def test_each_form_is_of_the_plain_one_and_has_a_test():
    plain_forms = classes_with_formulas()
    assert all(issubclass(form_on_gpu(plain), plain) for plain in plain_forms)
    assert all(form_on_gpu(form_on_gpu(plain)) is form_on_gpu(plain) for plain in plain_forms)
    tested = {case.name for case in CASES} | {kind.__name__ for kind in (SGD, Adam, Autoencoder)}
    assert {plain.__name__ for plain in plain_forms} <= tested


def test_what_has_no_formula_keeps_its_class():
    assert form_on_gpu(layers.Linear) is layers.Linear


def test_a_form_can_be_copied_and_pickled(cupy):
    """The class of a form is made when it is needed, so no module holds it."""
    layer = accelerate_on_gpu(layers.BatchNorm2d(3, dtype=np.float64))
    x = np.random.default_rng(0).standard_normal((2, 3, 3, 3))
    for other in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert type(other) is type(layer) and other.weight is not layer.weight
        np.testing.assert_array_equal(other.forward(x), copy.copy(layer).forward(x))


@each_dtype
@pytest.mark.parametrize("case", CASES, ids=[f"{case.name} {case.detail}".strip() for case in CASES])
def test_every_operation_in_either_form(cupy, case, dtype):
    """Every output and every gradient of the cases that have a form for a GPU, or a part that has one."""
    plain, fused = (run_case(case, "gpu", np.dtype(dtype).type, form)
                    for form in (lambda module: module, accelerate_on_gpu))
    assert_all_close(fused, plain, BOUNDS[dtype])


@each_dtype
def test_gumbel_noise(cupy, dtype):
    settings = dict(dtype=np.dtype(dtype).type, rng=np.random.default_rng(0))
    plain, fused = (form(GumbelSoftmaxBottleneck((4, 5, 3), 7, 2, **settings)).draw_noise(6, cupy.random.default_rng(0))
                    for form in (lambda module: module, accelerate_on_gpu))
    assert_close(to_host(fused), to_host(plain), BOUNDS[dtype])


@each_dtype
def test_a_fused_softmax_does_not_overflow(cupy, dtype):
    a = np.array([[1e4, -1e4, 0, 9e3], [0, 0, 0, 0]], dtype)
    y = accelerate_on_gpu(GumbelSoftmax()).forward(cupy.asarray(a), cupy.zeros_like(cupy.asarray(a)), 1e-3)
    assert_close(to_host(y), np.array([[1, 0, 0, 0], [0.25] * 4], dtype), BOUNDS[dtype])


WINDOWS = {  # (kernel, stride, padding, dilation), size
    "halving": ((4, 2, 1), (6, 8)), "3×3": ((3, 1, 1), (5, 4)), "pixels": ((1, 1, 0), (3, 4)),
    "every other pixel": ((1, 2, 0), (5, 4)), "oblong": (((3, 2), (2, 3), (0, 1)), (8, 9)),
    "dilated": ((3, 1, 2, 2), (6, 5)), "with a rest": ((2, 3, 0), (6, 7)),
}


@each_dtype
@pytest.mark.parametrize("window", WINDOWS)
def test_im2col_and_col2im(cupy, window, dtype):
    """The same numbers are added in the same order, so the results are equal bit for bit."""
    arguments, size = WINDOWS[window]
    plain, rng, results = Window(*arguments), np.random.default_rng(0), []
    N, C, positions = 3, 5, plain.positions(size)
    x = rng.standard_normal((N, *size, C)).astype(dtype)
    patches = rng.standard_normal((N, *positions, *plain.kernel, C)).astype(dtype)
    for accelerated in (False, True):
        layer = layers.MaxPool2d(2)
        layer.window = Window(*arguments)
        own = (accelerate_on_gpu(layer) if accelerated else layer).window
        turned = cupy.asarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # the same in another memory order
        answers = [own.im2col(cupy.asarray(x), positions, -1.0), own.im2col(turned, positions),
                   own.col2im(cupy.asarray(patches), size)]
        results.append([to_host(answer) for answer in answers])
    for ours, expected in zip(*results, strict=True):
        assert ours.dtype == expected.dtype == dtype
        np.testing.assert_array_equal(ours, expected)


# --- models -----------------------------------------------------------------------------------------------------------


def new_trainer(model, form, optimizer="adam", dtype="float64", device="gpu", **changes):
    """A trainer on the GPU with noise that follows from the step; `form` is "plain" or "fused"."""
    options = {**OPTIONS, "codebook_init": "normal", **changes}
    network = build(model, (16, 16, 3), options, dtype=np.dtype(dtype).type, rng=np.random.default_rng(0)).to(device)
    optimizer = make_optimizer(network.named_parameters(), OPTIMIZERS[optimizer])
    if form == "fused":
        accelerate_on_gpu(network)
        accelerate_optimizer(optimizer)
    trainer = Trainer(network, optimizer, 0, device)

    def noise_of_step(count, epoch, step):
        noise = network.draw_noise(count, np.random.default_rng(step))
        return None if noise is None else each(lambda part: to_device(part, device), noise)

    trainer.noise_of_step = noise_of_step
    return trainer


def train(trainer, steps):
    """The losses of some steps."""
    dtype = next(iter(trainer.model.named_parameters().values())).value.dtype
    x, losses = images(8).astype(dtype), []
    for step in steps:
        terms, _ = trainer.step(x, 1, step)
        losses += trainer.read([terms["loss"]])
    return losses


def check(model, optimizer, dtype, **changes):
    plain, fused = (new_trainer(model, form, optimizer, dtype, **changes) for form in ("plain", "fused"))
    loss_bound, state_bound = {"float64": (1e-10, 1e-7), "float32": (1e-4, None)}[dtype]
    np.testing.assert_allclose(train(fused, range(6)), train(plain, range(6)), rtol=loss_bound)
    if state_bound:  # in float32 Adam makes a whole step of a gradient that is nothing but rounding
        for ours, expected in zip(fused.state()[:2], plain.state()[:2], strict=True):
            assert_all_close(ours, expected, state_bound)


@each_dtype
@each_optimizer
@each_model
def test_six_steps_of_a_model(cupy, model, optimizer, dtype):
    check(model, optimizer, dtype)


@pytest.mark.parametrize("model, likelihood", with_likelihoods(*MODELS))
def test_six_steps_with_a_likelihood(cupy, model, likelihood):
    check(model, "adam, weight decay", "float64", likelihood=likelihood)


@pytest.mark.parametrize("changes", [*RATES.values(), {"norm": "group"}, {"norm": "batch"}, {"network": "pooling"}])
def test_six_steps_of_a_vae_that_differs(cupy, changes):
    check("vae", "adam", "float64", **changes)


@pytest.mark.parametrize("variant", VARIANTS)
def test_six_steps_of_a_variant(cupy, variant):
    model, changes = VARIANTS[variant]
    check(model, "adam", "float64", **changes)


@each_dtype
@each_model
def test_one_step_s_gradients(cupy, model, dtype):
    """Gradients in which the optimiser does not amplify rounding."""
    gradients = []
    for form in ("plain", "fused"):
        trainer = new_trainer(model, form, dtype=dtype)
        x = to_device(images(8).astype(dtype), "gpu")
        trainer.add_gradients(x, trainer.noise_of_step(len(x), 1, 0))
        gradients.append(trainer.model.grad_dict())
    assert_all_close(gradients[1], gradients[0], {"float64": 1e-10, "float32": 1e-4}[dtype])


@each_optimizer
@pytest.mark.parametrize("first, second", [("fused", "fused"), ("fused", "plain"), ("plain", "fused")])
def test_a_run_goes_on_from_its_state_in_either_form(cupy, optimizer, first, second):
    unbroken, begun = (new_trainer("vae", "fused", optimizer), new_trainer("vae", first, optimizer))
    continued = new_trainer("vae", second, optimizer)
    held = [part.value for part in continued.model.named_state().values()]
    expected = train(unbroken, range(6))
    train(begun, range(3))
    continued.load(*begun.state())
    np.testing.assert_allclose(train(continued, range(3, 6)), expected[3:], rtol=1e-10)
    assert_all_close(continued.state()[0], unbroken.state()[0], 1e-7)
    for array, part in zip(held, continued.model.named_state().values(), strict=True):
        assert part.value is array, "what holds a parameter's array keeps it"


@each_model
def test_a_model_that_is_moved_goes_on(cupy, model):
    """On the host the fused forms call the plain functions; back on the GPU they are kernels again."""
    moved, stayed = (new_trainer(model, "fused") for _ in range(2))
    x = images(4).astype(np.float64)
    here = moved.model.to("cpu").reconstruct(x)
    assert type(here) is np.ndarray
    assert_close(to_host(moved.model.to("gpu").reconstruct(to_device(x, "gpu"))), here, 1e-10)
    np.testing.assert_allclose(train(moved, range(2)), train(stayed, range(2)), rtol=1e-10)
