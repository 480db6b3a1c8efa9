"""A loss term that rewards equal use of all codes, in a form that has a gradient."""

import math

import numpy as np

from scratch.arrays import array_module
from scratch.layers.checks import check_floating
from scratch.module import Module
from scratch.options.option import Option, Real

ENTROPY_WEIGHT = Option("entropy_weight", Real(0), 0.0, "weight of a term that rewards equal use of all codes; 0: none",
                        source="arXiv:2310.05737")
ENTROPY_TEMPERATURE = Option("entropy_temperature", Real(0, included=False), 1.0,
                             "temperature τ of the soft assignments in that term", source="arXiv:2310.05737")


class SoftAssignmentEntropy(Module):
    """gap = log K − H(p̄) ≥ 0: how far the entropy of the codes' use is below that of equal use, in nats.

        aₘₖ = −‖zₘ − eₖ‖² / τ       pₘₖ = softmax_k aₘₖ       p̄ₖ = (1/M) Σₘ pₘₖ       H(p̄) = −Σₖ p̄ₖ log p̄ₖ

    The mean is over all M positions of a batch at once, so the examples of a batch are coupled.
    Shapes: z (M, D), e (K, D), gap a scalar.

        ∂gap/∂p̄ₖ = log p̄ₖ + 1
        daₘₖ = ∂gap/∂aₘₖ = pₘₖ (log p̄ₖ − Σⱼ pₘⱼ log p̄ⱼ) / M            with Σₖ daₘₖ = 0
        ∂gap/∂zₘ = (2/τ) Σₖ daₘₖ eₖ                                     as Σₖ daₘₖ zₘ = 0
        ∂gap/∂eₖ = (2/τ) (Σₘ daₘₖ zₘ − eₖ Σₘ daₘₖ)

    The + 1 of the first line drops out of the second, as Σₖ pₘₖ = 1.

    The computation holds arrays of M × K. ‖zₘ‖² is the same for all k, so it cancels in the softmax. The mean of the
    codes is first subtracted from both z and e, as in `nearest_codes` (vector_quantizer.py). This changes no distance,
    and without it the products of numbers far from zero would lose the distances to rounding.

    The entropy of the *counts* looks similar but has no gradient: counts come from an argmin, and their derivative is
    zero. Besides, p log p is NaN for a code that was not chosen. (docs/lessons/6_codebooks.md; the entropy of soft
    assignments as a penalty: Yu et al. 2024, arXiv:2310.05737)
    """

    def __init__(self, temperature):
        self.temperature = temperature

    def forward(self, z, e):
        check_floating(self, z, e)
        xp, centre = array_module(z), e.mean(axis=0)
        z, e = z - centre, e - centre
        p = z @ e.T
        p -= (e * e).sum(axis=1) / 2
        p -= p.max(axis=1, keepdims=True)  # before the division, which overflows for a small τ
        with np.errstate(over="ignore"):  # to −∞, whose exponential is 0
            p /= self.temperature / 2
        xp.exp(p, out=p)
        p /= p.sum(axis=1, keepdims=True)
        mean = self.batch.mean(p.sum(axis=0) / len(p), len(p))
        log_mean = xp.log(xp.where(mean > 0, mean, xp.ones_like(mean)))  # a code too far from all: 0 log 0 = 0
        self.save(z, e, p, log_mean)
        return math.log(len(e)) + (mean * log_mean).sum()

    def backward(self, dgap=1.0):
        z, e, p, log_mean = self.recall()
        da = (log_mean - (p @ log_mean)[:, None]) * p
        da *= dgap * 2 / len(p)
        da /= self.temperature  # with the 2/τ of all gradients below
        return da @ e, da.T @ z - e * da.sum(axis=0)[:, None]
