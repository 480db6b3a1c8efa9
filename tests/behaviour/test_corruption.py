"""The encoder's input in a denoising model, and its noise, which follows the same rules as all noise."""

import math

import numpy as np
import pytest

from scratch.accelerate.cpu.workers import ParallelTrainer
from scratch.arrays import each
from scratch.models.corruption import CORRUPTIONS, Gaussian, Masking, SaltAndPepper, read_corruption
from scratch.optim import Adam
from scratch.training.held_out import held_out_generators, held_out_metrics
from scratch.training.trainer import Trainer
from tests.support.tiny import images, new_model
from tests.support.variants import CORRUPTIONS as TEXTS

MODELS = ("ae", "vae", "vqvae", "vqvae2", "dvae")
each_model = pytest.mark.parametrize("name", MODELS)
each_kind = pytest.mark.parametrize("text", TEXTS)
SHAPE = (16, 16, 3)


def corrupted(kind, amount, x, seed=0):
    corruption = kind(amount, x.shape[1:], dtype=x.dtype, rng=np.random.default_rng(seed))
    return corruption.forward(x)


# --- the three kinds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaussian_noise_has_its_sigma_and_is_not_clipped(dtype):
    x = images(100).astype(dtype)
    seen = corrupted(Gaussian, 0.3, x)
    noise = seen - x
    assert seen.dtype == dtype and seen.min() < -0.5 and seen.max() > 1.5
    assert noise.mean() == pytest.approx(0, abs=5 * 0.3 / math.sqrt(noise.size))
    assert noise.std() == pytest.approx(0.3, rel=5 / math.sqrt(2 * noise.size))
    dark = noise[x < 0.2]
    assert dark.size > 1000 and dark.mean() == pytest.approx(0, abs=0.03), "clipped noise would lift what is dark"


def test_masking_sets_a_share_of_the_numbers_to_zero_each_channel_on_its_own():
    x = np.full((100, *SHAPE), 0.7, np.float32)
    seen = corrupted(Masking, 0.3, x)
    assert set(np.unique(seen)) == {np.float32(0), np.float32(0.7)} and seen.dtype == np.float32
    assert (seen == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert (seen == 0).all(axis=-1).mean() == pytest.approx(0.3**3, abs=0.01)


def test_salt_and_pepper_makes_black_and_white_equally_often():
    x = np.full((100, *SHAPE), 0.7, np.float32)
    seen = corrupted(SaltAndPepper, 0.2, x)
    assert set(np.unique(seen)) == {np.float32(0), np.float32(0.7), np.float32(1)} and seen.dtype == np.float32
    assert (seen == 0).mean() == pytest.approx(0.1, abs=0.01) and (seen == 1).mean() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("text", ["gaussian", "gaussian:", "gaussian:0", "gaussian:inf", "masking:1", "masking:-0.1",
                                  "salt:0.1", "masking:0.3:1", "gaussian:nan", ""])
def test_what_is_no_corruption_is_refused(text):
    with pytest.raises(ValueError, match="expected gaussian:SIGMA, masking:P or salt_and_pepper:P"):
        read_corruption(text)
    assert read_corruption("gaussian:1.5") == ("gaussian", 1.5)


@pytest.mark.parametrize("noise", [
    np.zeros((4, *SHAPE)), np.zeros((1, *SHAPE), np.float32), np.zeros(SHAPE, np.float32)])
def test_noise_that_would_upcast_or_be_broadcast_is_refused(noise):
    for kind in CORRUPTIONS.values():
        with pytest.raises(ValueError, match="takes images and noise of one shape and dtype"):
            kind(0.1, SHAPE).forward(images(4), noise)


def test_noise_without_a_list_around_it_is_refused():
    """The first part of a denoising VAE's noise is the corruption's. A bare array would be the bottleneck's alone."""
    model = new_model("vae", corruption="gaussian:0.1")
    with pytest.raises(ValueError, match="takes images and noise of one shape and dtype"):
        model.loss(images(4), model.bottleneck.draw_noise(4, np.random.default_rng(0)))


# --- in a model -------------------------------------------------------------------------------------------------------


@each_kind
@each_model
def test_the_encoder_sees_the_corrupted_image_and_the_loss_the_clean_one(name, text):
    model, plain, x = new_model(name, corruption=text), new_model(name), images(4)
    noise = model.draw_noise(len(x), np.random.default_rng(1))
    seen = model.corruption.forward(x, noise[0])
    bottlenecks_own = noise[1] if plain.bottleneck.random else None
    output, terms = plain.forward(seen, bottlenecks_own)
    terms = {"reconstruction": plain.reconstruction.loss(output, x), **terms}
    _, found = model.loss(x, noise)
    assert {key: float(value) for key, value in found.items()} == {key: float(value) for key, value in terms.items()}
    assert abs(seen - x).max() > 0.1 and model.loss(x, noise)[0] != plain.loss(x, bottlenecks_own)[0]


@each_model
def test_encode_reconstruct_and_interpolate_take_images_as_they_are(name):
    model, plain, x = new_model(name, corruption="masking:0.5"), new_model(name), images(4)
    np.testing.assert_array_equal(model.reconstruct(x), plain.reconstruct(x))
    np.testing.assert_array_equal(model.interpolate(x, x[::-1], 3), plain.interpolate(x, x[::-1], 3))
    each(np.testing.assert_array_equal, model.encode(x), plain.encode(x))


def test_backward_uses_the_noise_that_forward_drew():
    """If no noise is given, the corruption's own generator draws it, and backward uses that noise."""
    x, gradients = images(4).astype(np.float64), []
    for given in (False, True):
        model = new_model("ae", dtype=np.float64, corruption="gaussian:0.3")
        model.corruption.rng = np.random.default_rng(7)
        model.loss(x, model.draw_noise(len(x), np.random.default_rng(7)) if given else None)
        model.backward()
        gradients.append(model.grad_dict())
    for key, gradient in gradients[0].items():
        np.testing.assert_array_equal(gradient, gradients[1][key])
    first, second = (float(model.loss(x)[0]) for _ in range(2))
    assert first != second, "every forward draws fresh noise"


# --- the streams ------------------------------------------------------------------------------------------------------


@each_model
def test_a_corruption_leaves_the_bottleneck_s_noise_as_it_was(name):
    plain, model = new_model(name), new_model(name, corruption="masking:0.3")
    expected = plain.draw_noise(5, np.random.default_rng(3))
    corrupting, *found = model.draw_noise(5, np.random.default_rng(3))
    assert corrupting.shape == (5, *SHAPE) and len(found) == plain.bottleneck.random
    if found:
        np.testing.assert_array_equal(found[0], expected)
    assert plain.random == plain.bottleneck.random and model.random


@each_kind
@each_model
def test_the_noise_of_a_held_out_example_is_its_own_whatever_the_batch_size(name, text):
    """With one stream for both parts, an example's noise would depend on how many examples are drawn for at a time."""
    model = new_model(name, corruption=text)
    noises = []
    for sizes in ((7,), (3, 3, 1)):
        generators = held_out_generators()
        drawn = [model.draw_noise(size, *generators) for size in sizes]
        noises.append([np.concatenate(parts) for parts in zip(*drawn, strict=True)])
    for one, other in zip(*noises, strict=True):
        np.testing.assert_array_equal(one, other)
    pixels = np.rint(255 * images(10)).astype(np.uint8)
    by_10, by_3 = (held_out_metrics(Trainer(model, None, 0), pixels, size, np.float32) for size in (10, 3))
    for metrics in (by_10, by_3):
        for key in [key for key in metrics if key.startswith("held_out_perplexity")]:  # a batch's own (trap 17)
            del metrics[key]
    assert by_10 == pytest.approx(by_3, rel=1e-5)
    plain = held_out_metrics(Trainer(new_model(name), None, 0), pixels, 10, np.float32)
    assert plain["held_out_psnr"] == by_10["held_out_psnr"], "of the image as it is"
    assert plain["held_out_reconstruction"] != by_10["held_out_reconstruction"]


@pytest.mark.parametrize("name", ["ae", "vae"])
def test_several_workers_share_the_noise_of_the_batch(name):
    x, states = images(9).astype(np.float64), []
    for workers in (1, 2):
        model = new_model(name, dtype=np.float64, corruption="gaussian:0.3")
        adam = Adam(model.named_parameters(), 1e-3)
        trainer = Trainer(model, adam, 4) if workers == 1 else ParallelTrainer(model, adam, 4, workers)
        terms = [trainer.read(trainer.step(x, 1, step)[0].values()) for step in range(3)]
        noise = trainer.draw_noise(9, np.random.default_rng(0))
        terms.append(trainer.read(trainer.evaluate(x, noise)[0].values()))
        states.append((terms, trainer.state()[0]))
    np.testing.assert_allclose(states[0][0], states[1][0], rtol=1e-9)
    for key, array in states[0][1].items():
        np.testing.assert_allclose(states[1][1][key], array, rtol=0, atol=1e-9 * abs(array).max())


def test_every_step_has_noise_of_its_own_that_follows_from_seed_epoch_and_step():
    trainer = Trainer(new_model("ae", corruption="gaussian:0.3"), None, seed=5)
    (first,), (again,), (other,) = (trainer.noise_of_step(4, 1, step) for step in (2, 2, 3))
    np.testing.assert_array_equal(first, again)
    assert abs(first - other).max() > 1
