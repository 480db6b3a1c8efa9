"""The other networks than plain convolutions, around every bottleneck, on both sides."""

import math

import numpy as np
import pytest
import torch

from scratch.accelerate import back_to_plain
from tests.support.beside_torch import (
    MODELS_AND_NETWORKS,
    NETWORKS,
    RESIDUAL,
    assert_all_close,
    assert_close,
    away_from_kinks,
    build_torch,
    to_numpy,
    to_torch,
    torch_gradients,
    torch_twin,
)
from tests.support.models import build, run_options

pytestmark = pytest.mark.usefixtures("each_form")

PUBLISHED = run_options("vqvae", preset="published")


def twins(model, image_shape=(8, 12, 3), likelihood="squared_error", dtype=np.float64, **changes):
    """Scratch's model, torch's with the same weights, and six images. In float32 the first seed away from kinks.
    """
    options = {**RESIDUAL, "likelihood": likelihood, **changes}
    for seed in range(50):
        rng = np.random.default_rng(seed)
        ours = build(model, image_shape, options, dtype=dtype, rng=rng)
        x = rng.uniform(size=(6, *image_shape)).astype(dtype)
        precise = build(model, image_shape, options, dtype=np.float64)
        if dtype == np.float64 or away_from_kinks(ours, precise, x, noise_for(ours, x)):
            return ours, torch_twin(ours, model, image_shape, options), x
    raise AssertionError("with none of 50 seeds are the gradients steady: no kink is that common")


def noise_for(ours, x):
    return ours.bottleneck.draw_noise(len(x), np.random.default_rng(9))


@pytest.mark.parametrize("dtype, bound", [(np.float64, 1e-12), (np.float32, 1e-4)])
@pytest.mark.parametrize("likelihood", ["squared_error", "bernoulli"])
@pytest.mark.parametrize("model, image_shape, halvings", [
    ("ae", (8, 12, 3), 2), ("vae", (8, 12, 3), 2), ("vqvae", (8, 12, 3), 2), ("vqvae", (6, 10, 1), 1),
    ("vqvae", (16, 24, 2), 3)])
def test_outputs_terms_and_gradients(model, image_shape, halvings, likelihood, dtype, bound):
    compare(*twins(model, image_shape, likelihood, dtype, halvings=halvings), bound)


@pytest.mark.parametrize("dtype, bound", [(np.float64, 1e-12), (np.float32, 1e-4)])
@pytest.mark.parametrize("likelihood", ["squared_error", "bernoulli"])
@pytest.mark.parametrize("model, network", MODELS_AND_NETWORKS)
def test_outputs_terms_and_gradients_of_every_network(model, network, likelihood, dtype, bound):
    """With norms this includes their running statistics, and the reconstructions, which use these."""
    compare(*twins(model, (16, 24, 3), likelihood, dtype, **NETWORKS[network]), bound)


def compare(ours, theirs, x, bound):
    noise = noise_for(ours, x)
    noise_torch = None if noise is None else to_torch(noise).detach()
    output, _ = ours.forward(x, noise)
    output_torch, _ = theirs(to_torch(x), noise_torch)
    assert_close(output, to_numpy(output_torch), bound, "output")

    ours.zero_grad()
    loss, terms = ours.loss(x, noise)
    ours.backward()
    loss_torch, terms_torch = theirs.loss(to_torch(x), noise_torch)
    loss_torch.backward()
    assert_close(loss, loss_torch.detach(), bound, "loss")
    assert_all_close(terms, {name: term.detach() for name, term in terms_torch.items()}, bound)
    gradients = ours.grad_dict()
    assert_all_close(gradients, torch_gradients(theirs), bound)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients.values())
    assert_all_close(ours.state_dict(), {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}, bound)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert_close(ours.reconstruct(x), to_numpy(theirs.reconstruct(to_torch(x))), bound, "reconstruction")


def test_the_usual_vae_of_mnist():
    """784–400–20–400–784: 314,000 weights, twice 8,020, 8,400 and 314,384, under the names of their places."""
    for model, parameters in (("vae", 652_824), ("ae", 652_824 - 8_020)):
        ours, theirs = (side(model, (28, 28, 1), run_options(model, preset="mlp")) for side in (build, build_torch))
        assert ours.parameter_count() == sum(p.numel() for p in theirs.parameters()) == parameters
        shapes = {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()}
        assert {name: array.shape for name, array in ours.state_dict().items()} == shapes
    vae = back_to_plain(build("vae", (28, 28, 1), run_options("vae", preset="mlp")))
    assert [type(layer).__name__ for layer in vae.encoder.layers] == ["Flatten", "Linear", "ReLU", "Unflatten"]
    assert [type(layer).__name__ for layer in vae.decoder.layers] == ["ReLU", "Flatten", "Linear", "Unflatten"]
    matrices = {name: array.shape for name, array in vae.state_dict().items() if array.ndim == 2}
    assert matrices == {
        "encoder.1.weight": (400, 784), "bottleneck.mu.weight": (20, 400), "bottleneck.logvar.weight": (20, 400),
        "bottleneck.expand.weight": (400, 20), "decoder.2.weight": (784, 400)}
    assert vae.weights == {"reconstruction": 1.0, "kl": 1.0}


@pytest.mark.parametrize("name, options", [(name, options) for name, options in NETWORKS.items() if "norm" in options])
def test_where_there_is_a_norm_only_the_last_layer_of_a_network_has_a_bias(name, options):
    """A norm would remove most of the bias again, and has one of its own."""
    for side in twins("vae", (16, 24, 3), **options)[:2]:
        state = side.state_dict()
        networks = [key for key in state if key.startswith(("encoder", "decoder"))]
        convolutions = [key for key in networks if key.endswith("weight") and state[key].ndim == 4]
        biased = [key for key in convolutions if key.replace("weight", "bias") in state]
        assert biased == convolutions[-1:] and len(convolutions) > 3


def test_the_weights_of_the_terms():
    """The mean squared error is divided by the variance of the data; the other terms are not."""
    for side in twins("vqvae")[:2]:  # 8×12×3 pixels, 2×3 latents of 4 numbers
        expected = {"reconstruction": 1 / (8 * 12 * 3) / 0.06, "codebook": 1 / 24, "commitment": 0.25 / 24}
        assert side.weights == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("size, grid", [((32, 32), (8, 8)), ((128, 128), (32, 32))])
def test_the_published_model(size, grid):
    """Counted by hand from the notebook: 364,160 weights in its encoder, 8,256 in the 1×1 convolution, 32,768 in the
    codebook, 290,307 in its decoder, which takes the code vectors."""
    ours, theirs = build("vqvae", (*size, 3), PUBLISHED), build_torch("vqvae", (*size, 3), PUBLISHED)
    assert ours.parameter_count() == 364_160 + 8_256 + 290_307  # moving averages, not gradients, move the codebook
    assert ours.bottleneck.quantizer.codebook.value.size == 32_768
    shapes = {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()}
    assert {name: array.shape for name, array in ours.state_dict().items()} == shapes
    assert shapes["encoder.1.weight"] == (64, 3, 4, 4) and shapes["encoder.6.branch.1.weight"] == (32, 128, 3, 3)
    assert shapes["decoder.0.weight"] == (128, 64, 3, 3) and shapes["decoder.6.weight"] == (64, 3, 4, 4)
    assert not any(name.startswith("bottleneck.expand") for name in shapes)
    assert ours.encode(np.zeros((1, *size, 3), np.float32)).shape == (1, *grid)


def test_weights_go_back_from_torch():
    ours, theirs, x = twins("vqvae")
    other = build("vqvae", (8, 12, 3), {**RESIDUAL, "likelihood": "squared_error"}, dtype=np.float64)
    other.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    np.testing.assert_array_equal(other.reconstruct(x), ours.reconstruct(x))


def test_grey_is_what_the_first_convolution_pads_with():
    """A grey image then has the same features at its edge as inside; a black image has a visible frame."""
    for side in twins("vqvae")[:2]:
        first = side.encoder.layers[:2] if hasattr(side.encoder, "layers") else side.encoder[:2]
        spread = []
        for level in (0.5, 0.0):
            h = np.full((1, 8, 12, 3), level)
            if isinstance(side, torch.nn.Module):
                h = to_numpy(first(to_torch(h)))
            else:
                for layer in first:
                    h = layer.forward(h)
            spread.append(float(np.ptp(h, axis=(1, 2)).max()))
        assert spread[0] < 1e-15 and spread[1] > 0.1


def test_an_image_that_cannot_be_halved_so_often_is_refused():
    for build_side in (build, build_torch):
        with pytest.raises(ValueError, match="images of 12×18 cannot be halved 2 times: 4 has to divide both sides"):
            build_side("vqvae", (12, 18, 3), {**RESIDUAL, "likelihood": "squared_error"})


def test_a_grid_that_two_levels_of_codes_cannot_halve_is_refused():
    options = {**RESIDUAL, "likelihood": "squared_error", "channels": (8, 16)}
    for build_side in (build, build_torch):
        with pytest.raises(ValueError, match=r"levels of codes halve the encoder's grid once more, .* 5×5"):
            build_side("vqvae2", (20, 20, 3), options)


def test_a_constant_answer_costs_one_where_the_variance_is_the_images_own():
    """The meaning of the division by the variance: the best single grey has an error of 1."""
    rng = np.random.default_rng(0)
    x = rng.random((5, 8, 12, 3))
    model = build("vqvae", x.shape[1:], {**RESIDUAL, "likelihood": "squared_error", "data_variance": float(x.var())},
                  dtype=np.float64, rng=rng)
    term = model.reconstruction.loss(np.full_like(x, x.mean()), x)
    assert math.isclose(model.weights["reconstruction"] * term, 1, rel_tol=1e-12)
