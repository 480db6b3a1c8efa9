"""What a wrong gradient looks like: `looks_like` compares it with the right one, coordinate by coordinate.

Each hypothesis is a transform of the right gradient: a factor (factors.py), zeros or a factor in a part (parts.py), an
order of the axes (order.py), sums over axes (sums.py), shares of terms (terms.py). A hypothesis counts only if it gives
the claimed gradient to rounding, at every coordinate. Of those that count, the simplest is named; if two are equally
simple, both are.
"""

import numpy as np

from scratch.gradcheck.diagnosis import factors, formulas, order, parts, sums, terms
from scratch.gradcheck.diagnosis.comparison import PRECISION, Comparison, Finding, largest

__all__ = ["PRECISION", "Comparison", "Finding", "explanations", "looks_like"]

HYPOTHESES = (  # the simplest first
    factors.zero,
    factors.constant_factor,
    order.exchanged,
    terms.of_terms,
    sums.of_upstream,
    terms.plus_upstream,
    order.flipped,
    order.transposed,
    parts.right_in_a_part,
    parts.wrong_signs,
    factors.array_factor,
    factors.power,
    sums.not_summed,
    sums.summed_too_far,
    order.reshaped,
    order.shifted,
    formulas.of_elements,
    terms.of_difference,
    factors.factors_by_index,
    order.rearranged,
    parts.right_in_a_slab,
)
STEP = 10  # of rank from one hypothesis to the next
SIMPLE = STEP * HYPOTHESES.index(terms.of_difference)  # ranks below are hypotheses that leave little to chance


def looks_like(claimed, expected, *, arrays=None, upstream=None, constants=None, terms=None, others=None, name="",
               precision=PRECISION, **more):
    """What the claimed gradient looks like, as a Finding; None if it is right, or if no hypothesis fits.

    claimed, expected   the gradient to judge, and the right one; their shapes may differ
    arrays              {name: array} that the operation reads or returns: x, eps, y. They name factors such as ε, and
                        places such as "where x < 0". logvar also gives σ.
    upstream            {name of an output: ∂L/∂output}
    constants           {name: number} that name a factor: {"N": 5, "τ": 0.7}
    terms               {name: the share of this term in the right gradient}; they tell which one is missing or doubled
    others              {name of another tensor: its right gradient}, for gradients that were exchanged
    name                the name of the tensor
    more                further numbers and arrays by name, as among constants and arrays: N=5, eps=eps
    precision           how near counts as equal, relative to the largest number: 1e-6 suits a right gradient from
                        finite differences, 1e-9 an exact one

    str() of a Finding is a sentence: "looks like twice the right gradient: the ratio is 2.000 at every coordinate".
    """
    claimed, expected = np.asarray(claimed, float), np.asarray(expected, float)
    arrays = {**(arrays or {}), **{key: value for key, value in more.items() if np.ndim(value)}}
    constants = {**(constants or {}), **{key: value for key, value in more.items() if not np.ndim(value)}}
    for axis, length in enumerate(expected.shape):  # named only where nothing else has this value
        if length > 4 and length not in constants.values():
            constants[f"length of axis {axis}"] = length
    if expected.size > 4 and expected.size not in constants.values():
        constants["number of elements"] = expected.size
    return simplest(explanations(Comparison(
        claimed, expected, arrays, upstream or {}, constants, terms or {}, others or {}, name, precision)))


def explanations(comparison):
    """Every Finding whose hypothesis fits, the simplest first."""
    if not np.isfinite(comparison.claimed).all() or not np.isfinite(comparison.expected).all():
        return []
    found = list(factors.single_precision(comparison))
    if comparison.is_right() or (not largest(comparison.expected) and not largest(comparison.claimed)):
        return found
    for at, hypothesis in enumerate(HYPOTHESES):
        for one in hypothesis(comparison):
            found.append(Finding(one.kind, one.what, one.evidence, STEP * at + one.rank))
    return sorted(found, key=lambda finding: finding.rank)


def simplest(found):
    """The simplest of some findings, joined with those that are as simple; None if there are none."""
    if not found:
        return None
    best = found[0]
    equal = [one for one in found if one.rank == best.rank and one.kind == best.kind]
    if len(equal) == 1:
        return best
    evidence = "; ".join(dict.fromkeys(part for one in equal for part in one.evidence.split("; ")))
    return Finding(best.kind, ", or ".join(dict.fromkeys(one.what for one in equal)), evidence, best.rank)
