"""The optimisers of optim.py with their rule as one kernel for each parameter."""

import math

from scratch.accelerate.gpu.fused import fused
from scratch.arrays import array_module
from scratch.optim import SGD, Adam


@fused
def sgd(value, gradient, velocity, momentum, lr):
    """v ← momentum·v + g,   θ ← θ − lr·v."""
    velocity *= momentum
    velocity += gradient
    value -= lr * velocity


class FusedSGD(SGD):
    """SGD, its rule one kernel."""

    def update(self, value, gradient, velocity):
        sgd(value, gradient, velocity, self.momentum, self.lr)


@fused
def adam(value, gradient, m, v, towards_g, towards_g2, kept, eps, rate):
    """m ← m + towards_g (g − m),   v ← v + towards_g2 (g² − v),   θ ← kept·θ − rate · m / (√v + eps)."""
    m += (gradient - m) * towards_g
    v += (gradient * gradient - v) * towards_g2
    if kept is not None:
        value *= kept
    value -= m / (array_module(v).sqrt(v) + eps) * rate


class FusedAdam(Adam):
    """Adam, its rule one kernel."""

    def update(self, value, gradient, m, v):
        beta1, beta2 = self.betas
        kept = 1 - self.lr * self.weight_decay if self.weight_decay else None
        root = math.sqrt(1 - beta2**self.steps)  # √v̂ + ε = (√v + root·ε) / root
        rate = self.lr * root / (1 - beta1**self.steps)
        adam(value, gradient, m, v, 1 - beta1, 1 - beta2, kept, root * self.eps, rate)


FORMS = {SGD: FusedSGD, Adam: FusedAdam}
