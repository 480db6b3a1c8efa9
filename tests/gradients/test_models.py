"""Whole models: ∂loss/∂parameter by finite differences through encoder, bottleneck, decoder and every loss term."""

import math

import numpy as np
import pytest

from scratch.bottlenecks.gumbel_softmax import LOGIT_GAIN
from scratch.gradcheck.cases import held_draw, straight_through
from scratch.gradcheck.differences import Operation, check
from scratch.layers import ReLU
from scratch.losses import LIKELIHOODS
from scratch.models import build

pytestmark = pytest.mark.usefixtures("each_form")

OPTIONS = dict(channels=(3, 4), latent_dim=5, beta=0.5, codes=6, code_dim=3, codebook_init="normal", commitment=0.25,
               temperature="linear:1:0.5:10", hard=False, kl_weight=0.5)


def held_estimator(model, x, noise):
    """(a straight-through estimator, what its forward is to be replaced by), or None twice where there is none."""
    def projected():
        with model.evaluating():
            return model.bottleneck.project.forward(model.encoder.forward(x))

    if quantizer := getattr(model.bottleneck, "quantizer", None):
        return quantizer, straight_through(quantizer, projected())
    gumbel_softmax = getattr(model.bottleneck, "gumbel_softmax", None)
    if gumbel_softmax and gumbel_softmax.hard:
        return gumbel_softmax, held_draw(projected(), noise, model.bottleneck.temperature)
    return None, None


def operation_of(model, x, noise):
    """The model's parameters and its loss; with a straight-through estimator, the loss as that sees it."""

    def loss():
        return {"loss": model.loss(x, noise)[0]}

    def backward(upstream):
        model.zero_grad()
        model.backward(float(upstream["loss"]))
        return {name: parameter.grad for name, parameter in model.named_parameters().items()}

    def held_loss():
        estimator.forward = held  # shadows the method of this one estimator
        try:
            return loss()
        finally:
            del estimator.forward

    estimator, held = held_estimator(model, x, noise)
    tensors = {name: parameter.value for name, parameter in model.named_parameters().items()}
    return Operation(tensors, loss, backward, module=model, surrogate=held_loss if estimator else None)


@pytest.fixture
def kinks(monkeypatch):
    """The set of which ReLUs were active, one member for each pass: more than one member, and a kink was crossed."""
    active = {}
    forward = ReLU.forward

    def watched(self, x):
        active.setdefault(id(self), set()).add((x > 0).tobytes())
        return forward(self, x)

    monkeypatch.setattr(ReLU, "forward", watched)
    return active


def lively_model(name, likelihood, rng, **options):
    """Weights at √6 times PyTorch's default, which is He's scale: the signal, and with it the first layers' gradients,
    do not fade with depth into the rounding of the loss (a sum near 100, its differences divided by 2e-5)."""
    model = build(name, (8, 8, 2), {**OPTIONS, "likelihood": likelihood, **options}, dtype=np.float64, rng=rng)
    for parameter in model.named_parameters().values():
        parameter.value *= math.sqrt(6)
    if name == "dvae":
        model.bottleneck.project.weight.value /= LOGIT_GAIN  # else many a draw is certain, and has no gradient
    return model


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("name, options", [
    ("ae", {}), ("vae", {}), ("vqvae", {}), ("dvae", {}), ("dvae", {"hard": True, "temperature": 0.5})])
def test_the_gradient_of_the_whole_model(name, options, likelihood, kinks):
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


def test_a_forgotten_term_is_caught(monkeypatch):
    """Had the model's backward left the KL out, this would be the check's answer."""
    rng = np.random.default_rng(0)
    model = lively_model("vae", "squared_error", rng)
    correct = model.bottleneck.kl.backward
    monkeypatch.setattr(model.bottleneck.kl, "backward", lambda dkl: [0 * gradient for gradient in correct(dkl)])
    operation = operation_of(model, rng.random((3, 8, 8, 2)), model.bottleneck.draw_noise(3, rng))
    assert check(operation, rng)["bottleneck.logvar.weight"] > 1e-3
