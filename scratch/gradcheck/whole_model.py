"""A whole model as a case: every parameter and the image, through encoder, bottleneck, decoder and each loss term."""

import copy
from types import SimpleNamespace

import numpy as np

from scratch.gradcheck.calls import is_float_array
from scratch.gradcheck.differences import BOUND, DIRECTIONS, STEP, Operation, attempt
from scratch.gradcheck.numeric import slope_along
from scratch.gradcheck.surrogates import held_straight_through
from scratch.models.autoencoder import Autoencoder
from scratch.models.build import build
from scratch.models.system import find_system
from scratch.options.errors import InputError
from scratch.options.resolve import model_options

SHAPE = (8, 8, 2)
IMAGES = 3
SMALL = dict(channels=(3, 4), latent_dim=5, codes=6, code_dim=3, codebook_init="normal")
SEEDS = 50  # tried until no difference crosses a kink


def small_model(name, rng):
    """A small model of a system in float64, with those of the SMALL options that it has."""
    known = model_options(find_system(name))
    model = build(name, SHAPE, {option: value for option, value in SMALL.items() if option in known},
                  dtype=np.float64, rng=rng)
    if not isinstance(model, Autoencoder):
        raise InputError(f"{name} is no autoencoder: gradcheck checks whole models of images alone.")
    return model


def of_model(model, x, noise):
    """The Operation of an autoencoder: each loss term is an output, the image and all parameters are its tensors.

    The image that the reconstruction is compared with is a constant. The upstream gradient of a term is its weight.
    """
    target, parameters, images = x.copy(), model.named_parameters(), {"image": x}
    for layer in model.encoder.layers:
        layer.needs_input_gradient = True

    def forward():
        output, terms = model.forward(images["image"], noise)
        return {"reconstruction": model.reconstruction.loss(output, target), **terms}

    def backward(upstream):
        model.zero_grad()
        weights, through = model.weights, model.encoder.backward
        kept = {}
        model.weights = {name: float(u) for name, u in upstream.items()}
        model.encoder.backward = lambda dh: kept.setdefault("image", through(dh))
        try:
            model.backward()
        finally:
            model.weights = weights
            del model.encoder.backward
        return kept | {name: parameter.gradient() for name, parameter in parameters.items()}

    constants = {"target": target} | ({"noise": noise} if is_float_array(noise) else {})
    draws = {"noise": lambda rng: model.bottleneck.draw_noise(len(x), rng)} if is_float_array(noise) else {}
    return Operation(images | {name: parameter.value for name, parameter in parameters.items()}, forward, backward,
                     constants, model, held_straight_through(model, forward), noise=draws)


def crosses_a_kink(trial, rng):
    """Does one of the differences that `finite_differences` would take with this generator cross a kink? There the
    slopes of two steps differ."""
    for name, tensor in trial.operation.tensors.items():
        slopes = []
        for _ in range(DIRECTIONS):
            d = rng.standard_normal(tensor.shape)
            slopes.append([slope_along(trial.operation, {name: d}, trial.upstream, step) for step in (STEP, STEP / 2)])
        slopes = np.array(slopes)
        size = np.sqrt(np.mean(slopes**2)) or 1.0
        if np.abs(slopes[:, 0] - slopes[:, 1]).max() > 0.5 * BOUND * size:
            return True
    return False


def trial_of(name):
    """(case, Trial, generator) of a system, for `table.rows_of`: the first seed with which no kink is crossed."""
    find_system(name)
    case = SimpleNamespace(name=name, detail="whole model")
    for seed in range(SEEDS):
        rng = np.random.default_rng([seed, 2])
        model = small_model(name, rng)
        x = rng.random((IMAGES, *SHAPE))
        trial = attempt(of_model(model, x, model.bottleneck.draw_noise(len(x), rng)), rng)
        if not crosses_a_kink(trial, copy.deepcopy(rng)):
            break
    return case, trial, rng
