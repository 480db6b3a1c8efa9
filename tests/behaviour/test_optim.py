"""Optimisers against their formulas, computed by hand."""

import math

import numpy as np
import pytest

from scratch.accelerate import accelerate_optimizer
from scratch.accelerate.cpu import blockwise_optim
from scratch.module import Parameter
from scratch.optim import SGD, Adam
from tests.support.closeness import assert_all_close, assert_close

START = np.array([1.0, -2.0, 3.0])
GRADIENT = np.array([0.5, -1e-3, 20.0])


def stepped(kind, steps, gradient=GRADIENT, **settings):
    """START after some steps with the same gradient each time; the value is changed in place."""
    parameter = Parameter(START.copy())
    value = parameter.value
    optimizer = kind({"w": parameter}, **settings)
    for _ in range(steps):
        parameter.grad = None if gradient is None else gradient.copy()
        optimizer.step()
        if gradient is not None:
            np.testing.assert_array_equal(parameter.grad, gradient)
    assert parameter.value is value
    return value


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_every_step_of_adam_under_a_constant_gradient_has_the_size_of_lr(steps):
    """With the bias correction, m̂ = g and v̂ = g² from the first step on, for any size of the gradient."""
    moved = stepped(Adam, steps, lr=0.1) - START
    np.testing.assert_allclose(moved, -0.1 * steps * np.sign(GRADIENT), rtol=1e-4)


def test_adams_second_step_under_a_changed_gradient():
    parameter = Parameter(START.copy())
    optimizer = Adam({"w": parameter}, lr=0.1, betas=(0.9, 0.99), eps=0.0)
    for gradient in (1.0, -3.0):
        parameter.grad = np.full(3, gradient)
        optimizer.step()
    m_hat = (0.9 * 0.1 * 1 + 0.1 * -3) / (1 - 0.9**2)
    v_hat = (0.99 * 0.01 * 1 + 0.01 * 9) / (1 - 0.99**2)
    np.testing.assert_allclose(parameter.value, START - 0.1 - 0.1 * m_hat / v_hat**0.5, rtol=1e-14)


@pytest.mark.parametrize("gradient", [None, np.zeros(3)])
def test_adamw_decays_apart_from_the_gradient(gradient):
    decayed = stepped(Adam, 5, gradient, lr=0.1, weight_decay=0.2)
    np.testing.assert_allclose(decayed, START * (1 - 0.1 * 0.2) ** 5, rtol=1e-14)
    np.testing.assert_array_equal(stepped(Adam, 5, gradient, lr=0.1), START)


def test_adamw_decays_before_it_steps():
    np.testing.assert_allclose(
        stepped(Adam, 1, lr=0.1, weight_decay=0.2), START * (1 - 0.1 * 0.2) - 0.1 * np.sign(GRADIENT), rtol=1e-4)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_sgd_with_momentum_has_its_closed_form(momentum):
    """vₜ = g Σ_{i<t} μⁱ, so after T steps θ = θ₀ − lr · g · Σₜ Σ_{i<t} μⁱ."""
    steps = 7
    travelled = sum(momentum**i for t in range(1, steps + 1) for i in range(t))
    np.testing.assert_allclose(stepped(SGD, steps, lr=0.01, momentum=momentum), START - 0.01 * GRADIENT * travelled,
                               rtol=1e-13)


KINDS = [(SGD, {"momentum": 0.9}), (Adam, {"weight_decay": 0.1}), (Adam, {"betas": (0.4, 0.0)})]


def in_blocks(block, kind, settings, dtype=np.float64, steps=3):
    """(the value, the moments) after some steps in blocks of this size, or in the plain form if it is None."""
    rng = np.random.default_rng(0)
    parameter = Parameter(rng.standard_normal((5, 7)).astype(dtype))
    optimizer = kind({"w": parameter}, lr=0.1, **settings)
    with pytest.MonkeyPatch.context() as patch:
        if block:
            patch.setattr(blockwise_optim, "BLOCK", block)
            accelerate_optimizer(optimizer)
        for _ in range(steps):
            gradient = rng.standard_normal((7, 5)).astype(dtype).T  # of the value's shape, in another memory order
            parameter.grad = gradient
            optimizer.step()
    return parameter.value, optimizer.state_dict()


@pytest.mark.parametrize("kind, settings", KINDS)
def test_an_update_in_blocks_is_the_update_at_once(kind, settings):
    (value, state), (other, other_state) = (in_blocks(block, kind, settings) for block in (4, 1000))
    np.testing.assert_array_equal(value, other)
    for name, moment in state.items():
        np.testing.assert_array_equal(moment, other_state[name])


@pytest.mark.parametrize("dtype, bound", [(np.float64, 1e-14), (np.float32, 2e-5)])  # float32 rounds β and 1 − β
@pytest.mark.parametrize("kind, settings", KINDS)
def test_blocks_give_what_the_plain_rule_gives(kind, settings, dtype, bound):
    (value, state), (expected, plain) = (in_blocks(block, kind, settings, dtype) for block in (4, None))
    assert_close(value, expected, bound)
    assert_all_close(state, plain, bound)


def of_before(value, gradient, m, v, steps, lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.1):
    """The operations of Adam in the order that all earlier runs were trained with."""
    change = gradient - m
    change *= 1 - beta1
    m += change
    np.multiply(gradient, gradient, out=change)
    change -= v
    change *= 1 - beta2
    v += change
    value *= 1 - lr * weight_decay
    root = math.sqrt(1 - beta2**steps)
    np.sqrt(v, out=change)
    change += root * eps
    np.divide(m, change, out=change)
    change *= lr * root / (1 - beta1**steps)
    value -= change


def test_a_run_that_goes_on_in_blocks_goes_on_bit_for_bit():
    rng = np.random.default_rng(0)
    value, state = in_blocks(4, Adam, {"weight_decay": 0.1}, np.float32, steps=5)
    expected = rng.standard_normal((5, 7)).astype(np.float32)
    m, v = np.zeros_like(expected), np.zeros_like(expected)
    for step in range(1, 6):
        of_before(expected, rng.standard_normal((7, 5)).astype(np.float32).T, m, v, step)
    for ours, before in ((value, expected), (state["m.w"], m), (state["v.w"], v)):
        np.testing.assert_array_equal(ours, before)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_an_optimiser_goes_on_from_its_state(kind):
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((6, 2, 3))

    def run(parameter, optimizer, gradients):
        for gradient in gradients:
            parameter.grad = gradient.copy()
            optimizer.step()

    settings = {"momentum": 0.9} if kind is SGD else {}
    unbroken = Parameter(np.ones((2, 3)), to_torch=(1, 0))
    run(unbroken, kind({"w": unbroken}, lr=0.1, **settings), gradients)

    stopped = Parameter(np.ones((2, 3)), to_torch=(1, 0))
    first = kind({"w": stopped}, lr=0.1, **settings)
    run(stopped, first, gradients[:3])
    state = first.state_dict()
    assert all(array.shape == (3, 2) for array in state.values())  # PyTorch's layout, as the parameter's own
    second = kind({"w": stopped}, lr=0.1, **settings)
    second.load_state_dict(state, first.steps)
    run(stopped, second, gradients[3:])
    np.testing.assert_array_equal(stopped.value, unbroken.value)
