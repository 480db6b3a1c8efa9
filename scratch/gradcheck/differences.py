"""Is a backward pass the derivative of its forward pass? Finite differences ask the forward pass itself.

For L = Σ ⟨u, y⟩ over all outputs y, with random upstream gradients u = ∂L/∂y, and for every tensor t that forward
reads, backward claims a gradient g = ∂L/∂t. Along a random direction d ~ N(0, I) the claim is tested by

    numeric = (L(t + h·d) − L(t − h·d)) / 2h        analytic = ⟨g, d⟩        h = 1e-5, float64

    difference = |numeric − analytic| / ‖g‖

d is not normalised, so analytic is itself a draw of N(0, ‖g‖²): typically as large as ‖g‖, and now and then near
zero by chance. That is why the difference is divided by ‖g‖ and not by |analytic|: there a correct gradient would
fail. u is random because with u = 1 errors cancel, such as a flipped kernel's.

Finite differences say nothing across a kink, so cases.py steps around each: inputs of ReLU and LeakyReLU keep 0.1
away from 0 and MaxPool2d's values differ by 0.1, where a step moves a value by some 1e-5. A vector quantizer is all
steps, and its straight-through backward is deliberately not the derivative of its forward. It is the derivative of
another function, its surrogate (surrogates.py), and is checked against it. That function shares forward's values where
nothing is moved: `disagreement` compares them, for a backward that fits the surrogate proves nothing of a forward that
computes something else.

(Central differences and a random direction as in Chainer's gradient_check; Tokui et al. 2019, arXiv:1908.00213)
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

STEP = 1e-5
DIRECTIONS = 3  # tried for each tensor; the largest difference counts
BOUND = 1e-7
ROUNDING = 1e-12  # by what part of the largest number forward and surrogate may differ


@dataclass
class Operation:
    """A forward/backward pair and everything it reads.

    tensors      {name: float64 array} to differentiate by: inputs, then parameters in their own layout
    forward      () -> {name: output}, from the tensors as they are at the moment
    backward     {output name: ∂L/∂output} -> {tensor name: ∂L/∂tensor}, after a forward
    constants    what else forward reads: noise, targets
    module       whose methods these are, where they are a module's
    surrogate    () -> {name: output}, the function whose derivative backward is, where that is not forward
    """

    tensors: dict
    forward: Callable
    backward: Callable
    constants: dict = field(default_factory=dict)
    module: object = None
    surrogate: Callable | None = None


@dataclass
class Trial:
    """One forward and backward of an operation: the upstream gradients it was given, the gradients it answered."""

    operation: Operation
    upstream: dict
    gradients: dict


def attempt(operation, rng):
    """Run forward, then backward under upstream gradients drawn from N(0, 1)."""
    outputs = operation.forward()
    upstream = {name: rng.standard_normal(np.shape(output)) for name, output in outputs.items()}
    return Trial(operation, upstream, operation.backward(upstream))


def finite_differences(trial, rng):
    """{tensor name: |numeric − analytic| / ‖gradient‖}, the largest over a few random directions."""
    evaluate = trial.operation.surrogate or trial.operation.forward
    differences = {}
    for name, tensor in trial.operation.tensors.items():
        gradient, start = trial.gradients[name], tensor.copy()
        if gradient.shape != tensor.shape:
            raise ValueError(f"{name} has shape {tensor.shape}, its gradient {gradient.shape}")
        errors = []
        for _ in range(DIRECTIONS):
            direction = rng.standard_normal(tensor.shape)
            tensor[...] = start + STEP * direction
            above = {y: output.copy() for y, output in evaluate().items()}  # Unflatten's output is a view of its input
            tensor[...] = start - STEP * direction
            below = evaluate()
            numeric = sum(np.sum(u * (above[y] - below[y])) for y, u in trial.upstream.items()) / (2 * STEP)
            tensor[...] = start
            errors.append(abs(numeric - np.sum(gradient * direction)))
        # A gradient that is rightly zero comes with a numeric one of exactly zero.
        differences[name] = float(np.max(errors) / (np.linalg.norm(gradient) or 1.0))
    return differences


def disagreement(trial):
    """A sentence on where forward and surrogate differ, at the tensors as they are; "" where nothing does."""
    if trial.operation.surrogate is None:
        return ""
    outputs, expected = (
        {name: np.array(output) for name, output in evaluate().items()}
        for evaluate in (trial.operation.forward, trial.operation.surrogate))
    if outputs.keys() != expected.keys():
        return f"forward gives {', '.join(outputs)}, its surrogate {', '.join(expected)}"
    for name, output in outputs.items():
        if output.shape != expected[name].shape:
            return f"forward's {name} has shape {output.shape}, its surrogate's {expected[name].shape}"
        difference, scale = np.max(np.abs(output - expected[name])), np.max(np.abs(expected[name]))
        if not difference <= ROUNDING * max(scale, 1.0):
            return f"forward's {name} is off its surrogate's by {difference:.1e} where the largest is {scale:.1e}"
    return ""


def check(operation, rng):
    """`finite_differences` of one trial of the operation. Its tensors are moved in place and put back.

    Raises ValueError where the values of forward are not those of its surrogate.
    """
    trial = attempt(operation, rng)
    if reason := disagreement(trial):
        raise ValueError(reason)
    return finite_differences(trial, rng)


def of_module(module, inputs, forward, backward, constants=None, surrogate=None):
    """The Operation of a module: its parameters become tensors beside the inputs.

    Here `backward` maps the upstream gradients to the inputs' gradients alone; the parameters keep their own.
    """
    parameters = module.named_parameters()

    def backward_with_parameters(upstream):
        module.zero_grad()
        gradients = dict(zip(inputs, backward(upstream), strict=True))
        return gradients | {name: parameter.gradient() for name, parameter in parameters.items()}

    tensors = inputs | {name: parameter.value for name, parameter in parameters.items()}
    return Operation(tensors, forward, backward_with_parameters, constants or {}, module, surrogate)
