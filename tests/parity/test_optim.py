"""The optimisers against torch.optim, fed with the same random gradients."""

import numpy as np
import pytest
import torch

from scratch import optim
from scratch.layers import ConvTranspose2d
from tests.parity.helpers import assert_all_close, load_into_torch
from torch_ref.training import Trainer

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
