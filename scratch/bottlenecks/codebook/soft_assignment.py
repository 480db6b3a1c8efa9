"""A loss term that asks for all codes to be used, in a form that has a gradient."""

import math

import numpy as np

from scratch.arrays import array_module
from scratch.layers.checks import check_floating
from scratch.module import Module
from scratch.options.option import Option, Real

ENTROPY_WEIGHT = Option("entropy_weight", Real(0), 0.0, "weight of a term that rewards equal use of all codes; 0: none",
                        source="arXiv:2310.05737")
ENTROPY_TEMPERATURE = Option("entropy_temperature", Real(0, included=False), 1.0,
                             "temperature T of the soft assignments in that term", source="arXiv:2310.05737")


class SoftAssignmentEntropy(Module):
    """gap = log K − H(p̄) ≥ 0: how much the entropy of the codes' use lacks to that of equal use, in nats.

        aₘₖ = −‖zₘ − eₖ‖² / T       pₘₖ = softmax_k aₘₖ       p̄ₖ = (1/M) Σₘ pₘₖ       H(p̄) = −Σₖ p̄ₖ log p̄ₖ

    over all M positions of a batch at once. It couples the examples of a batch, and is no sum over an example.
    Shapes: z (M, D), e (K, D), gap a scalar. Arrays of M × K are held. ‖zₘ‖² is the same for all k: softmax drops it.
    The mean of the codes is taken from both z and e first, as in the search for the nearest (vector_quantizer.py): it
    changes no distance, and numbers far from zero would lose theirs in the product.

        gₖ = ∂gap/∂p̄ₖ = log p̄ₖ + 1
        sₘₖ = ∂gap/∂aₘₖ = pₘₖ (gₖ − Σⱼ pₘⱼ gⱼ) / M            with Σₖ sₘₖ = 0
        ∂gap/∂zₘ = (2/T) Σₖ sₘₖ eₖ                             as Σₖ sₘₖ (eₖ − zₘ) is
        ∂gap/∂eₖ = (2/T) (Σₘ sₘₖ zₘ − eₖ Σₘ sₘₖ)

    The entropy of the *counts* looks alike and teaches nothing: counts come of an argmin, their derivative is zero;
    and p log p is NaN for a code nobody chose. (docs/codebooks.md; the entropy of soft assignments as a penalty: Yu et
    al. 2024, arXiv:2310.05737)
    """

    def __init__(self, temperature):
        self.temperature = temperature

    def forward(self, z, e):
        check_floating(self, z, e)
        xp, centre = array_module(z), e.mean(axis=0)
        z, e = z - centre, e - centre
        p = z @ e.T
        p -= (e * e).sum(axis=1) / 2
        p -= p.max(axis=1, keepdims=True)  # before the division, which of a small T overflows
        with np.errstate(over="ignore"):  # to −∞, whose exponential is 0
            p /= self.temperature / 2
        xp.exp(p, out=p)
        p /= p.sum(axis=1, keepdims=True)
        mean = p.sum(axis=0) / len(p)
        log_mean = xp.log(xp.where(mean > 0, mean, xp.ones_like(mean)))  # a code too far from all: 0 log 0 = 0
        self.save(z, e, p, log_mean)
        return math.log(len(e)) + (mean * log_mean).sum()

    def backward(self, dgap=1.0):
        z, e, p, log_mean = self.recall()
        # gₖ without its + 1, which the difference below takes away again
        s = (log_mean - (p @ log_mean)[:, None]) * p
        s *= dgap * 2 / len(p)
        s /= self.temperature
        return s @ e, s.T @ z - e * s.sum(axis=0)[:, None]
