"""Why is a gradient wrong? The causes that can be shown by running the operation again, and then what it looks like.

Every hypothesis is tried twice: on the operation, and on another one of its kind with other inputs and other upstream
gradients. It is named only if it fits both. So a number that fits by chance, or that is 2 because the batch holds two
examples, is not taken for something else.
"""

import math

import numpy as np

from scratch.bottlenecks import VectorQuantizer
from scratch.gradcheck.calls import names_of_parts
from scratch.gradcheck.diagnosis import SIMPLE, STEP, Finding, explanations, simplest
from scratch.gradcheck.diagnosis.comparison import in_words, largest
from scratch.gradcheck.diagnosis.terms import of_terms
from scratch.gradcheck.examine import Examined
from scratch.gradcheck.numeric import outputs_of, slope_along
from scratch.gradcheck.shares import shares_of, variants_of

SAME = 1e-9  # two runs that agree so far, relative to the largest number, are the same
DRAWS, FEW = 2000, 100  # of the noise, for what is right in expectation
MOST_OUTPUTS = 2000  # of an operation that is run so often


def explain(operation, names, rng):
    """{name: Finding, or None where no hypothesis fits} for tensors whose gradients are wrong."""
    first = Examined(operation, rng)
    second = another(operation, rng)
    found = {}
    for name in names:
        finding = by_running_again(first, name) or by_kink(first, name) or by_hypothesis(first, second, name)
        if finding is None and operation.module is None:  # functions whose backward may read the first inputs
            finding = by_hypothesis(first, Examined(operation, rng), name)
        found[name] = finding or by_other_noise(first, name) or by_expectation(first, name)
    return found


def another(operation, rng):
    """A second trial, of the operation's sibling with other inputs, or of the operation itself if that cannot be."""
    try:
        return Examined(operation.another(rng) if operation.another else operation, rng)
    except Exception:  # whatever a wrong operation raises for another batch
        return Examined(operation, rng)


def by_hypothesis(first, second, name):
    """The simplest hypothesis that fits both trials, or None."""
    survivors = []
    for hypotheses in (by_comparison, by_alteration):
        found = hypotheses(first, name)
        kept = {one.what for one in hypotheses(second, name, {one.what for one in found})} if found else set()
        survivors += [one for one in found if one.what in kept]
        if hypotheses is by_comparison and any(one.rank < SIMPLE for one in survivors):
            break
    if survivors:
        return simplest(sorted(survivors, key=lambda finding: finding.rank))
    return None


def by_comparison(trial, name, only=None):
    """The findings that the claimed and the right gradient of a tensor give when laid side by side."""
    claimed = trial.claimed.get(name)
    if claimed is None or (not trial.slopes_of(name).complete and claimed.shape != trial.slopes_of(name).shape):
        return []
    comparison = trial.comparison(name)
    found = explanations(comparison)
    shares = shares_of(trial.operation, trial.upstream).get(name)
    if shares and trial.slopes_of(name).complete:
        comparison.terms = shares
        found += [Finding(one.kind, one.what, one.evidence, 1.6 * STEP + one.rank) for one in of_terms(comparison)]
    for at, (words, gradient) in enumerate(variants_of(trial.operation, trial.upstream).get(name, {}).items()):
        if trial.slopes_of(name).complete and comparison.fits(gradient):
            found.append(Finding("variant", f"the right gradient {words}", "with it every coordinate agrees",
                                 1.5 * STEP + 0.01 * at))
    return sorted(found, key=lambda finding: finding.rank)


def by_alteration(trial, name, only=None):
    """The findings of running the operation again with other upstream gradients, inputs, parts or settings."""
    if trial.claimed.get(name) is None or trial.claimed[name].shape != trial.operation.tensors[name].shape:
        return []
    module, found = trial.operation.module, []
    for at, findings in enumerate((trial.by_upstream(name), trial.by_index(name), trial.not_added(name),
                                   trial.by_parts(name, parts_to_hold(trial.operation)) if module else (),
                                   trial.by_settings(name), trial.by_arrays(name, only))):
        if found and only is None:  # the first trial is content with the first that fits
            break
        found += [Finding(one.kind, one.what, one.evidence, SIMPLE - 9 + at + 0.1 * one.rank) for one in findings]
    return found


def parts_to_hold(operation):
    """{part: name} of a module's parts that can be held at one output."""
    return {part: name for part, name in names_of_parts(operation.module).items()
            if not isinstance(part, VectorQuantizer) and not getattr(part, "hard", False)}


# --- causes -----------------------------------------------------------------------------------------------------------


def by_running_again(trial, name):
    """Does backward draw random numbers, keep something from an earlier run, or read what was changed after it was
    saved?"""
    if trial.changed:
        changed = " and ".join(trial.changed)
        return Finding("in place", f"a forward that changes {changed} in place",
                       f"after forward, {changed} holds other numbers than before", 0)
    outputs, again = trial.again()
    if any(largest(outputs[y] - trial.outputs[y]) > SAME * max(1, largest(outputs[y])) for y in outputs):
        return Finding("noise", "a forward that draws its own noise",
                       "a second forward with the same inputs gives other outputs: give the noise as an argument", 0)
    claimed = trial.claimed.get(name)
    if claimed is None:
        return None
    if name in again and again[name].shape == claimed.shape:
        scale = max(largest(claimed), largest(again[name]))
        if largest(again[name] - claimed) > SAME * scale:
            factor = float(np.sum(again[name] * claimed)) / float(np.sum(claimed * claimed) or 1)
            if math.isclose(factor, 2, rel_tol=1e-6) and largest(again[name] - 2 * claimed) <= SAME * scale:
                return Finding("state", "a gradient that still holds that of the run before",
                               "a second run with the same inputs gives twice the first one's", 0)
            return Finding("noise", "noise of another draw than forward's",
                           "a second run with the same inputs and the same outputs gives another gradient", 0)
    if trial.operation.module is None or claimed.shape != trial.operation.tensors[name].shape:
        return None
    saved_first = with_saved_copies(trial)
    if saved_first is not None and name in saved_first and is_right(trial, name, saved_first[name]):
        return Finding("saved", "a backward that reads an array which was changed in place after it was saved",
                       "with a copy in its place at the time of saving, every coordinate is right", 0)
    return next(by_saved(trial, name), None)


def is_right(trial, name, gradient):
    """Is the gradient that of finite differences, up to their error?"""
    expected = trial.expected(name)
    chosen = trial.slopes_of(name).chosen(gradient) if gradient.shape == trial.slopes_of(name).shape else None
    return chosen is not None and largest(chosen - expected) <= 1e-6 * max(largest(expected), 1e-12)


def with_saved_copies(trial):
    """{tensor: gradient} where every part saves copies; None if no saved array changes before backward."""
    parts, changed = list(trial.operation.module.modules()), []

    def saving(part):
        def save(*values):
            part.saved = tuple(v.copy() if isinstance(v, np.ndarray) else v for v in values) if part.training else None
            originals.append((part, values))

        return save

    originals = []
    for part in parts:
        part.save = saving(part)
    try:
        trial.operation.forward()
        for part, values in originals:
            changed += [1 for kept, value in zip(part.saved or (), values, strict=False)
                        if isinstance(value, np.ndarray) and not np.array_equal(kept, value)]
        if not changed:
            return None
        given = {y: np.array(u) for y, u in trial.upstream.items()}
        return {n: np.array(g, float) for n, g in trial.operation.backward(given).items() if g is not None}
    finally:
        for part in parts:
            vars(part).pop("save", None)


def by_saved(trial, name):
    """Findings: backward would be right with another array in the place of one that it saved."""
    module = trial.operation.module
    if module is None or not hasattr(module, "saved"):
        return
    known = {**trial.before, **trial.outputs}
    trial.operation.forward()
    saved = module.saved or ()
    for at, value in enumerate(saved):
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            continue
        is_now = [n for n, array in known.items() if array.shape == value.shape and np.array_equal(array, value)]
        for other, array in known.items():
            if not is_now or other in is_now or array.shape != value.shape or largest(array - value) == 0:
                continue
            trial.operation.forward()
            now = list(module.saved)
            now[at] = array.copy()
            module.saved = tuple(now)
            try:
                given = {y: np.array(u) for y, u in trial.upstream.items()}
                gradient = trial.operation.backward(given).get(name)
            except Exception:  # another array in its place may well be impossible
                continue
            if gradient is not None and is_right(trial, name, np.array(gradient, float)):
                yield Finding("saved", f"the derivative with {is_now[0]} where {other} belongs",
                              f"with {other} saved in its place, every coordinate is right", 0)
    module.saved = None


def by_kink(trial, name):
    """Right, but for coordinates at which the function has a kink: there any slope between both sides' will do."""
    claimed, slopes = trial.claimed.get(name), trial.slopes_of(name)
    if claimed is None or claimed.shape != slopes.shape or not np.isfinite(claimed).all():
        return None
    chosen, central = slopes.chosen(claimed), slopes.gradient(trial.upstream)
    scale = largest(central)
    wrong = np.abs(chosen - central) > 1e-6 * scale
    half_gap = np.abs(slopes.gradient(trial.upstream, slopes.gaps)) / 2
    if not wrong.any() or (half_gap[wrong] < 1e-2 * scale / 100).any() or (
            np.abs(chosen - central)[wrong] > half_gap[wrong] * (1 + 1e-3) + 1e-6 * scale).any():
        return None
    mask = np.zeros(claimed.size, bool)
    mask[slopes.coordinates[wrong.reshape(-1)]] = True
    rng, centre = np.random.default_rng(0), outputs_of(trial.operation)
    at_kinks = [np.where(mask, rng.standard_normal(mask.shape), 0) for _ in range(8)] + [mask.astype(float)]
    for d in at_kinks:
        d = d.reshape(claimed.shape)
        sides = [one_sided(trial, name, sign * d, centre) * sign for sign in (1, -1)]
        value, margin = float(np.sum(claimed * d)), 1e-3 * max(map(abs, sides)) + 1e-6 * scale
        if not min(sides) - margin <= value <= max(sides) + margin:
            return None
    count = int(wrong.sum())
    return Finding("kink", "right but for a kink", f"at {count} of {wrong.size} coordinates the function has a kink, "
                   f"and the gradient lies between the slopes of its two sides; the others are right", 0)


def one_sided(trial, name, d, centre, step=1e-5):
    """The slope of ⟨upstream, outputs⟩ along d, from a step to one side of the outputs `centre`."""
    with trial.with_array(name, trial.operation.tensors[name] + step * d):
        moved = outputs_of(trial.operation)
    return float(sum(np.sum(u * (moved[y] - centre[y])) for y, u in trial.upstream.items())) / step


# --- noise ------------------------------------------------------------------------------------------------------------


def by_other_noise(trial, name):
    """A gradient that is linear in the noise, and has other noise in it than forward's.

    The noise that the claimed gradient implies has to be the same under other upstream gradients and for other inputs.
    """
    operation = trial.operation
    for noise in operation.noise:
        eps = trial.before[noise]
        if trial.claimed[name].shape != eps.shape or eps.size < 8:
            continue
        start = {n: t.copy() for n, t in operation.tensors.items()}
        implied = []
        for moved in range(3):
            if moved:
                for n, tensor in operation.tensors.items():
                    tensor[...] = start[n] + 0.1 * trial.rng.standard_normal(tensor.shape)
            run = Examined(operation, trial.rng)
            expected = run.expected(name)
            with np.errstate(all="ignore"):
                implied.append(run.claimed[name] * eps / expected)
        for n, tensor in operation.tensors.items():
            tensor[...] = start[n]
        if not all(np.isfinite(one).all() for one in implied):
            continue
        spread = largest(implied[0])
        alike = all(largest(one - implied[0]) <= 1e-6 * spread for one in implied[1:])
        ordinary = 0.3 < np.std(implied[0]) < 3 and spread < 6
        related = abs(np.corrcoef(implied[0].ravel(), eps.ravel())[0, 1])
        right = all(is_right(trial, n, g) for n, g in trial.claimed.items() if n != name and g is not None)
        if alike and ordinary and related < 0.8 and right:
            return Finding("noise", f"the right gradient for {noise} of another draw than forward's",
                           f"the {noise} that it implies is the same under three upstream gradients and inputs, has a "
                           f"standard deviation of {in_words(float(np.std(implied[0])))}, and is not forward's", 0)
    return None


def is_biased(claims, rights):
    """Do the means of some draws differ clearly, or is the difference too small for its mean to say anything?"""
    difference = np.array(claims) - np.array(rights)
    error = difference.std(axis=0) / math.sqrt(len(difference))
    return bool((np.abs(difference.mean(axis=0)) > 4 * error).any()
                or (difference.std(axis=0) <= 0.4 * np.abs(rights).mean(axis=0)).any())


def by_expectation(trial, name):
    """Right on average over the noise, but not for the noise that forward had."""
    operation = trial.operation
    if not operation.noise or sum(u.size for u in trial.given.values()) > MOST_OUTPUTS:
        return None
    if trial.claimed[name].shape != operation.tensors[name].shape:
        return None
    directions = trial.directions(name)
    kept = {noise: trial.before[noise] for noise in operation.noise}
    claims, rights = [], []
    try:
        for drawn in range(DRAWS):
            if drawn == FEW and is_biased(claims, rights):
                return None
            for noise, draw in operation.noise.items():
                operation.constants[noise][...] = draw(trial.rng)
            _, claimed = trial.again()
            claims.append([np.sum(claimed[name] * d) for d in directions])
            rights.append([slope_along(operation, {name: d}, trial.upstream) for d in directions])
    finally:
        for noise, values in kept.items():
            operation.constants[noise][...] = values
    claims, rights = np.array(claims), np.array(rights)
    difference = claims - rights
    error = difference.std(axis=0) / math.sqrt(DRAWS)
    unbiased = (np.abs(difference.mean(axis=0)) <= 3.5 * error).all()
    seen = np.abs(rights.mean(axis=0)) > 5 * error
    if unbiased and seen.sum() >= 2 and (difference.std(axis=0) > 0.5 * np.abs(rights).mean(axis=0)).all():
        return Finding("expectation", "right in expectation, but not for this draw of the noise",
                       f"over {DRAWS} draws its mean agrees with that of the right gradient within 3.5 standard "
                       f"errors, and for a single draw it differs", 0)
    return None

