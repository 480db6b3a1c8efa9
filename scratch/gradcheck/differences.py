"""Is a backward pass the derivative of its forward pass? Finite differences of the forward pass give the answer.

Let L = Σ ⟨dy, y⟩ over all outputs y, with random upstream gradients dy. For every tensor x that forward reads, backward
claims a gradient dx = ∂L/∂x. Along a random direction δ of numbers from N(0, 1) the claim is tested by

    numeric = (L(x + step·δ) − L(x − step·δ)) / (2·step)        analytic = ⟨dx, δ⟩        step = 1e-5, float64

    difference = |numeric − analytic| / ‖dx‖

δ is not normalised, so analytic is itself a draw of N(0, ‖dx‖²): typically as large as ‖dx‖, but sometimes near zero by
chance. Divided by |analytic|, the difference of a correct gradient would then be large; so it is divided by ‖dx‖. dy is
random because with dy = 1 some errors cancel, such as that of a flipped kernel.

Finite differences are wrong across a kink, so the cases (cases/) stay away from kinks: inputs of ReLU and LeakyReLU are
at least 0.1 away from 0, and MaxPool2d's values differ by 0.1, while a step moves a value by about 1e-5. A vector
quantizer is constant between jumps, and its straight-through backward is deliberately not the derivative of its
forward. It is the derivative of another function, its surrogate (surrogates.py), and is checked against that. Where no
tensor is moved, the surrogate has the values of forward. `disagreement` compares them, because a backward that fits the
surrogate proves nothing about a forward that computes something else.

(Central differences and a random direction as in Chainer's gradient_check; Tokui et al. 2019, arXiv:1908.00213)
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

STEP = 1e-5
DIRECTIONS = 3  # tried for each tensor; the largest difference counts
BOUND = 1e-7  # of the difference of a correct gradient
ROUNDING = 1e-12  # bound of the difference of forward and surrogate, relative to the largest number


@dataclass
class Operation:
    """A forward/backward pair and everything it reads.

    tensors      {name: float64 array} to differentiate by: inputs, then parameters in their own layout
    forward      () -> {name: output}, from the tensors as they are at the moment
    backward     {output name: ∂L/∂output} -> {tensor name: ∂L/∂tensor}, after a forward
    constants    what else forward reads: noise, targets
    module       the module whose methods these are, if there is one
    surrogate    () -> {name: output}, the function whose derivative backward is, if that is not forward
    numbers      {name: number} that may stand as a factor in a gradient: a temperature, a kernel's elements
    noise        {name of a constant: generator -> another draw of it}
    another      generator -> the same operation on other inputs, with another number of examples
    methods      {"forward": function, "backward": function}, where they are not the module's
    """

    tensors: dict
    forward: Callable
    backward: Callable
    constants: dict = field(default_factory=dict)
    module: object = None
    surrogate: Callable | None = None
    numbers: dict = field(default_factory=dict)
    noise: dict = field(default_factory=dict)
    another: Callable | None = None
    methods: dict = field(default_factory=dict)


@dataclass
class Trial:
    """One forward and backward of an operation: the upstream gradients it received, the gradients it returned."""

    operation: Operation
    upstream: dict
    gradients: dict


def attempt(operation, rng):
    """Run forward, then backward under upstream gradients drawn from N(0, 1). Backward may write into what it gets."""
    outputs = operation.forward()
    upstream = {name: rng.standard_normal(np.shape(output)) for name, output in outputs.items()}
    given = {name: u.copy() if np.ndim(u) else u for name, u in upstream.items()}
    return Trial(operation, upstream, operation.backward(given))


def finite_differences(trial, rng):
    """{tensor name: |numeric − analytic| / ‖gradient‖}, the largest over a few random directions.

    Raises ValueError if a gradient has another shape than its tensor.
    """
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
        # For a gradient that is correctly zero, the numeric one is exactly zero too.
        differences[name] = float(np.max(errors) / (np.linalg.norm(gradient) or 1.0))
    return differences


def disagreement(trial):
    """A sentence that says where forward and surrogate differ with no tensor moved; "" if they agree."""
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
            return f"forward's {name} differs from its surrogate's by {difference:.1e}; the largest is {scale:.1e}"
    return ""


def check(operation, rng):
    """`finite_differences` of one trial of the operation. Its tensors are moved in place and put back.

    Raises ValueError if forward and its surrogate have different values.
    """
    trial = attempt(operation, rng)
    if reason := disagreement(trial):
        raise ValueError(reason)
    return finite_differences(trial, rng)


def of_module(module, inputs, forward, backward, constants=None, surrogate=None, noise=None):
    """The Operation of a module: its parameters become tensors beside the inputs.

    Here `backward` returns the gradients of the inputs alone. Those of the parameters are read from the parameters.
    """
    parameters = module.named_parameters()

    def backward_with_parameters(upstream):
        module.zero_grad()
        gradients = dict(zip(inputs, backward(upstream), strict=True))
        return gradients | {name: parameter.gradient() for name, parameter in parameters.items()}

    tensors = inputs | {name: parameter.value for name, parameter in parameters.items()}
    return Operation(tensors, forward, backward_with_parameters, constants or {}, module, surrogate, noise=noise or {})
