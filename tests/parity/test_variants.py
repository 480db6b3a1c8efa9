"""The sparse, the denoising and the linear autoencoder, and corruptions of every model, on both sides."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file

from data_utils import load
from scratch import bottlenecks
from scratch.arrays import each
from scratch.models.corruption import CORRUPTIONS, read_corruption
from scratch.optim import make_optimizer as make_scratch_optimizer
from scratch.training.held_out import held_out_generators, held_out_metrics
from scratch.training.trainer import Trainer as ScratchTrainer
from tests.parity.test_bottlenecks import check_bottleneck
from tests.parity.test_training import OPTIMIZERS, SHAPE, compare_answers, some_images
from tests.support.beside_torch import (
    TINY,
    assert_all_close,
    assert_close,
    build_torch,
    compared,
    to_numpy,
    to_torch,
    torch_gradients,
    torch_twin,
)
from tests.support.models import build
from tests.support.variants import CORRUPTIONS as CORRUPTION_TEXTS
from tests.support.variants import VARIANTS
from torch_ref.bottlenecks.sparse import SparseBottleneck
from torch_ref.models.corruption import Corruption
from torch_ref.training import Trainer, make_optimizer

pytestmark = pytest.mark.usefixtures("each_form")

each_variant = pytest.mark.parametrize("variant", VARIANTS)
LEARNING_RATES = {"vqvae": 3e-4, "vqvae2": 2e-4, "dvae": 3e-4}  # at which enough codes stay in use


def twins(variant, image_shape=(8, 12, 3), likelihood="squared_error", dtype=np.float64):
    """Scratch's model, torch's with the same weights, and six images."""
    model, changes = VARIANTS[variant]
    rng, options = np.random.default_rng(0), {**TINY, "likelihood": likelihood, **changes}
    ours = build(model, image_shape, options, dtype=dtype, rng=rng)
    return ours, torch_twin(ours, model, image_shape, options), rng.uniform(size=(6, *image_shape)).astype(dtype)


def as_tensors(noise):
    return None if noise is None else each(lambda part: to_torch(part).detach(), noise)


@pytest.mark.parametrize("dtype, bound", [(np.float64, 1e-12), (np.float32, 1e-4)])
@pytest.mark.parametrize("likelihood", ["squared_error", "bernoulli"])
@each_variant
def test_outputs_terms_and_gradients(variant, likelihood, dtype, bound):
    ours, theirs, x = twins(variant, likelihood=likelihood, dtype=dtype)
    noise = ours.draw_noise(len(x), np.random.default_rng(9))
    output, _ = ours.forward(x, noise)
    output_torch, _ = theirs(to_torch(x), as_tensors(noise))
    assert_close(output, to_numpy(output_torch), bound, "output")

    ours.zero_grad()
    loss, terms = ours.loss(x, noise)
    ours.backward()
    loss_torch, terms_torch = theirs.loss(to_torch(x), as_tensors(noise))
    loss_torch.backward()
    assert_close(loss, loss_torch.detach(), bound, "loss")
    assert_all_close(terms, {name: term.detach() for name, term in terms_torch.items()}, bound)
    gradients = ours.grad_dict()
    assert_all_close(gradients, torch_gradients(theirs), bound)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients.values())
    assert {**ours.weights} == pytest.approx({**theirs.weights}, rel=1e-15)
    assert_close(ours.reconstruct(x), to_numpy(theirs.reconstruct(to_torch(x))), bound, "reconstruction")


@each_variant
def test_weights_go_both_ways(tmp_path, variant):
    ours, theirs, x = twins(variant)
    model, changes = VARIANTS[variant]
    options = {**TINY, "likelihood": "squared_error", **changes}
    save_file(ours.state_dict(), tmp_path / "ours.safetensors")
    other_torch = build_torch(model, x.shape[1:], options, dtype=torch.float64)
    other_torch.load_state_dict(load_file(tmp_path / "ours.safetensors"), strict=True)
    other = build(model, x.shape[1:], options, dtype=np.float64)
    other.load_state_dict({name: tensor.numpy() for name, tensor in other_torch.state_dict().items()})
    np.testing.assert_array_equal(other.reconstruct(x), ours.reconstruct(x))
    assert_close(ours.reconstruct(x), to_numpy(other_torch.reconstruct(to_torch(x))), 1e-12, "reconstruction")


@pytest.fixture(scope="module")
def images():
    return load("shapes", limit=80, image_size=16).train


@each_variant
def test_fifty_steps_of_adam_in_float64(variant, images):
    model, changes = VARIANTS[variant]
    options = {**TINY, "likelihood": "squared_error", **changes}
    lr = LEARNING_RATES.get(model, 1e-3)
    result = compared(model, options, images, batch_size=16, steps=50, lr=lr)
    assert result["ok"], result["checks"]
    assert result["losses"]["torch"][-1] < 0.95 * result["losses"]["torch"][0], "it learned something"


@each_variant
def test_the_trainers_step_alike(variant):
    """Both draw a step's noise from (seed, epoch, step), the bottleneck's first, and use the same names of metrics."""
    model, changes = VARIANTS[variant]
    options = {**TINY, "likelihood": "squared_error", **OPTIMIZERS["adam"], **changes}
    ours = build(model, SHAPE, options, dtype=np.float64, rng=np.random.default_rng(0))
    theirs = torch_twin(ours, model, SHAPE, options)
    trainer = ScratchTrainer(ours, make_scratch_optimizer(ours.named_parameters(), options), 4)
    other = Trainer(theirs, make_optimizer(theirs.parameters(), options), 4)
    x = some_images(8)
    for step in range(4):
        compare_answers(trainer, other, trainer.step(x, 2, step), other.step(x, 2, step))
    assert_all_close(trainer.state()[0], other.state()[0], 1e-9)
    noise, noise_torch = (side.draw_noise(8, *held_out_generators()) for side in (trainer, other))
    compare_answers(trainer, other, trainer.evaluate(x, noise), other.evaluate(x, noise_torch))
    pixels = np.rint(255 * x).astype(np.uint8)
    metrics, metrics_torch = (held_out_metrics(side, pixels, 3, np.float64) for side in (trainer, other))
    assert metrics == pytest.approx(metrics_torch, rel=1e-9)


def test_l1_and_its_sparse_bottleneck():
    rng = np.random.default_rng(0)
    ours = bottlenecks.SparseBottleneck((2, 3, 4), 7, dtype=np.float64, rng=rng)
    theirs = SparseBottleneck((4, 2, 3), 7, torch.float64)
    check_bottleneck(ours, theirs, rng.standard_normal((5, 2, 3, 4)), None, rng)
    share = float(ours.measured["share_of_zeros"])
    assert share == theirs.measured["share_of_zeros"] and 0 < share < 1


@pytest.mark.parametrize("text", CORRUPTION_TEXTS)
def test_corruptions(text):
    kind, amount = read_corruption(text)
    ours = CORRUPTIONS[kind](amount, (4, 6, 3), dtype=np.float64)
    theirs, x = Corruption(text, (4, 6, 3)), np.random.default_rng(1).random((5, 4, 6, 3))
    noise, noise_torch = (
        ours.draw_noise(5, np.random.default_rng(2)), theirs.draw_noise(5, np.random.default_rng(2), np.float64))
    np.testing.assert_array_equal(noise, noise_torch)
    assert_close(ours.forward(x, noise), to_numpy(theirs(to_torch(x), to_torch(noise))), 1e-15, text)
    own = to_numpy(theirs(to_torch(np.full((400, 4, 6, 3), 0.5))))  # of noise of its own
    ours_own = ours.forward(np.full((400, 4, 6, 3), 0.5))
    assert own.mean() == pytest.approx(ours_own.mean(), rel=0.05)
    assert own.std() == pytest.approx(ours_own.std(), rel=0.05)


@pytest.mark.parametrize("model, likelihood", [("vqvae", "squared_error"), ("ae", "logit_laplace")])
def test_neither_side_has_a_linear_network_for_grids_or_two_outputs(model, likelihood):
    options = {**TINY, "likelihood": likelihood, "network": "linear"}
    for build_side in (build, build_torch):
        with pytest.raises(ValueError, match="linear"):
            build_side(model, (8, 8, 3), options)
