"""Optimisers against what their formulas give by hand."""

import numpy as np
import pytest

from scratch import optim
from scratch.module import Parameter
from scratch.optim import SGD, Adam

START = np.array([1.0, -2.0, 3.0])
GRADIENT = np.array([0.5, -1e-3, 20.0])


def stepped(kind, steps, gradient=GRADIENT, **settings):
    """START after some steps under one and the same gradient; the value is changed in place."""
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
    """Bias-corrected, m̂ = g and v̂ = g² from the first step on, whatever the gradient's size."""
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


@pytest.mark.parametrize("kind, settings", [(SGD, {"momentum": 0.9}), (Adam, {"weight_decay": 0.1})])
def test_an_update_in_blocks_is_the_update_at_once(monkeypatch, kind, settings):
    rng = np.random.default_rng(0)
    start, gradient = rng.standard_normal((5, 7)), rng.standard_normal((5, 7))
    values = []
    for block in (4, 1000):
        monkeypatch.setattr(optim, "BLOCK", block)
        parameter = Parameter(start.copy())
        optimizer = kind({"w": parameter}, lr=0.1, **settings)
        for _ in range(3):
            parameter.grad = gradient.T.copy().T  # of the value's shape, in another memory order
            optimizer.step()
        values.append(parameter.value)
    assert (values[0] != start).all()
    np.testing.assert_array_equal(*values)


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
