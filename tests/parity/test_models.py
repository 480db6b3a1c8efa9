"""Whole models: outputs, loss terms, gradients by name, and every method of a model."""

import math

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file as load_numpy
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch

from scratch.arrays import each
from scratch.bottlenecks import Bottleneck
from scratch.losses import LIKELIHOODS
from scratch.models.priors import CodeFrequencies, StandardNormal
from tests.support.beside_torch import (
    TINY,
    assert_all_close,
    assert_close,
    build_torch,
    to_numpy,
    to_torch,
    torch_gradients,
    torch_twin,
)
from tests.support.models import build, run_options
from torch_ref.compare import grids

pytestmark = pytest.mark.usefixtures("each_form")

MODELS = ("ae", "vae", "vqvae", "vqvae2", "dvae")
each_model = pytest.mark.parametrize("model", MODELS)
each_likelihood = pytest.mark.parametrize("likelihood", LIKELIHOODS)
each_dtype = pytest.mark.parametrize("dtype, bound", [(np.float64, 1e-12), (np.float32, 1e-4)])


def twins(model, image_shape=(8, 12, 3), likelihood="squared_error", dtype=np.float64, **changes):
    """Scratch's model, torch's with the same weights, and six images."""
    rng = np.random.default_rng(0)
    options = {**TINY, "likelihood": likelihood, **changes}
    ours = build(model, image_shape, options, dtype=dtype, rng=rng)
    return ours, torch_twin(ours, model, image_shape, options), rng.uniform(size=(6, *image_shape)).astype(dtype)


def noise_for(ours, count):
    return ours.bottleneck.draw_noise(count, np.random.default_rng(9))


def as_tensor(noise):
    return None if noise is None else to_torch(noise).detach()


def loss_and_gradients(ours, x, noise):
    ours.zero_grad()
    loss, terms = ours.loss(x, noise)
    ours.backward()
    return loss, terms, ours.grad_dict()


@each_dtype
@each_likelihood
@pytest.mark.parametrize("image_shape", [(8, 12, 3), (10, 6, 1)], ids=["two halvings", "one halving, grey"])
@each_model
def test_outputs_terms_and_gradients(model, image_shape, likelihood, dtype, bound):
    if model == "vqvae2" and image_shape == (10, 6, 1):
        image_shape = (20, 12, 1)  # its bottleneck halves once more
    ours, theirs, x = twins(model, image_shape, likelihood, dtype)
    noise = noise_for(ours, len(x))
    output, _ = ours.forward(x, noise)
    output_torch, _ = theirs(to_torch(x), as_tensor(noise))
    assert_close(output, to_numpy(output_torch), bound, "output")

    loss, terms, gradients = loss_and_gradients(ours, x, noise)
    loss_torch, terms_torch = theirs.loss(to_torch(x), as_tensor(noise))
    loss_torch.backward()
    assert_close(loss, loss_torch.detach(), bound, "loss")
    assert_all_close(terms, {name: term.detach() for name, term in terms_torch.items()}, bound)
    assert_all_close(gradients, torch_gradients(theirs), bound)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients.values())
    if Bottleneck.systems[model].needs_grid:
        for grid, grid_torch in zip(grids(ours.bottleneck), grids(theirs.bottleneck), strict=True):
            np.testing.assert_array_equal(grid, grid_torch)


@each_likelihood
@each_model
def test_a_batch_twice_over_has_the_same_loss_and_gradients(model, likelihood):
    """Every term is an average over the batch, so none of them grows with it."""
    ours, theirs, x = twins(model, likelihood=likelihood)
    noise = noise_for(ours, len(x))
    twice = None if noise is None else np.concatenate([noise, noise])
    loss, terms, gradients = loss_and_gradients(ours, x, noise)
    loss_twice, terms_twice, gradients_twice = loss_and_gradients(ours, np.concatenate([x, x]), twice)
    assert_close(loss_twice, loss, 1e-12, "loss")
    assert_all_close(terms_twice, terms, 1e-12)
    assert_all_close(gradients_twice, gradients, 1e-12)
    _, terms_torch = theirs.loss(to_torch(np.concatenate([x, x])), as_tensor(twice))
    assert_all_close({name: term.detach().numpy() for name, term in terms_torch.items()}, terms, 1e-12)


def test_the_weights_of_the_terms():
    """The loss of each model, written out: the same numbers on both sides. β weighs the commitment.
    """
    for side in (0, 1):
        assert twins("ae")[side].weights == {"reconstruction": 1}
        assert twins("vae", beta=0.1)[side].weights == {"reconstruction": 1, "kl": 0.1}
        assert twins("dvae", kl_weight=0.1)[side].weights == {"reconstruction": 1, "kl": 0.1}
        weights = twins("vqvae", commitment=0.25)[side].weights  # 8×12×3 pixels, 2×3 latents of 4 numbers
        expected = {"reconstruction": 1 / (8 * 12 * 3), "codebook": 1 / (2 * 3 * 4), "commitment": 0.25 / (2 * 3 * 4)}
        assert weights == pytest.approx(expected, rel=1e-15)
        weights = twins("vqvae2", commitment=0.25)[side].weights  # at the bottom 4×6 latents
        expected = {
            "reconstruction": 1 / (8 * 12 * 3), "codebook_top": 1 / (2 * 3 * 4), "commitment_top": 0.25 / (2 * 3 * 4),
            "codebook_bottom": 1 / (4 * 6 * 4), "commitment_bottom": 0.25 / (4 * 6 * 4)}
        assert weights == pytest.approx(expected, rel=1e-15)


def test_the_vqvaes_loss_is_the_article_s_mean_over_elements():
    ours, theirs, x = twins("vqvae", commitment=1.0)
    x_torch = to_torch(x)
    with torch.no_grad():
        z = theirs.bottleneck.project(theirs.encoder(x_torch))
        q = theirs.bottleneck.quantizer.lookup(theirs.bottleneck.quantizer.nearest(z))
        output = theirs.decoder(theirs.bottleneck.expand(q))
        mse = torch.nn.functional.mse_loss
        expected = mse(output, x_torch) + mse(q, z) + mse(z, q)
    assert float(ours.loss(x)[0]) == pytest.approx(expected.item(), rel=1e-12)


@each_likelihood
@each_model
def test_encode_decode_reconstruct(model, likelihood):
    """All of them deterministic."""
    ours, theirs, x = twins(model, likelihood=likelihood)
    latents, latents_torch = ours.encode(x), theirs.encode(to_torch(x))
    assert isinstance(latents, list) == isinstance(latents_torch, list) == (model == "vqvae2")
    each(lambda own, other: assert_close(own, other, 1e-12, "latents"), latents, latents_torch)
    images = ours.decode(latents)
    assert_close(images, to_numpy(theirs.decode(latents_torch)), 1e-12, "decoded")
    assert images.min() >= 0 and images.max() <= 1
    np.testing.assert_array_equal(ours.reconstruct(x), images)
    assert_close(images, to_numpy(theirs.reconstruct(to_torch(x))), 1e-12, "reconstructed")
    assert ours.training and theirs.training


@each_model
def test_interpolate(model):
    """Four images on each way: half way, two codes could be equally near, and rounding would choose (trap 16)."""
    ours, theirs, x = twins(model)
    images = ours.interpolate(x[:3], x[3:], 4)
    images_torch = theirs.interpolate(to_torch(x[:3]), to_torch(x[3:]), 4)
    assert images.shape == (3, 4, 8, 12, 3)
    assert_close(images, images_torch.numpy().transpose(0, 1, 3, 4, 2), 1e-12, "interpolation")
    assert_close(images[:, 0], ours.reconstruct(x[:3]), 1e-12, "first")
    assert_close(images[:, -1], ours.reconstruct(x[3:]), 1e-12, "last")


@each_model
def test_sample(model):
    ours, theirs, x = twins(model)
    prior = StandardNormal(TINY["latent_dim"])
    if Bottleneck.systems[model].needs_grid:
        prior = CodeFrequencies(ours.encode(x), TINY["codes"])
    images = ours.sample(5, prior, np.random.default_rng(3))
    images_torch = theirs.sample(5, prior, np.random.default_rng(3))
    assert images.shape == (5, 8, 12, 3)
    assert_close(images, to_numpy(images_torch), 1e-12, "samples")


@pytest.mark.parametrize("model", ["vae", "dvae"])
def test_variations(model):
    ours, theirs, x = twins(model)
    images = ours.variations(x, 3, np.random.default_rng(3))
    images_torch = theirs.variations(to_torch(x), 3, np.random.default_rng(3))
    assert images.shape == (6, 3, 8, 12, 3)
    assert_close(images, images_torch.numpy().transpose(0, 1, 3, 4, 2), 1e-12, "variations")
    assert np.abs(images[:, 0] - images[:, 1]).max() > 1e-3


@pytest.mark.parametrize("model", ["ae", "vqvae"])
def test_only_a_vae_has_variations(model):
    for side, x in zip(twins(model), (np.zeros((1, 8, 12, 3)), torch.zeros(1, 3, 8, 12)), strict=False):
        with pytest.raises(ValueError, match="drawn at random"):
            side.variations(x, 2, np.random.default_rng(0))


@each_dtype
@each_model
def test_state_dicts_go_both_ways(tmp_path, model, dtype, bound):
    """By strict loading, directly and through a safetensors file; the loaded model gives the same outputs."""
    ours, theirs, x = twins(model, dtype=dtype)
    options = {**TINY, "likelihood": "squared_error"}
    torch_dtype = torch.from_numpy(x).dtype

    def fresh(seed):
        torch.manual_seed(seed)
        return (build(model, (8, 12, 3), options, dtype=dtype, rng=np.random.default_rng(seed)),
                build_torch(model, (8, 12, 3), options, dtype=torch_dtype))

    # scratch → torch
    expected = ours.reconstruct(x)
    _, other = fresh(1)
    assert np.abs(to_numpy(other.reconstruct(to_torch(x))) - expected).max() > 1e-3
    save_numpy(ours.state_dict(), tmp_path / "scratch.safetensors")
    other.load_state_dict(load_torch(tmp_path / "scratch.safetensors"), strict=True)
    assert_close(expected, to_numpy(other.reconstruct(to_torch(x))), bound, "scratch → torch")

    # torch → scratch, by a file and directly
    other, theirs = fresh(2)
    expected = to_numpy(theirs.reconstruct(to_torch(x)))
    save_torch(theirs.state_dict(), tmp_path / "torch.safetensors")
    other.load_state_dict(load_numpy(tmp_path / "torch.safetensors"))
    assert_close(other.reconstruct(x), expected, bound, "torch → scratch")
    direct, _ = fresh(3)
    direct.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    np.testing.assert_array_equal(direct.reconstruct(x), other.reconstruct(x))

    # and there and back nothing changes
    back = direct.state_dict()
    assert list(back) == list(theirs.state_dict())
    for name, tensor in theirs.state_dict().items():
        np.testing.assert_array_equal(back[name], tensor)


@each_model
def test_strict_loading_refuses_what_does_not_fit(model):
    ours, theirs, _ = twins(model)
    state = ours.state_dict()
    name = "encoder.0.weight"
    for broken in (
        {key: value for key, value in state.items() if key != name},
        {**state, "encoder.9.weight": state[name]},
        {**state, name: state[name][1:]},
        {**state, name: state[name].transpose(0, 2, 3, 1)},  # scratch's own layout is not the state dict's
    ):
        with pytest.raises(ValueError):
            ours.load_state_dict(broken)
        with pytest.raises(RuntimeError):
            theirs.load_state_dict({key: torch.tensor(value) for key, value in broken.items()}, strict=True)


@pytest.mark.parametrize("model, changes, expected", [
    ("ae", {}, 9_711_235), ("vae", {}, 13_906_563), ("vqvae", {}, 1_907_715), ("vqvae", {"codes": 32}, 1_387_523),
    ("dvae", {}, 2_927_491), ("dvae", {"likelihood": "logit_laplace"}, 2_927_491 + 3 * (64 * 16 + 1))])
def test_the_article_s_parameter_counts(model, changes, expected):
    options = run_options(model, preset="article", **changes)
    assert build(model, (32, 32, 3), options).parameter_count() == expected
    theirs = build_torch(model, (32, 32, 3), options)
    assert sum(parameter.numel() for parameter in theirs.parameters()) == expected


@pytest.mark.parametrize("size, depth", [((32, 32), 3), ((28, 28), 2), ((16, 24), 3), ((6, 32), 1), ((96, 40), 3)])
@pytest.mark.parametrize("model", ["vqvae", "vqvae2"])
def test_both_sides_halve_an_image_equally_often(size, depth, model):
    if model == "vqvae2" and depth == 1:
        pytest.skip("a vqvae2 halves twice")
    options = run_options(model, channels=(2, 3, 4), likelihood="bernoulli")
    ours = build(model, (*size, 1), options)
    theirs = build_torch(model, (*size, 1), options)
    shapes = {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()}
    assert {name: array.shape for name, array in ours.state_dict().items()} == shapes
    top = next(iter(ours.bottleneck.by_level(ours.encode(np.zeros((1, *size, 1), np.float32))).values()))
    assert math.prod(top.shape) == math.prod(size) / 4**depth


@pytest.mark.parametrize("size, channels", [((10, 6), (6, 8)), ((32, 32), (8,))])
def test_neither_side_takes_what_a_vqvae2_cannot_halve_twice(size, channels):
    options = {**TINY, "channels": channels, "likelihood": "squared_error"}
    for build_side in (build, build_torch):
        with pytest.raises(ValueError, match=r"halves an image at least 2 times|cannot be halved twice"):
            build_side("vqvae2", (*size, 3), options)


@each_model
def test_neither_side_takes_an_image_that_cannot_be_halved(model):
    options = {**TINY, "likelihood": "squared_error"}
    for build_side in (build, build_torch):
        with pytest.raises(ValueError, match="cannot be halved"):
            build_side(model, (32, 27, 3), options)
        with pytest.raises(ValueError, match="unknown model"):
            build_side("vea", (32, 32, 3), options)
