"""Whole models: ∂loss/∂parameter by finite differences through encoder, bottleneck, decoder and every loss term."""

import math

import numpy as np
import pytest

from scratch.accelerate.cpu.elementwise import ClippedReLU
from scratch.accelerate.cpu.pooling import DisjointMaxPool2d, ReLUOfPooling
from scratch.bottlenecks import CapacityTarget, FreeBits
from scratch.bottlenecks.gumbel_softmax import LOGIT_GAIN
from scratch.gradcheck.differences import Operation, check
from scratch.gradcheck.surrogates import held_straight_through
from scratch.layers import Conv2d, ConvTranspose2d, MaxPool2d, ReLU
from scratch.losses import LIKELIHOODS, LogitLaplace
from tests.support.cures import CURES
from tests.support.models import build
from tests.support.rates import RATES
from tests.support.variants import VARIANTS

pytestmark = pytest.mark.usefixtures("each_form")

OPTIONS = dict(channels=(3, 4), latent_dim=5, beta=0.5, codes=6, code_dim=3, codebook_init="normal", commitment=0.25,
               temperature="linear:1:0.5:10", hard=False, kl_weight=0.5)
NETWORKS = {
    "convolution": {},
    "residual": dict(network="residual", hidden=4, residual_blocks=2, residual_channels=3, halvings=2,
                     data_variance=0.06),
}
OTHER_NETWORKS = [  # with the models whose gradient has another way through them
    ("ae", dict(network="mlp", widths=(9, 7))),
    ("vae", dict(network="mlp", widths=(9,))),
    ("vae", dict(network="pooling")),
    ("vqvae", dict(network="pooling", norm="group")),
    ("vae", dict(norm="group")),
    ("ae", dict(norm="batch")),
    ("vqvae", dict(norm="batch")),
    ("vae", NETWORKS["residual"] | dict(norm="batch")),
]


def operation_of(model, x, noise):
    """The Operation of a model's parameters and its loss. Straight-through estimators are replaced by surrogates."""

    def loss():
        return {"loss": model.loss(x, noise)[0]}

    def backward(upstream):
        model.zero_grad()
        model.backward(float(upstream["loss"]))
        return {name: parameter.grad for name, parameter in model.named_parameters().items()}

    tensors = {name: parameter.value for name, parameter in model.named_parameters().items()}
    return Operation(tensors, loss, backward, module=model, surrogate=held_straight_through(model, loss))


@pytest.fixture
def kinks(monkeypatch):
    """A set with one member for each pass: which ReLUs were active, which pixels were the largest of their windows, on
    which side of its median each pixel of a logit-Laplace likelihood was, and on which side of their bounds the KL was.
    If it has more than one member, a kink was crossed."""
    active = {}

    def watch(kind, method, sides):
        inner = getattr(kind, method)

        def watched(self, *arguments):
            result = inner(self, *arguments)
            active.setdefault(id(self), set()).add(sides(self, *arguments).tobytes())
            return result

        monkeypatch.setattr(kind, method, watched)

    for kind in (ReLU, ClippedReLU, ReLUOfPooling):
        watch(kind, "forward", lambda layer, x: x > 0)
    watch(MaxPool2d, "forward", lambda layer, x: layer.saved[0])
    watch(DisjointMaxPool2d, "forward",
          lambda layer, x: np.concatenate([won.ravel() for wins in layer.saved[:2] for won in wins]))
    watch(LogitLaplace, "loss", lambda likelihood, output, x: likelihood.saved[0] > 0)
    watch(FreeBits, "forward", lambda free_bits, mu, logvar: free_bits.saved[2])
    watch(CapacityTarget, "forward", lambda target, kl: target.saved[0] > 0)
    return active


def lively_model(name, likelihood, rng, **changes):
    """Weights of √6 times PyTorch's default, which is He's scale. Then the signal does not fade with depth, and the
    first layers' gradients stay above the rounding of the loss (a sum near 100, whose differences are divided by 2e-5).

    Before a norm, the size of the weights has no effect on the output. But the error of the differences falls with the
    square of the step relative to the weights. So these weights, which are those without a bias, are larger still."""
    model = build(name, (8, 8, 2), {**OPTIONS, "likelihood": likelihood, **changes}, dtype=np.float64, rng=rng)
    for parameter in model.named_parameters().values():
        parameter.value *= math.sqrt(6)
    if likelihood == "gaussian":  # where σ is 1 the constants outweigh the errors, and rounding is theirs
        model.reconstruction.log_sigma.value -= 1
    if likelihood == "discretized_logistic":  # where scales are small, the loss curves too much within a step
        model.decoder.layers[-1].bias.value[2:] += 1
    if likelihood == "categorical":  # else all values are about equally probable, and rounding is that of their cost
        model.decoder.layers[-1].weight.value *= 4
    for part in model.modules():
        if isinstance(part, Conv2d | ConvTranspose2d) and part.bias is None:
            part.weight.value *= 4
    if name == "dvae":
        model.bottleneck.project.weight.value /= LOGIT_GAIN  # else many a draw is certain, and has no gradient
    return model


@pytest.mark.parametrize("network, likelihood", [
    (network, name) for network in NETWORKS for name, likelihood in LIKELIHOODS.items()
    if network == "convolution" or likelihood.takes_data_variance])
@pytest.mark.parametrize("name, options", [
    ("ae", {}), ("vae", {}), ("vqvae", {}), ("vqvae2", {}), ("dvae", {}), ("dvae", {"hard": True, "temperature": 0.5})])
def test_the_gradient_of_the_whole_model(name, options, network, likelihood, kinks):
    check_whole_model(name, likelihood, {**NETWORKS[network], **options}, kinks)


@pytest.mark.parametrize("name, network", OTHER_NETWORKS, ids=str)
def test_the_gradient_through_other_networks(name, network, kinks):
    check_whole_model(name, "bernoulli", network, kinks)


def check_whole_model(name, likelihood, options, kinks):
    smooth = 0
    for seed in range(5):
        kinks.clear()
        rng = np.random.default_rng(seed)
        model = lively_model(name, likelihood, rng, **options)
        x = rng.random((3, 8, 8, 2))
        noise = model.bottleneck.draw_noise(len(x), rng)
        differences = check(operation_of(model, x, noise), rng)
        if all(len(patterns) == 1 for patterns in kinks.values()):  # else a step crossed a kink: no statement
            smooth += 1
            for parameter, difference in differences.items():
                assert difference <= 1e-7, parameter
    assert smooth >= 3


@pytest.mark.parametrize("cure", CURES)
def test_the_gradient_of_a_model_with_a_cured_codebook(cure, kinks):
    """The temperature of the entropy term is about the latents' squared distances, which are large here. At 0.5 the
    term is so curved that the differences' own error, which falls with the square of the step, reaches the bound."""
    smooth, changes = 0, dict(CURES[cure])
    if "entropy_weight" in changes:
        changes["entropy_temperature"] = 5.0
    for seed in range(5):
        kinks.clear()
        rng = np.random.default_rng(seed)
        model = lively_model("vqvae", "squared_error", rng, **changes)
        differences = check(operation_of(model, rng.random((3, 8, 8, 2)), None), rng)
        if all(len(patterns) == 1 for patterns in kinks.values()):
            smooth += 1
            for parameter, difference in differences.items():
                assert difference <= 1e-7, parameter
    assert smooth >= 3


@pytest.mark.parametrize("rate", RATES)
def test_the_gradient_of_a_model_with_another_price_of_its_code(rate, kinks):
    smooth = 0
    for seed in range(5):
        kinks.clear()
        rng = np.random.default_rng(seed)
        model = lively_model("vae", "squared_error", rng, **RATES[rate])
        model.at_step(7)
        x = rng.random((3, 8, 8, 2))
        differences = check(operation_of(model, x, model.bottleneck.draw_noise(len(x), rng)), rng)
        if all(len(patterns) == 1 for patterns in kinks.values()):
            smooth += 1
            for parameter, difference in differences.items():
                assert difference <= 1e-7, parameter
    assert smooth >= 3


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_gradient_of_a_variant(variant, kinks):
    """The corruption's noise is given, so it is the same on both sides of a difference. The target is the clean image.
    """
    smooth, (name, changes) = 0, VARIANTS[variant]
    for seed in range(5):
        kinks.clear()
        rng = np.random.default_rng(seed)
        model = lively_model(name, "squared_error", rng, **changes)
        x = rng.random((3, 8, 8, 2))
        differences = check(operation_of(model, x, model.draw_noise(len(x), rng)), rng)
        if all(len(patterns) == 1 for patterns in kinks.values()):
            smooth += 1
            for parameter, difference in differences.items():
                assert difference <= 1e-7, parameter
    assert smooth >= 3


def test_a_forgotten_term_is_caught(monkeypatch):
    """The check would fail like this if the model's backward left out the KL."""
    rng = np.random.default_rng(0)
    model = lively_model("vae", "squared_error", rng)
    correct = model.bottleneck.kl.backward
    monkeypatch.setattr(model.bottleneck.kl, "backward", lambda dkl: [0 * gradient for gradient in correct(dkl)])
    operation = operation_of(model, rng.random((3, 8, 8, 2)), model.bottleneck.draw_noise(3, rng))
    assert check(operation, rng)["bottleneck.logvar.weight"] > 1e-3
