"""A likelihood has as many outputs a pixel as it wants: here three, in every family of networks, on both sides."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import scratch as library
import torch_ref.losses as torch_losses
from data_utils import shapes
from scratch.arrays import array_module
from scratch.commands import options as command_options
from scratch.losses import LIKELIHOODS, Reconstruction
from scratch.networks.network import Network
from tests.cli.test_errors import assert_one_sentence
from tests.support.command_line import SMALL, scratch  # noqa: F401  (a fixture)
from torch_ref import models as torch_models
from torch_ref.compare import compare

FAMILIES = {
    "convolution": {"channels": [4, 6]},
    "pooling": {"channels": [4, 6], "norm": "group"},
    "residual": {"hidden": 8, "residual_blocks": 1, "residual_channels": 3, "halvings": 2},
    "mlp": {"widths": [20, 10]},
    "transformer": {"patch": 4, "width": 8, "heads": 2, "blocks": 1},
}


class Skewed(Reconstruction):
    """L = (1/N) Σ ½ [(m − x)² e^(−s) + s + log 2π] with m = a + ½ tanh c: three outputs (a, s, c) for each number.

    Shapes: x (N, ..., C), the output (N, ..., 3C), L a scalar. With d = m − x:

        ∂L/∂a = d e^(−s) / N       ∂L/∂s = ½ (1 − d² e^(−s)) / N       ∂L/∂c = d e^(−s) ½ (1 − tanh² c) / N
    """

    outputs = 3
    constant = 0.5 * math.log(2 * math.pi)

    def elements(self, output, x):
        self.check(output, x)
        a, s, c = self.parts(output)
        xp = array_module(x)
        t, precision = xp.tanh(c), xp.exp(-s)
        d = a + 0.5 * t - x
        self.save(d, t, precision)
        return 0.5 * (d * d * precision + s)

    def backward(self, dL=1.0):
        d, t, precision = self.recall()
        scale = dL / len(d)
        da = d * precision * scale
        ds = 0.5 * scale * (1 - d * d * precision)
        return array_module(d).concatenate([da, ds, da * (0.5 * (1 - t * t))], axis=-1)

    def mean(self, output):
        a, _, c = self.parts(output)
        return a + 0.5 * array_module(c).tanh(c)

    def parts(self, output):
        channels = output.shape[-1] // 3
        return (output[..., i * channels : (i + 1) * channels] for i in range(3))


class TorchSkewed(torch_losses.Reconstruction):
    outputs = 3

    def forward(self, output, images):
        _, s, _ = output.chunk(3, dim=1)
        return 0.5 * ((self.mean(output) - images).square() / s.exp() + s).sum() / len(images)

    def mean(self, output):
        a, _, c = output.chunk(3, dim=1)
        return a + torch.tanh(c) / 2


@pytest.fixture(autouse=True)
def skewed():
    """The likelihood, known for the duration of a test."""
    command_options.every_option.cache_clear()
    LIKELIHOODS["skewed"], torch_losses.LIKELIHOODS["skewed"] = Skewed, TorchSkewed
    yield
    del LIKELIHOODS["skewed"], torch_losses.LIKELIHOODS["skewed"]
    command_options.every_option.cache_clear()


def test_these_are_all_families():
    assert set(FAMILIES) == {name for name, family in Network.families.items() if not family.only_one_output}


@pytest.mark.parametrize("model", ["ae", "vae", "vqvae"])
@pytest.mark.parametrize("network", FAMILIES)
def test_both_sides_agree_through_every_family(network, model):
    if model == "vqvae" and not Network.families[network].gives_grid:
        return
    own = {"codes": 32, "code_dim": 4, "codebook_init": "uniform"} if model == "vqvae" else {"latent_dim": 5}
    options = {"likelihood": "skewed", "network": network, **FAMILIES[network], **own}
    result = compare(model, options, shapes(24, size=16, seed=0)[0], steps=3, batch_size=8, lr=1e-4)
    assert result["ok"], result["checks"]
    output = library.build(model, (16, 16, 3), **options).forward(np.zeros((2, 16, 16, 3), np.float32))[0]
    assert output.shape == (2, 16, 16, 9)


@pytest.mark.parametrize("likelihood, outputs", [("discretized_logistic", 2), ("categorical", 256)])
@pytest.mark.parametrize("network", FAMILIES)
def test_every_family_carries_the_likelihoods_of_8_bit_pixels(network, likelihood, outputs):
    options = {"likelihood": likelihood, "network": network, **FAMILIES[network], "latent_dim": 5}
    result = compare("ae", options, shapes(24, size=8, seed=0)[0], steps=2, batch_size=8, lr=1e-4)
    assert result["ok"], result["checks"]
    output = library.build("ae", (8, 8, 3), **options).forward(np.zeros((2, 8, 8, 3), np.float32))[0]
    assert output.shape == (2, 8, 8, 3 * outputs)


def test_neither_side_divides_the_loss_of_8_bit_pixels_by_the_data_variance():
    for likelihood in ("discretized_logistic", "categorical"):
        options = {"likelihood": likelihood, "data_variance": 0.06}
        with pytest.raises(ValueError, match=r"0\.06 would divide .* in nats"):
            library.build("vqvae", (16, 16, 3), **options)
        with pytest.raises(ValueError, match=r"data_variance is 0\.06.* in nats"):
            torch_models.build("vqvae", (16, 16, 3), options)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_images_of_any_number_of_channels_are_reconstructed(channels):
    for network, options in FAMILIES.items():
        model = library.build("ae", (8, 8, channels), likelihood="skewed", network=network, latent_dim=3, **options)
        assert model.reconstruct(np.zeros((2, 8, 8, channels), np.float32)).shape == (2, 8, 8, channels)


def test_a_network_with_one_output_a_number_refuses_it(scratch):  # noqa: F811
    assert_one_sentence(scratch("train", "ae", "--network", "linear", "--likelihood", "skewed"), "--network linear",
                        "likelihood skewed needs 3")
    with pytest.raises(ValueError, match="needs 3"):
        torch_models.build("ae", (8, 8, 3), {"network": "linear", "likelihood": "skewed"})


def test_a_run_with_it_is_trained_and_judged(scratch):  # noqa: F811
    options = [*SMALL, "--latent-dim", 6, "--likelihood", "skewed", "--epochs", 2]
    assert scratch("train", "vae", *options, "--out", "run").status == 0
    found = json.loads(scratch("evaluate", "run", "--json").out)
    assert {"elbo", "distortion", "psnr"} <= found.keys()
    constant = 16 * 16 * 3 * Skewed.constant
    assert found["distortion"] == pytest.approx(found["reconstruction"] + constant, rel=1e-4)
    assert scratch("reconstruct", "run").status == 0 and Path("run/samples.png").exists()
