"""The optimisers against torch.optim, fed with the same random gradients."""

import math

import numpy as np
import pytest
import torch

from scratch import optim
from scratch.accelerate import accelerate_optimizer
from scratch.accelerate.cpu import blockwise_optim
from scratch.arrays import to_device, to_host
from scratch.layers import ConvTranspose2d
from scratch.module import Parameter
from scratch.optim import make_optimizer as make_scratch_optimizer
from scratch.schedules import Schedule
from scratch.training.trainer import Trainer as ScratchTrainer
from tests.support.beside_torch import TINY, assert_all_close, load_into_torch, torch_twin
from tests.support.closeness import assert_close
from tests.support.models import build
from torch_ref.schedules import scheduled
from torch_ref.training import Trainer, make_optimizer

OPTIMIZERS = {
    "Adam": (lambda p: optim.Adam(p, lr=1e-2), lambda p: torch.optim.Adam(p, lr=1e-2)),
    "Adam, other constants": (
        lambda p: optim.Adam(p, lr=3e-2, betas=(0.5, 0.9), eps=1e-3),
        lambda p: torch.optim.Adam(p, lr=3e-2, betas=(0.5, 0.9), eps=1e-3)),
    "Adam without memory": (
        lambda p: optim.Adam(p, lr=1e-2, betas=(0.9, 0.0)), lambda p: torch.optim.Adam(p, lr=1e-2, betas=(0.9, 0.0))),
    "Adam with little memory": (
        lambda p: optim.Adam(p, lr=1e-2, betas=(0.1, 0.3)), lambda p: torch.optim.Adam(p, lr=1e-2, betas=(0.1, 0.3))),
    "AdamW": (lambda p: optim.Adam(p, lr=1e-2, weight_decay=0.1),
              lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1)),
    "AdamW of matrices": (
        lambda p: optim.Adam(p, lr=1e-2, weight_decay=0.1, decay="matrices"),
        lambda p: make_optimizer(p, {"lr": 1e-2, "weight_decay": 0.1, "decay": "matrices"})),
    "Adam, clipped": (lambda p: optim.Adam(p, lr=1e-2, clip_norm=0.5), lambda p: torch.optim.Adam(p, lr=1e-2)),
    "SGD, clipped": (lambda p: optim.SGD(p, lr=1e-2, momentum=0.5, clip_norm=3.0),
                     lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.5)),
    "SGD": (lambda p: optim.SGD(p, lr=1e-2), lambda p: torch.optim.SGD(p, lr=1e-2)),
    "SGD with momentum": (lambda p: optim.SGD(p, lr=1e-2, momentum=0.9),
                          lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9)),
}


@pytest.mark.parametrize("block", [None, 7, 2**16], ids=["plain", "in blocks of 7", "in one block"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(monkeypatch, name, block):
    """20 steps with gradients of very different sizes, also below Adam's eps, some of them zero and one missing.

    The size of the blocks does not matter, and the moments have their names in a checkpoint.
    """
    monkeypatch.setattr(blockwise_optim, "BLOCK", block)
    rng = np.random.default_rng(0)
    ours = ConvTranspose2d(3, 4, (2, 3), dtype=np.float64, rng=rng)
    theirs = torch.nn.ConvTranspose2d(3, 4, (2, 3), dtype=torch.float64)
    load_into_torch(theirs, ours)
    parameters = ours.named_parameters()
    our_optimizer, their_optimizer = (make(p) for make, p in zip(
        OPTIMIZERS[name], (parameters, theirs.parameters()), strict=True))
    if block:
        accelerate_optimizer(our_optimizer)
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
        if our_optimizer.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), our_optimizer.clip_norm)
        our_optimizer.step()
        their_optimizer.step()
        expected = {key: tensor.numpy() for key, tensor in theirs.state_dict().items()}
        assert_all_close(ours.state_dict(), expected, 1e-12)
    if name != "SGD":  # which keeps no moments in PyTorch
        assert_all_close(our_optimizer.state_dict(), Trainer(theirs, their_optimizer, seed=0).state()[1], 1e-12)


@pytest.mark.parametrize("form", ["plain", "blockwise", "fused"])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.9, 0.0), (0.0, 0.999), (0.0, 0.0), (0.3, 0.1)], ids=str)
def test_adam_in_float32_follows_pytorch_whatever_its_betas(cupy, betas, form):
    """The gradients fall by ten orders of magnitude from step to step, and the rounding of one must not hide the next.
    With β₂ = 0, v is g² itself, so a step has the size of lr for any small g.
    """
    rng = np.random.default_rng(0)
    start = (1e-3 * rng.standard_normal(64)).astype(np.float32)
    gradients = [(size * rng.uniform(0.5, 2, 64) * rng.choice([-1, 1], 64)).astype(np.float32)
                 for size in (1.0, 1e-6, 1e2, 1e-8, 1e-3, 1e3, 1e-7)]
    device = "gpu" if form == "fused" else "cpu"
    ours, theirs = Parameter(to_device(start.copy(), device)), torch.nn.Parameter(torch.tensor(start))
    our_adam = optim.Adam({"w": ours}, lr=1e-2, betas=betas)
    if form != "plain":
        accelerate_optimizer(our_adam)
    assert type(our_adam).__name__ == {"plain": "Adam", "blockwise": "BlockwiseAdam", "fused": "FusedAdam"}[form]
    their_adam = torch.optim.Adam([theirs], lr=1e-2, betas=betas)
    for gradient in gradients:
        ours.grad, theirs.grad = to_device(gradient, device), torch.tensor(gradient)
        our_adam.step()
        their_adam.step()
        assert_close(to_host(ours.value), theirs.detach().numpy(), 2e-5)


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
