"""What a norm guarantees apart from its derivative, and what changes the running statistics of a BatchNorm2d."""

import numpy as np
import pytest
import torch

from scratch.accelerate import accelerate
from scratch.arrays import column_sums
from scratch.layers import BatchNorm2d, Conv2d, GroupNorm
from scratch.layers.norm import norm_and_relu
from scratch.optim import make_optimizer
from scratch.training.trainer import Trainer
from tests.support.tiny import images, new_model

ADAM = dict(optimizer="adam", lr=1e-3, weight_decay=0.0)


def features(*shape, seed=0):
    """Numbers whose channels differ in mean and in spread."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) * rng.uniform(0.5, 3, shape[-1]) + rng.uniform(-5, 5, shape[-1])


def statistics(model):
    return {name: part.value.copy() for name, part in model.named_state().items()
            if name.endswith(("running_mean", "running_var", "num_batches_tracked"))}


# --- the layers -------------------------------------------------------------------------------------------------------


def test_the_running_variance_is_unbiased_and_the_batch_s_own_is_not():
    """With few pixels, here n = 2·1·2, the two variances differ clearly."""
    norm, x = BatchNorm2d(3, momentum=0.25, dtype=np.float64), features(2, 1, 2, 3)
    y = norm.forward(x).reshape(-1, 3)
    rows = x.reshape(-1, 3)
    np.testing.assert_allclose(y.var(axis=0), rows.var(axis=0) / (rows.var(axis=0) + 1e-5), rtol=1e-12)
    np.testing.assert_allclose(norm.running_mean.value, 0.25 * rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(norm.running_var.value, 0.75 + 0.25 * rows.var(axis=0, ddof=1), rtol=1e-12)


def test_the_running_statistics_of_many_batches_are_torch_s():
    ours, theirs = BatchNorm2d(3, dtype=np.float64), torch.nn.BatchNorm2d(3, dtype=torch.float64)
    for seed in range(7):
        x = features(4, 3, 2, 3, seed=seed)
        ours.forward(x)
        theirs(torch.tensor(x).movedim(-1, 1))
    for name, tensor in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name], tensor.numpy(), rtol=1e-12)
    ours.eval(), theirs.eval()
    expected = theirs(torch.tensor(x).movedim(-1, 1)).detach().movedim(1, -1).numpy()
    np.testing.assert_allclose(ours.forward(x), expected, rtol=1e-12)


def test_evaluation_leaves_the_running_statistics_alone_and_takes_each_image_by_itself():
    norm, x = BatchNorm2d(3), features(5, 4, 4, 3).astype(np.float32)
    norm.forward(x)
    norm.eval()
    before = norm.state_dict()
    together = norm.forward(x)
    assert together.dtype == np.float32 and norm.saved is None
    np.testing.assert_allclose(norm.forward(x[:1]), together[:1], rtol=1e-6)
    for name, array in norm.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    with pytest.raises(RuntimeError, match="needs a forward in training mode"):
        norm.backward(together)


def test_in_training_an_image_depends_on_those_beside_it_by_batch_norm_alone():
    x = features(4, 3, 3, 8)
    for norm, coupled in ((BatchNorm2d(8, dtype=np.float64), True), (GroupNorm(2, 8, dtype=np.float64), False)):
        assert np.allclose(norm.forward(x)[:2], norm.forward(x[:2])) != coupled


def test_a_batch_of_a_single_pixel_is_refused():
    with pytest.raises(ValueError, match="cannot take a variance over a batch of a single pixel"):
        BatchNorm2d(2).forward(np.zeros((1, 1, 1, 2), np.float32))


@pytest.mark.parametrize("channels, groups", [(32, 8), (12, 4), (6, 2), (3, 1)])
def test_eight_groups_or_as_many_as_divide_the_channels(channels, groups):
    norm, _ = norm_and_relu("group", channels, np.float32)
    assert norm.num_groups == groups


def test_the_bias_before_a_batch_norm_has_no_gradient_and_the_weights_none_along_themselves():
    """The bias's gradient is zero up to rounding, so it has no scale of its own."""
    rng = np.random.default_rng(0)
    conv, norm = Conv2d(3, 4, 3, dtype=np.float64, rng=rng), BatchNorm2d(4, eps=0.0, dtype=np.float64)
    y = norm.forward(conv.forward(rng.standard_normal((3, 6, 6, 3))))
    conv.backward(norm.backward(rng.standard_normal(y.shape)))
    W, dW = conv.weight.value, conv.weight.grad
    assert np.abs(conv.bias.grad).max() <= 1e-13 * np.abs(dW).max()
    along, sizes = (W * dW).sum(axis=(0, 1, 2)), np.sqrt((W * W).sum((0, 1, 2)) * (dW * dW).sum((0, 1, 2)))
    assert np.abs(along / sizes).max() <= 1e-13


def errors_beside_torch(ours, theirs, x, dy):
    """{what: (our error, PyTorch's)} of float32 against float64, relative to the largest number."""
    def of_scratch(norm, dtype):
        y = norm.forward(x.astype(dtype))
        dx = norm.backward(dy.astype(dtype))
        return {"y": y, "dx": dx, "weight": norm.weight.grad, "bias": norm.bias.grad}

    given = torch.tensor(x).movedim(-1, 1).contiguous().requires_grad_()
    y = theirs(given)
    y.backward(torch.tensor(dy).movedim(-1, 1).contiguous())
    y, dx = (tensor.detach().movedim(1, -1).numpy() for tensor in (y, given.grad))
    other = {"y": y, "dx": dx, "weight": theirs.weight.grad.numpy(), "bias": theirs.bias.grad.numpy()}
    exact, found = (of_scratch(ours(dtype), dtype) for dtype in (np.float64, np.float32))
    return {name: tuple(np.abs(answer[name] - value).max() / np.abs(value).max() for answer in (found, other))
            for name, value in exact.items()}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mean", [0.0, 10.0, 100.0, 1000.0])
@pytest.mark.parametrize("ours, theirs", [
    (lambda dtype: BatchNorm2d(8, dtype=dtype), lambda: torch.nn.BatchNorm2d(8)),
    (lambda dtype: accelerate(BatchNorm2d(8, dtype=dtype)), lambda: torch.nn.BatchNorm2d(8)),
    (lambda dtype: GroupNorm(4, 8, dtype=dtype), lambda: torch.nn.GroupNorm(4, 8)),
    (lambda dtype: accelerate(GroupNorm(4, 8, dtype=dtype)), lambda: torch.nn.GroupNorm(4, 8)),
], ids=["BatchNorm2d", "BatchNorm2d, accelerated", "GroupNorm", "GroupNorm, accelerated"])
def test_a_mean_large_beside_the_spread_makes_no_noise(ours, theirs, mean, seed):
    """In float32, over 16,384 pixels, the error is at most twice PyTorch's."""
    rng = np.random.default_rng(seed)
    x = (mean + rng.standard_normal((16, 32, 32, 8))).astype(np.float32)
    dy = rng.standard_normal(x.shape).astype(np.float32)
    for name, (our_error, their_error) in errors_beside_torch(ours, theirs(), x, dy).items():
        assert our_error <= 2 * their_error, name


@pytest.mark.parametrize("count", [1, 255, 256, 257, 511, 512, 513, 70_000])
@pytest.mark.parametrize("turned", [False, True])
def test_the_sums_of_columns_lose_no_digits(count, turned):
    rows = (1 + np.random.default_rng(0).standard_normal((count, 3))).astype(np.float32)
    given = np.asfortranarray(rows) if turned else rows
    found, exact = column_sums(given), rows.sum(axis=0, dtype=np.float64)
    assert found.dtype == np.float32 and found.shape == (3,)
    np.testing.assert_allclose(found, exact, atol=5e-7 * np.abs(rows).sum(axis=0).max())


# --- in a model -------------------------------------------------------------------------------------------------------


def test_training_moves_the_running_statistics_and_nothing_else_does():
    model = new_model("vae", norm="batch")
    trainer, x = Trainer(model, make_optimizer(model.named_parameters(), ADAM), seed=0), images(8)
    trainer.step(x, 1, 0)
    after_a_step = statistics(model)
    assert len(after_a_step) == 3 * 3  # 16 and 32 channels on the way down, 16 on the way up
    assert all(count == 1 for name, count in after_a_step.items() if name.endswith("tracked"))
    trainer.evaluate(x, trainer.draw_noise(8, np.random.default_rng(0)))
    model.reconstruct(x)
    model.variations(x, 2, np.random.default_rng(0))
    for name, value in statistics(model).items():
        np.testing.assert_array_equal(value, after_a_step[name])
    trainer.step(x, 1, 1)
    assert all((value != after_a_step[name]).any() for name, value in statistics(model).items())


def test_an_image_is_encoded_alike_whatever_stands_beside_it():
    model = new_model("ae", norm="batch")
    model.loss(images(8))
    x = images(6, stream=1)
    np.testing.assert_allclose(model.encode(x)[:1], model.encode(x[:1]), rtol=1e-4, atol=1e-6)


def test_k_means_begins_from_features_of_training():
    """The running statistics of a new model, which hold no images yet, would give other features."""
    model = new_model("vqvae", norm="batch", codebook_init="kmeans", codebook_update="gradient")
    trainer, x = Trainer(model, None, seed=0), images(64)
    trainer.prepare([x] * model.bottleneck.prepared_from)
    _, terms = model.loss(x)
    z = model.bottleneck.project.forward(model.encoder.forward(x))
    spread = ((z - z.mean(axis=(0, 1, 2))) ** 2).sum() / len(x)
    assert terms["commitment"] < 0.2 * spread
