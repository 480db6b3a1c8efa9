"""The right gradient times a number, or times an array that the operation knows."""

import math
import re
from itertools import combinations

import numpy as np

from scratch.gradcheck.diagnosis.comparison import Finding, in_words, largest

PLAIN = {2.0: "twice", 0.5: "½ of", -1.0: "the opposite of", -2.0: "−2 times", -0.5: "−½ times", 3.0: "3 times",
         1 / 3: "⅓ of", 4.0: "4 times", 0.25: "¼ of", -4.0: "−4 times", -0.25: "−¼ times"}
POWERS = {1: "{}", -1: "1/{}", 2: "{}²", -2: "1/{}²", 0.5: "√{}", -0.5: "1/√{}"}
SIZES = (  # named only where no plain number fits
    "channels of", "positions of", "elements of an example", "length of axis", "number of elements")
NEAR = 1e-6


def power_of(name, power):
    """("n − 1", -1) as "1/(n − 1)"."""
    compound = (any(sign in name for sign in " ·/−") and not name.startswith(("exp(", "∂"))) or name.startswith("∂")
    return POWERS[power].format(f"({name})" if compound and power != 1 else name)


def names_of(factor, constants):
    """[(words, level)] of a factor: the ways to write it with the usual numbers and the constants, simplest level only.

    Level 0 are plain numbers and one constant or its inverse, level 1 are products of two.
    """
    found = []
    for number, words in PLAIN.items():
        if math.isclose(factor, number, rel_tol=NEAR):
            found.append((words, 0))
    known = {name: float(value) for name, value in constants.items()
             if np.isfinite(value) and abs(value) > 1e-9 and abs(abs(value) - 1) > NEAR}
    simple = {power_of(name, power): value**power for name, value in known.items() for power in (1, -1)}
    found += [(sign + words, 0) for words, value in simple.items() for sign, s in (("", 1), ("−", -1))
              if math.isclose(factor, s * value, rel_tol=NEAR)]
    plain = [(words, level) for words, level in found if not any(size in words for size in SIZES)]
    if found:
        return plain or found
    compound = {}
    for words, value in simple.items():
        for times, factor_words in ((2, "2·"), (0.5, "½·"), (4, "4·"), (0.25, "¼·")):
            compound.setdefault(factor_words + words, times * value)
    for name, value in known.items():
        for power in (2, -2, 0.5, -0.5):
            if value > 0 or power in (2, -2):
                compound.setdefault(power_of(name, power), value**power)
    for (first, a), (second, b) in combinations(simple.items(), 2):
        compound.setdefault(f"{first}·{second}", a * b)
    return [(sign + words, 1) for words, value in compound.items() for sign, s in (("", 1), ("−", -1))
            if math.isclose(factor, s * value, rel_tol=NEAR)]


def phrase(words):
    """ "½ of" as "½ of the right gradient"; "N" as "N times the right gradient"."""
    if words in PLAIN.values():
        return "the right gradient with the opposite sign" if words == PLAIN[-1.0] else f"{words} the right gradient"
    times = "of" if words.lstrip("−").startswith("1/") else "times"
    return f"{words} {times} the right gradient"


def constants_in(words, constants):
    """ "; N = 5" for the constants that the words name."""
    bare = re.split(r"[√²()−/·]+", words)
    return "".join(f"; {name} = {int(value) if value == int(value) else in_words(float(value))}"
                   for name, value in constants.items() if name in bare)


def best_factor(claimed, candidate):
    """The number c for which c · candidate is nearest to the claimed gradient."""
    square = float(np.sum(candidate * candidate))
    return float(np.sum(candidate * claimed)) / square if square else 0.0


def zero(c):
    """No gradient at all where there should be one, or one where there should be none."""
    if largest(c.expected) <= 0.1 * c.close:
        yield Finding("zero", "a gradient where there should be none: the right one is zero",
                      f"every right coordinate is 0, and the largest claimed one is {in_words(largest(c.claimed))}")
    elif largest(c.claimed) <= 1e-9 * largest(c.expected):
        yield Finding("zero", "zero, where the right gradient is not: no gradient reaches it",
                      f"every coordinate is 0, and the largest right one is {in_words(largest(c.expected))}")


def single_precision(c):
    """Right to the digits that float32 has, and every number is one of float32."""
    if (c.same_shape and c.claimed.size > 1
            and 1e-9 * largest(c.expected) < c.error <= 1e-5 * largest(c.expected)
            and (c.claimed.astype(np.float32) == c.claimed).all()):
        yield Finding("precision", "the right gradient in single precision",
                      f"it is right to {in_words(c.error / largest(c.expected))} of its largest number, and every "
                      f"number is one of float32")


def constant_factor(c):
    """The right gradient times one number."""
    if not c.same_shape or largest(c.expected) <= 0.1 * c.close:
        return
    factor = best_factor(c.claimed, c.expected)
    if abs(factor) < 1e-9 or not c.fits(factor * c.expected):
        return
    evidence = (f"the ratio is {in_words(factor)} at every coordinate" if c.claimed.size > 1
                else f"the ratio is {in_words(factor)}")
    left_out = [name for name, u in c.upstream.items() if np.ndim(u) == 0
                and math.isclose(factor * float(u), 1, rel_tol=NEAR)]
    squared = [name for name, u in c.upstream.items() if np.ndim(u) == 0
               and math.isclose(factor, float(u), rel_tol=NEAR)]
    for name in left_out:
        yield Finding("upstream", f"the right gradient without the upstream gradient ∂L/∂{name}",
                      f"{evidence}, which is 1 / (∂L/∂{name})")
    for name in squared:
        yield Finding("upstream", f"the right gradient with the upstream gradient ∂L/∂{name} taken twice",
                      f"{evidence}, which is ∂L/∂{name}")
    if left_out or squared:
        return
    for words, norm in (("divided by its norm", np.linalg.norm(c.expected)), ("divided by its largest number", largest(
            c.expected)), ("divided by the sum of its numbers", float(np.sum(c.expected)))):
        if c.claimed.size > 2 and math.isclose(abs(factor * norm), 1, rel_tol=NEAR):
            yield Finding("factor", f"the right gradient {words}", evidence, 0.2)
    names = names_of(factor, c.constants)
    if len([1 for _, level in names if level]) > 3:  # chance: a number with many explanations has none
        names = []
    for words, level in names:
        yield Finding("factor", phrase(words), evidence + constants_in(words, c.constants), 0.5 * level)
    if c.claimed.size > 1:
        yield Finding("factor", f"{in_words(factor)} times the right gradient", evidence, 1)


def power(c):
    """The right derivative squared, or its square root."""
    if not c.same_shape or c.claimed.size < 8:
        return
    weights = [u for u in c.upstream.values() if np.shape(u) == c.claimed.shape]
    if len(weights) > 1 or (weights and np.min(np.abs(weights[0])) < 1e-9):
        return
    weight = weights[0] if weights else np.ones(c.claimed.shape)
    right = c.expected / weight
    for exponent, words in ((2.0, "squared"), (0.5, "replaced by its square root"), (3.0, "cubed"),
                            (-1.0, "inverted")):
        if (exponent != int(exponent) and (right < 0).any()) or (exponent < 0 and np.min(np.abs(right)) < 1e-9):
            continue
        candidate = weight * right**exponent
        for sign in (1, -1):
            if c.fits(sign * candidate):
                yield Finding("power", f"the right gradient with the operation's derivative {words}"
                              + (" and of the opposite sign" if sign < 0 else ""),
                              f"the power {exponent:g} of it gives every coordinate".replace("-", "−"), sign < 0)


def derived(arrays):
    """The arrays and the usual functions of them, by name: e to the power of each, its sigmoid, its square, ..."""
    found = dict(arrays)
    for name, t in arrays.items():
        if "∂" in name or np.max(np.abs(t)) > 30:
            continue
        sigma, square = ("σ", "σ²") if name == "logvar" else (f"exp(½ {name})", f"exp({name})")
        s = 1 / (1 + np.exp(-t))
        found |= {sigma: np.exp(0.5 * t), square: np.exp(t), f"sigmoid({name})": s,
                  f"sigmoid({name}) (1 − sigmoid({name}))": s * (1 - s), f"tanh({name})": np.tanh(t),
                  f"{name} (1 − {name})": t * (1 - t), f"(1 − {name}²)": 1 - t * t}
    return found


def array_factor(c):
    """The right gradient times a known array, or divided by it, at each coordinate."""
    if not c.same_shape or c.claimed.size < 4 or np.count_nonzero(np.abs(c.expected) > c.close) < 4:
        return
    candidates = c.like_claimed(derived(c.like_claimed(c.arrays)) | {f"∂L/∂{n}": u for n, u in c.upstream.items()})
    for name, q in candidates.items():
        for power in (1, -1, 2, -2):
            if power < 0 and np.min(np.abs(q)) < 1e-9:
                continue
            candidate = c.expected * q**float(power)
            factor = best_factor(c.claimed, candidate)
            words = {**PLAIN, 1.0: ""}
            known = next((w for number, w in words.items() if math.isclose(factor, number, rel_tol=1e-5)), None)
            if known is None or not c.fits(factor * candidate):
                continue
            times = power_of(name, power)
            also = f", and {known} that" if known else ""
            rank = (0 if name in c.arrays else 1) + (abs(power) > 1) + bool(known)
            what = {-1: f"the right gradient without its factor {name}",
                    1: f"the right gradient with a factor {name} too many"}.get(
                        power, f"the right gradient times {times}")
            yield Finding("array factor", what + also, f"the ratio is {times} at every coordinate", rank)


def factors_by_index(c):
    """The right gradient with a factor of its own for each index of one axis."""
    if not c.same_shape:
        return
    for axis, length in enumerate(c.claimed.shape):
        rest = c.claimed.size // max(length, 1)
        if length < 2 or rest < 3:
            continue
        claimed, expected = (np.moveaxis(g, axis, 0).reshape(length, -1) for g in (c.claimed, c.expected))
        squares = (expected * expected).sum(axis=1)
        factors = (claimed * expected).sum(axis=1) / np.where(squares > 0, squares, 1)
        fitted = np.moveaxis((factors[:, None] * expected).reshape(length, *np.delete(c.claimed.shape, axis)), 0, axis)
        used = squares > 0
        if not c.fits(fitted) or used.sum() < 2 or np.ptp(factors[used]) <= NEAR * np.abs(factors[used]).max():
            continue
        shown = ", ".join(map(in_words, factors[:6])) + (", …" if length > 6 else "")
        inverse = 1 / factors[used & (np.abs(factors) > 1e-9)]
        counts = inverse.size and np.allclose(inverse, np.rint(inverse), rtol=1e-5) and (inverse > 0).all()
        if counts and np.abs(factors[used]).min() > 1e-9:
            yield Finding("factors by index", f"a mean in place of a sum: each index of axis {axis} is divided by a "
                          f"whole number of its own", f"the ratios along axis {axis} are {shown}", 0)
        elif np.abs(factors[used]).min() > 1e-9:
            yield Finding("factors by index", f"the right gradient with a factor of its own for each index of axis "
                          f"{axis}", f"the ratios along axis {axis} are {shown}, the same at all other coordinates", 1)
