"""Elementwise derivatives as formulas: "1 − y in place of 1 − y²".

Both gradients, divided by the upstream gradient if it has their shape, are written as a sum of at most two simple
functions of what the operation reads and returns. If both can be, the two formulas are named.
"""

import math
from itertools import combinations

import numpy as np

from scratch.gradcheck.diagnosis.comparison import Finding, largest

MOST_FUNCTIONS = 60
NICE = {1.0: "", 2.0: "2 ", 0.5: "½ ", 3.0: "3 ", 4.0: "4 ", 0.25: "¼ "}


def functions(arrays):
    """{formula: values} of simple functions of the arrays, each different from all others and all near size 1."""
    base = {}
    for name, t in arrays.items():
        if largest(t) > 30:
            continue
        base[name] = t
    e = {}
    for name, t in base.items():
        sigma, square = ("σ", "σ²") if name == "logvar" else (f"exp(½ {name})", f"exp({name})")
        e |= {f"sigmoid({name})": 1 / (1 + np.exp(-t)), square: np.exp(t), sigma: np.exp(0.5 * t)}
        if name == "logvar":
            e |= {"1/σ": np.exp(-0.5 * t), "1/σ²": np.exp(-t)}
    one = np.ones(next(iter(base.values())).shape) if base else np.ones(1)
    every = {"1": one, **base}
    every |= {f"{name}²": t * t for name, t in base.items()}
    every |= e
    every |= {f"{a} {b}": base[a] * base[b] for a, b in combinations(base, 2)}
    small = {name: t for name, t in e.items() if name.startswith(("σ", "sigmoid", "1/"))
             and all(largest(t - other) > 1e-9 for other in base.values())}
    every |= {f"{a} {b}": s * t for a, s in small.items() for b, t in base.items() if f"({b})" not in a}
    every |= {f"{a}²": s * s for a, s in small.items() if a.startswith("sigmoid")}
    every |= {f"{b} (1 − {a})": t * (1 - s) for a, s in small.items() for b, t in base.items()
              if a.startswith("sigmoid")}
    every |= {f"{a} (1 − {a})": s * (1 - s) for a, s in small.items() if a.startswith("sigmoid")}
    distinct = {}
    for name, values in every.items():
        if np.isfinite(values).all() and all(largest(values - other) > 1e-9 * (1 + largest(other))
                                             for other in distinct.values()):
            distinct[name] = values
        if len(distinct) >= MOST_FUNCTIONS:
            break
    return distinct


def formula(values, known, weight, precision):
    """[(name, number)] with values = weight · Σ number · function, of one or two functions; None if there is none."""
    scale = largest(values)
    columns = {name: (weight * f).ravel() for name, f in known.items()}
    target = values.ravel()
    for name, column in columns.items():
        square = column @ column
        if square and largest(target - (column @ target) / square * column) <= precision * scale:
            return [(name, float(column @ target / square))]
    names = list(columns)
    matrix = np.stack([columns[name] for name in names], axis=1)
    norms = np.linalg.norm(matrix, axis=0)
    unit = matrix / np.where(norms > 0, norms, 1)
    inner, products = unit.T @ unit, unit.T @ target
    for i, j in combinations(range(len(names)), 2):
        determinant = 1 - inner[i, j] ** 2
        if determinant < 1e-6:
            continue
        a = (products[i] - inner[i, j] * products[j]) / determinant
        b = (products[j] - inner[i, j] * products[i]) / determinant
        if largest(target - a * unit[:, i] - b * unit[:, j]) <= precision * scale:
            found = np.linalg.lstsq(matrix[:, [i, j]], target, rcond=None)[0]
            return [(names[i], float(found[0])), (names[j], float(found[1]))]
    return None


def in_words(terms, scale):
    """[("1", 2.0), ("y", −2.0)] over 2 as "1 − y"; "" if a number is not one of the usual."""
    text = ""
    scaled = [(name, number / scale) for name, number in terms]
    for name, number in sorted(scaled, key=lambda term: (term[1] < 0, term[0] != "1")):
        size = next((words for value, words in NICE.items() if math.isclose(abs(number), value, rel_tol=1e-5)), None)
        if size is None:
            return ""
        sign = "−" if number < 0 else "+"
        text += (f" {sign} " if text else "−" if number < 0 else "") + (size + name if name != "1" or not size
                                                                         else size.strip())
    return text


def of_elements(c):
    """Another formula in the place of the right one."""
    if not c.same_shape or c.claimed.size < 8:
        return
    arrays = {name: a for name, a in c.arrays.items() if a.shape == c.claimed.shape}
    if not 1 <= len(arrays) <= 4:
        return
    weights = [u for u in c.upstream.values() if np.shape(u) == c.claimed.shape]
    if len(weights) > 1 or (not weights and len(c.upstream) > 1):
        return
    weight = weights[0] if weights else np.ones(c.claimed.shape)
    with np.errstate(over="ignore"):
        known = functions(arrays)
    right = formula(c.expected, known, weight, c.precision)
    claimed = right and formula(c.claimed, known, weight, c.precision)
    if not claimed:
        return
    right = sorted(right, key=lambda term: (term[0] == "1", term[0]))
    scale = 1.0 if weights else right[0][1]
    texts = in_words(claimed, scale), in_words(right, scale)
    if all(texts) and texts[0] != texts[1]:
        yield Finding("formula", f"the right gradient with {texts[0]} in place of {texts[1]}",
                      "written as formulas, both agree with these at every coordinate")
