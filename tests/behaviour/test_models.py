"""What a model does apart from training: reconstruct, sample, vary, interpolate; and its sizes."""

import math

import numpy as np
import pytest

import scratch
from scratch.models.priors import CodeFrequencies, FittedGaussian, StandardNormal
from scratch.models.system import systems
from scratch.networks.network import halvings
from scratch.options.errors import InputError
from scratch.options.presets import PRESETS
from scratch.options.resolve import resolve, run_options
from tests.support.models import build
from tests.support.tiny import OPTIONS, RESIDUAL, images, new_model

NAMES = ["ae", "vae", "vqvae", "vqvae2", "dvae"]


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    """Each of the models. Its weights are √6 times PyTorch's default (He's scale), so that images still differ after
    all layers. Its codebook holds latents that occur, so that codes differ too."""
    model = new_model(request.param)
    for parameter in model.named_parameters().values():
        parameter.value *= math.sqrt(6)
    bottleneck, h = model.bottleneck, model.encoder.forward(images(4))
    if request.param == "vqvae":
        set_codes(bottleneck.quantizer, bottleneck.project.forward(h))
    if request.param == "vqvae2":
        set_codes(bottleneck.top_quantizer, bottleneck.top_encoder.forward(h))
        q_top = bottleneck.top_quantizer.lookup(bottleneck.encode(h)[0])
        set_codes(bottleneck.bottom_quantizer, bottleneck.bottom_latents(h, q_top))
    return model


def set_codes(quantizer, latents):
    """Every code becomes one of the latents; these repeat if there are too few."""
    rows = latents.reshape(-1, latents.shape[-1])
    quantizer.codebook.value[...] = np.resize(rows, quantizer.codebook.value.shape)


def prior_of(model, x):
    latents = model.encode(x)
    return CodeFrequencies(latents, OPTIONS["codes"]) if model.bottleneck.codes else FittedGaussian(latents)


# --- evaluation -------------------------------------------------------------------------------------------------------


def test_evaluation_is_deterministic(model):
    """A stochastic code at evaluation would give another image each time (trap 8)."""
    x = images(8, stream=1)
    first, again = model.reconstruct(x), model.reconstruct(x)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, model.decode(model.encode(x)))
    assert first.shape == x.shape and 0 <= first.min() and first.max() <= 1
    assert first.std(axis=0).max() > 0.01  # and yet not one picture for all


def test_evaluation_leaves_training_mode_and_saved_values_as_they_should_be(model):
    x = images(4)
    model.reconstruct(x)
    assert all(part.training for part in model.modules())
    model.eval()
    model.reconstruct(x)
    assert not any(part.training or part.saved for part in model.modules())
    model.train()


@pytest.mark.parametrize("corruption", [None, "masking:0.3"])
@pytest.mark.parametrize("name", NAMES)
def test_an_evaluation_shares_passes_and_finds_what_separate_ones_find(name, corruption):
    """Bit for bit, and in as few passes as possible: two of the encoder with a corruption, else one; two of the decoder
    where anything is random, else one."""
    model, x = new_model(name, corruption=corruption), images(4)
    noise = model.draw_noise(4, np.random.default_rng(0))
    passes = {part: 0 for part in (model.encoder, model.decoder)}
    with model.evaluating():
        expected_loss, expected_terms = model.loss(x, noise)
        expected = ((model.reconstruct(x) - x) ** 2).reshape(4, -1).sum(axis=1)
        for part in passes:
            part.forward = counted(part, passes)
        loss, terms, [errors] = model.evaluate(x, noise)
    assert loss == expected_loss and terms == expected_terms
    np.testing.assert_array_equal(errors, expected)
    assert list(passes.values()) == [1 + bool(corruption), 1 + model.random]


def test_an_evaluation_of_a_model_that_does_not_quantize_decodes_its_codes():
    """Its loss is that of the unquantized latents."""
    model, x = new_model("vqvae", straight_through="reversed"), images(4)
    with model.evaluating():
        loss, _, [errors] = model.evaluate(x)
        assert loss == model.loss(x)[0]
        seen = model.evaluate(x, None, lambda model, x, passes: [passes])[2][0]
    assert seen.output is None
    np.testing.assert_array_equal(errors, ((model.reconstruct(x) - x) ** 2).reshape(4, -1).sum(axis=1))


def counted(part, passes):
    def forward(x):
        passes[part] += 1
        return type(part).forward(part, x)

    return forward


def test_a_vae_reconstructs_from_its_mean():
    vae = new_model("vae")
    x = images(4)
    vae.eval()
    mu, _ = vae.bottleneck.parameters_of(vae.encoder.forward(x))
    np.testing.assert_array_equal(vae.encode(x), mu)
    silent, _ = vae.forward(x, noise=np.zeros_like(mu))
    np.testing.assert_array_equal(vae.reconstruct(x), silent)


@pytest.mark.parametrize("name, shape, kind", [
    ("ae", (5, 32), np.float32), ("vae", (5, 32), np.float32), ("vqvae", (5, 4, 4), np.int64),
    ("dvae", (5, 4, 4), np.int64)])
def test_latents_have_their_shapes(name, shape, kind):
    latents = new_model(name).encode(images(5))
    assert latents.shape == shape and latents.dtype == kind


def test_a_vqvae2_s_latent_is_a_grid_for_each_level():
    top, bottom = new_model("vqvae2").encode(images(5))
    assert (top.shape, bottom.shape) == ((5, 4, 4), (5, 8, 8)) and top.dtype == bottom.dtype == np.int64


def test_a_bernoulli_models_images_are_probabilities():
    x = images(4)
    model = new_model("ae", likelihood="bernoulli")
    output, _ = model.forward(x)
    np.testing.assert_allclose(model.reconstruct(x), 1 / (1 + np.exp(-output)), rtol=1e-5)


# --- new images -------------------------------------------------------------------------------------------------------


def test_samples_follow_their_prior_and_their_generator(model):
    prior = prior_of(model, images(64))
    samples = model.sample(6, prior, np.random.default_rng(0))
    assert samples.shape == (6, 16, 16, 3) and samples.dtype == np.float32
    assert 0 <= samples.min() and samples.max() <= 1
    np.testing.assert_array_equal(samples, model.sample(6, prior, np.random.default_rng(0)))
    assert (samples != model.sample(6, prior, np.random.default_rng(1))).any()
    assert (samples[0] != samples[1]).any()


def test_an_ae_can_be_sampled_from_either_gaussian():
    ae, x = new_model("ae"), images(8)
    for prior in (StandardNormal(32), FittedGaussian(ae.encode(x))):
        assert ae.sample(3, prior, np.random.default_rng(0)).shape == (3, 16, 16, 3)


def test_an_interpolation_begins_and_ends_at_the_reconstructions(model):
    a, b = images(4), images(4, stream=1)
    between = model.interpolate(a, b, 5)
    assert between.shape == (4, 5, 16, 16, 3)
    np.testing.assert_allclose(between[:, 0], model.reconstruct(a), atol=1e-6)
    np.testing.assert_allclose(between[:, -1], model.reconstruct(b), atol=1e-6)
    assert np.abs(between[:, 2] - between[:, 0]).max() > 1e-3


@pytest.mark.parametrize("name", ["vae", "dvae"])
def test_variations_of_one_image_differ_and_follow_their_generator(name):
    vae, x = new_model(name), images(3)
    variations = vae.variations(x, 4, np.random.default_rng(0))
    assert variations.shape == (3, 4, 16, 16, 3)
    for image in variations:
        for i, j in ((0, 1), (1, 2), (2, 3), (0, 3)):
            assert np.abs(image[i] - image[j]).max() > 1e-4
    np.testing.assert_array_equal(variations, vae.variations(x, 4, np.random.default_rng(0)))
    assert vae.training


def test_variations_are_centred_on_the_code_and_spread_by_sigma():
    """As σ goes to 0, variations become the reconstruction: they are drawn from q(z | x), not from the prior."""
    vae, x = new_model("vae"), images(3)
    vae.bottleneck.logvar.weight.value[...] = 0
    vae.bottleneck.logvar.bias.value[...] = -60
    variations = vae.variations(x, 2, np.random.default_rng(0))
    np.testing.assert_allclose(variations, np.stack([vae.reconstruct(x)] * 2, axis=1), atol=1e-6)


@pytest.mark.parametrize("name", ["ae", "vqvae"])
def test_variations_are_refused_where_the_code_is_not_random(name):
    with pytest.raises(ValueError, match="variations need a code that is drawn at random"):
        new_model(name).variations(images(1), 2, np.random.default_rng(0))


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, codes, parameters", [
    ("ae", None, 9_711_235), ("vae", None, 13_906_563), ("vqvae", 4096, 1_907_715), ("vqvae", 32, 1_387_523),
    ("dvae", 4096, 2_927_491)])
def test_the_articles_parameter_counts(name, codes, parameters):
    options = {"preset": "article"}
    if codes:
        options["codes"] = codes
    assert scratch.build(name, (32, 32, 3), **options).parameter_count() == parameters


def test_every_entry_of_a_preset_is_an_option_and_every_recipe_builds():
    """Each preset builds every model that it is made for; the other models refuse it."""
    for preset, recipe in PRESETS.items():
        entries = {*recipe.entries, *(name for entries in recipe.of.values() for name in entries)}
        assert entries <= {name for system in systems().values() for name in run_options(system)}
        for name in systems():
            if not recipe.fits(name):
                with pytest.raises(InputError, match=f"preset {preset} has no recipe for {name}: choose small"):
                    resolve(name, {"preset": preset})
                continue
            if "likelihood" in run_options(systems()[name]):
                assert scratch.build(name, (16, 16, 1), preset=preset, likelihood="bernoulli").parameter_count() > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("image_shape, code_grid", [
    ((28, 28, 1), (7, 7)), ((16, 24, 3), (4, 6)), ((6, 10, 1), (3, 5)), ((32, 32, 2), (8, 8))])
def test_other_image_sizes_and_channels(name, image_shape, code_grid):
    """There are as many halvings as the size allows, and at most one for each number of channels: MNIST has two."""
    if name == "vqvae2" and image_shape == (6, 10, 1):
        with pytest.raises(ValueError, match=r"the model halves an image at least 2 times, but images of 6×10 with"):
            build(name, image_shape, OPTIONS)
        return
    model = build(name, image_shape, OPTIONS)
    x = np.random.default_rng(0).random((2, *image_shape), np.float32)
    model.loss(x)
    model.backward()
    assert all(np.abs(gradient).max() > 0 for key, gradient in model.grad_dict().items() if key.endswith("weight"))
    assert model.reconstruct(x).shape == x.shape
    if name in ("vqvae", "dvae"):
        assert model.encode(x).shape == (2, *code_grid)
    if name == "vqvae2":
        h, w = code_grid
        assert [grid.shape for grid in model.encode(x)] == [(2, h, w), (2, 2 * h, 2 * w)]


@pytest.mark.parametrize("size, count", [((28, 28), 2), ((32, 32), 3), ((12, 32), 2), ((64, 64), 3), ((2, 6), 1)])
def test_halvings(size, count):
    assert halvings(*size, at_most=3) == count


@pytest.mark.parametrize("size", [(27, 27), (28, 15), (1, 2)])
def test_an_odd_image_size_is_refused(size):
    with pytest.raises(ValueError, match=f"images of {size[0]}×{size[1]} cannot be halved: both sides have to be even"):
        build("ae", (*size, 1), OPTIONS)


@pytest.mark.parametrize("network, first", [({}, 0), (RESIDUAL, 1)], ids=["convolution", "residual"])
def test_only_the_first_layer_with_weights_leaves_its_input_gradient_out(network, first):
    layers = new_model("vqvae", **network).encoder.layers
    asked = [layer.needs_input_gradient for layer in layers]
    assert asked == [False] * (first + 1) + [True] * (len(layers) - first - 1)
    assert layers[first].named_parameters()


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match="unknown model 'gan': choose ae, vae, dvae, vqvae, vqvae2, prior or judge"):
        scratch.build("gan", (16, 16, 3))


def test_a_wrong_channel_count_is_refused():
    with pytest.raises(ValueError, match=r"Conv2d takes an input of shape \(N, H, W, 3\), got \(2, 16, 16, 1\)"):
        new_model("ae").loss(np.zeros((2, 16, 16, 1), np.float32))


def test_the_same_generator_gives_the_same_model():
    first, second, other = (new_model("vae", seed).state_dict() for seed in (0, 0, 1))
    for key, array in first.items():
        np.testing.assert_array_equal(array, second[key])
    assert (first["encoder.0.weight"] != other["encoder.0.weight"]).any()
