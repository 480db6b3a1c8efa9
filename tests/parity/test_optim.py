"""The optimisers against torch.optim, fed with the same random gradients."""

import math

import numpy as np
import pytest
import torch

from scratch import optim
from scratch.layers import ConvTranspose2d
from scratch.models.autoencoder import build
from scratch.optim import make_optimizer as make_scratch_optimizer
from scratch.schedules import Schedule
from scratch.training.trainer import Trainer as ScratchTrainer
from tests.support.beside_torch import TINY, assert_all_close, load_into_torch, torch_twin
from torch_ref.schedules import scheduled
from torch_ref.training import Trainer, make_optimizer

OPTIMIZERS = {
    "Adam": (lambda p: optim.Adam(p, lr=1e-2), lambda p: torch.optim.Adam(p, lr=1e-2)),
    "Adam, other constants": (
        lambda p: optim.Adam(p, lr=3e-2, betas=(0.5, 0.9), eps=1e-3),
        lambda p: torch.optim.Adam(p, lr=3e-2, betas=(0.5, 0.9), eps=1e-3)),
    "AdamW": (lambda p: optim.Adam(p, lr=1e-2, weight_decay=0.1),
              lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1)),
    "SGD": (lambda p: optim.SGD(p, lr=1e-2), lambda p: torch.optim.SGD(p, lr=1e-2)),
    "SGD with momentum": (lambda p: optim.SGD(p, lr=1e-2, momentum=0.9),
                          lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9)),
}


@pytest.mark.parametrize("block", [7, 2**16])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(monkeypatch, name, block):
    """20 steps with gradients of very different sizes, at and below Adam's eps too, some zero and once one missing.

    The blocks in which a step is made do not matter, and the moments have the names that a checkpoint gives them.
    """
    monkeypatch.setattr(optim, "BLOCK", block)
    rng = np.random.default_rng(0)
    ours = ConvTranspose2d(3, 4, (2, 3), dtype=np.float64, rng=rng)
    theirs = torch.nn.ConvTranspose2d(3, 4, (2, 3), dtype=torch.float64)
    load_into_torch(theirs, ours)
    parameters = ours.named_parameters()
    our_optimizer, their_optimizer = (make(p) for make, p in zip(
        OPTIMIZERS[name], (parameters, theirs.parameters()), strict=True))
    sizes = 10.0 ** rng.integers(-10, 3, ours.weight.value.shape)
    for step in range(20):
        for key, parameter in theirs.named_parameters():
            own = parameters[key]
            gradient = rng.standard_normal(own.value.shape) * (sizes if key == "weight" else 1e-3)
            gradient *= rng.uniform(size=gradient.shape) > 0.1
            own.grad = gradient
            parameter.grad = torch.tensor(own.in_torch_layout(gradient))
        if step == 3:
            parameters["bias"].grad = None
            theirs.bias.grad.zero_()
        our_optimizer.step()
        their_optimizer.step()
        expected = {key: tensor.numpy() for key, tensor in theirs.state_dict().items()}
        assert_all_close(ours.state_dict(), expected, 1e-12)
    if name != "SGD":  # which keeps no moments in PyTorch
        assert_all_close(our_optimizer.state_dict(), Trainer(theirs, their_optimizer, seed=0).state()[1], 1e-12)


@pytest.mark.parametrize("text", ["0.5", "linear:0:6.6:7", "cosine:1:0.0625:10", "exponential:1:0.0625:10"])
def test_schedules(text):
    ours = Schedule(text)
    for step in (*range(12), math.inf):
        assert ours(step) == pytest.approx(scheduled(text, step), rel=1e-12)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_two_trainers_follow_one_schedule(optimizer):
    """Five steps of a VAE whose learning rate and beta both change."""
    rng = np.random.default_rng(0)
    lr, options = "cosine:1e-3:1e-4:4", {**TINY, "beta": "linear:0.1:1:3", "likelihood": "squared_error"}
    settings = {"optimizer": optimizer, "lr": lr, "momentum": 0.9, "weight_decay": 0.0}
    ours = build("vae", (8, 8, 1), options, dtype=np.float64, rng=rng)
    theirs = torch_twin(ours, "vae", (8, 8, 1), options)
    ours = ScratchTrainer(ours, make_scratch_optimizer(ours.named_parameters(), settings), 0)
    theirs = Trainer(theirs, make_optimizer(theirs.parameters(), settings), 0, lr=lr)
    for step in range(5):
        x = rng.uniform(size=(4, 8, 8, 1))
        terms, terms_torch = ours.step(x, 1, step)[0], theirs.step(x, 1, step)[0]
        assert_all_close(terms, terms_torch, 1e-11)
    assert_all_close(ours.state()[0], theirs.state()[0], 1e-9)
