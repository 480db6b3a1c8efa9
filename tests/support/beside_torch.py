"""Conversions between scratch and torch_ref."""

import math

import numpy as np
import torch
from torch.nn import functional as F

from scratch.accelerate import accelerate
from tests.support.closeness import assert_all_close, assert_close
from tests.support.models import options_of
from tests.support.networks import NETWORKS, RESIDUAL, TINY  # noqa: F401  for those who compare with torch
from torch_ref import compare, models

# An mlp has no grid for codes.
MODELS_AND_NETWORKS = [
    (model, network) for network in NETWORKS
    for model in ("ae", "vae", "vqvae", "vqvae2", "dvae") if network != "mlp" or model in ("ae", "vae")
]


def build_torch(model, image_shape, options, **settings):
    """Torch's model from options, some of which may belong to other models or to training."""
    return models.build(model, image_shape, models.model_options(model, options), **settings)


def compared(model, options, images, **settings):
    """The result of `compare`, with those of the options that the model has."""
    return compare.compare(model, options_of(model, options), images, **settings)


def to_torch(array):
    """A NumPy array as a tensor that requires a gradient; feature maps NHWC become NCHW."""
    if array.ndim == 4:
        array = array.transpose(0, 3, 1, 2)
    return torch.tensor(np.ascontiguousarray(array), requires_grad=array.dtype.kind == "f")


def to_numpy(tensor):
    """A tensor as a NumPy array; feature maps NCHW become NHWC."""
    array = tensor.numpy(force=True)
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def torch_gradients(module):
    return {name: parameter.grad.numpy() for name, parameter in module.named_parameters()}


def load_into_torch(theirs, ours):
    """Give a torch module the weights of one of scratch's; every name has to fit."""
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()}, strict=True)


def torch_twin(ours, model, image_shape, options):
    """The torch model with the weights of scratch's model `ours`."""
    dtype = getattr(torch, next(iter(ours.state_dict().values())).dtype.name)
    theirs = build_torch(model, image_shape, options, dtype=dtype)
    load_into_torch(theirs, ours)
    return theirs


def discretized_logistic_log_prob(output, x):
    """log of σ((v + ½)/255) − σ((v − ½)/255), a logistic distribution function σ, as log σ(b) + log(1 − σ(a)/σ(b)).

    Right of the middle a and b are reflected, since there both σ round to 1. The output is (..., 2C), x (..., C).
    """
    mu, s = output.double().chunk(2, dim=-1)
    v, scale = torch.round(255 * x).double(), s.exp() + math.exp(-7) / 2
    a, b = ((v - 0.5) / 255 - mu) / scale, ((v + 0.5) / 255 - mu) / scale
    black, white = F.logsigmoid(b), F.logsigmoid(-a)
    a, b = torch.where(v / 255 > mu, -b, a), torch.where(v / 255 > mu, -a, b)
    between = F.logsigmoid(b) + torch.log(-torch.expm1(F.logsigmoid(a) - F.logsigmoid(b)))
    return torch.where(v == 0, black, torch.where(v == 255, white, between))


def away_from_kinks(ours, precise, x, noise):
    """Do the gradients of a model stay the same if its weights and images move by 10⁻⁵ of their size, which is 84
    times the rounding of float32?

    Near a kink of a ReLU or a maximum, or between two codes, gradients jump. Both sides of the jump are right, so two
    ways of computing in float32 need not agree there. `precise` is the model in float64, with which this is tested.
    """
    rng, weights = np.random.default_rng(0), ours.state_dict()

    def gradients(movement):
        def moved(array):
            return array * (1 + movement * rng.standard_normal(array.shape)) if array.dtype.kind == "f" else array

        precise.load_state_dict({name: moved(array) for name, array in weights.items()})
        precise.zero_grad()
        precise.loss(moved(x), None if noise is None else noise.astype(np.float64))
        precise.backward()
        return {name: gradient.copy() for name, gradient in precise.grad_dict().items()}

    still = gradients(0.0)
    return all(
        np.abs(gradient - still[name]).max() < 1e-3 * np.abs(still[name]).max()
        for moving in range(4) for name, gradient in gradients(1e-5).items())


def check_layer(ours, theirs, x, rng, bound=1e-12):
    """Outputs, input gradients and parameter gradients of a layer under a random upstream gradient.

    First in its plain form, then in the accelerated one, if it has one.
    """
    load_into_torch(theirs, ours)
    x_torch = to_torch(x)
    y_torch = theirs(x_torch)
    dy = rng.standard_normal(to_numpy(y_torch).shape).astype(x.dtype)
    y_torch.backward(to_torch(dy))
    for form in (ours, accelerate(ours, least_channels=1)):
        form.zero_grad()
        assert_close(form.forward(x), to_numpy(y_torch), bound, "output")
        assert_close(form.backward(dy), to_numpy(x_torch.grad), bound, "input gradient")
        assert_all_close(form.grad_dict(), torch_gradients(theirs), bound)
