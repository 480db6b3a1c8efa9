"""Schedules: their values, and that every part of training uses the right step."""

import math
import re

import numpy as np
import pytest

from scratch.accelerate.cpu.workers import ParallelTrainer
from scratch.optim import SGD, Adam
from scratch.options.errors import InputError
from scratch.schedules import Schedule
from scratch.training.trainer import Trainer
from tests.support.tiny import images, new_model


@pytest.mark.parametrize("text, values", [
    ("0.5", {0: 0.5, 7: 0.5, math.inf: 0.5}),
    (0.1, {0: 0.1, 99: 0.1}),
    ("linear:0:6:3", {0: 0, 1: 2, 2: 4, 3: 6, 4: 6, math.inf: 6}),
    ("cosine:1:0:4", {0: 1, 1: (1 + math.sqrt(0.5)) / 2, 2: 0.5, 4: 0, 5: 0}),
    ("exponential:1:0.0625:4", {0: 1, 1: 0.5, 2: 0.25, 3: 0.125, 4: 0.0625, 100: 0.0625}),
    ("cyclical:0:6:6", {0: 0, 1: 2, 2: 4, 3: 6, 5: 6, 6: 0, 7: 2, 9: 6, 11: 6, 600: 0, 602: 4, math.inf: 6}),
    ("warmup:4:0.8", {0: 0.2, 1: 0.4, 3: 0.8, 4: 0.8, math.inf: 0.8}),
    ("warmup:2:linear:0:6:3", {0: 0, 1: 2, 2: 4, 3: 6, math.inf: 6}),
    ("warmup:2:cosine:1:0:4", {0: 0.5, 1: (1 + math.sqrt(0.5)) / 2, 2: 0.5, 4: 0}),
    ("cyclical:1:0:2", {0: 1, 1: 0, 2: 1, 3: 0, math.inf: 0}),
])
def test_values(text, values):
    schedule = Schedule(text)
    assert {step: schedule(step) for step in values} == pytest.approx(values, abs=1e-15)


@pytest.mark.parametrize("text", [
    "", "fast", "linear", "linear:0:1", "linear:0:1:0", "linear:0:1:2:3", "step:0:1:5", "linear:0:x:5", "nan",
    "linear:0:inf:5", "exponential:1:0:5", "exponential:-1:1:5", "cyclical:0:1", "cyclical:0:1:1",
    "inf", None, True, "linear:1:1:1e400", "linear:1e-3:0:inf", "linear:1e-3:0:nan", "linear:0:1:2.5",
    "linear:-1e308:1e308:5", "exponential:1e-300:1e300:5", "exponential:1e300:1e-300:5",
    "warmup:3", "warmup:0:1", "warmup:-1:1", "warmup:1.5:1", "warmup:x:1", "warmup:2:warmup:2:1", "warmup:2:linear:0:1",
])
def test_what_is_no_schedule_is_refused_in_one_sentence(text):
    with pytest.raises(InputError, match=rf"schedule.* got {re.escape(repr(text))}$"):
        Schedule(text)


def test_the_learning_rate_of_every_update():
    """With a gradient of one, plain gradient descent moves by the learning rate, in the first update by its start."""
    model = new_model("ae")
    parameters = dict(list(model.named_parameters().items())[:1])
    optimizer, (parameter,) = SGD(parameters, "linear:0.5:0.1:2"), parameters.values()
    moved = []
    for _ in range(4):
        before = parameter.value.copy()
        parameter.grad = np.ones_like(before)
        optimizer.step()
        moved.append(float((before - parameter.value).mean()))
    assert moved == pytest.approx([0.5, 0.3, 0.1, 0.1], rel=1e-5)


def annealed(workers):
    model = new_model("vae", beta="linear:0:1:3")
    optimizer = Adam(model.named_parameters(), "cosine:1e-3:1e-4:3")
    return ParallelTrainer(model, optimizer, 0, workers) if workers > 1 else Trainer(model, optimizer, 0)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_weight_follows_the_step_in_training_and_is_at_its_end_in_evaluation(workers):
    trainer = annealed(workers)
    x = images(8)
    for step, beta in enumerate([0, 1 / 3, 2 / 3, 1, 1]):
        terms, _ = trainer.step(x, 1, step)
        assert float(terms["loss"]) == pytest.approx(float(terms["reconstruction"] + beta * terms["kl"]), rel=1e-5)
        terms, _, _ = trainer.evaluate(x, trainer.draw_noise(8, np.random.default_rng(0)))
        assert float(terms["loss"]) == pytest.approx(float(terms["reconstruction"] + terms["kl"]), rel=1e-5)


def test_a_schedule_goes_on_where_a_run_is_resumed():
    whole, first, second = annealed(1), annealed(1), annealed(1)
    for step in range(4):
        whole.step(images(8), 1, step)
        if step < 2:
            first.step(images(8), 1, step)
        elif step == 2:
            second.load(*first.state())
        if step >= 2:
            second.step(images(8), 1, step)
    for name, value in whole.state()[0].items():
        np.testing.assert_array_equal(second.state()[0][name], value)
