"""One run of an operation, with all that a diagnosis asks of it: claimed gradients, slopes, and altered calls."""

import math
from contextlib import contextmanager
from itertools import chain, combinations, permutations

import numpy as np

from scratch.gradcheck.diagnosis import Comparison, Finding
from scratch.gradcheck.diagnosis.comparison import axes_in_words, largest
from scratch.gradcheck.numeric import Slopes, outputs_of, slope_along

DIRECTIONS = 3
NEAR = 1e-6  # of a slope along a random direction, relative to the gradient's norm
PARTS = 12  # indices of an output's axis whose shares are told apart


class Examined:
    """A forward and a backward of an operation under random upstream gradients."""

    def __init__(self, operation, rng):
        self.operation, self.rng = operation, rng
        self.before = {name: np.array(array) for name, array in self.named_arrays().items()}
        outputs = operation.forward()
        self.outputs = {name: np.array(output, float) for name, output in outputs.items()}
        self.changed = [name for name, array in self.named_arrays().items()
                        if not np.array_equal(array, self.before[name], equal_nan=True)]
        self.upstream = {name: rng.standard_normal(np.shape(output)) for name, output in outputs.items()}
        self.given = {name: np.array(u) for name, u in self.upstream.items()}
        claimed = operation.backward(dict(self.given))
        self.claimed = {name: None if gradient is None else np.array(gradient, float)
                        for name, gradient in claimed.items()}
        self.slopes = {}

    def named_arrays(self):
        return self.operation.tensors | {
            name: array for name, array in self.operation.constants.items() if isinstance(array, np.ndarray)}

    def again(self, upstream=None):
        """(outputs, claimed gradients) of another forward and backward."""
        outputs = {name: np.array(output, float) for name, output in self.operation.forward().items()}
        given = {name: np.array(u) for name, u in (upstream or self.upstream).items()}
        return outputs, {name: np.array(g, float) for name, g in self.operation.backward(given).items()
                         if g is not None}

    def slopes_of(self, name):
        if name not in self.slopes:
            self.slopes[name] = Slopes(self.operation, name, self.rng)
        return self.slopes[name]

    def expected(self, name, upstream=None):
        return self.slopes_of(name).gradient(upstream or self.upstream)

    def numbers(self):
        """{name: number} that may stand as a factor in a gradient."""
        found = {}
        first = next((t for t in self.operation.tensors.values() if t.ndim), None)
        if first is not None:
            found["N"] = len(first)
        for name, array in chain(self.outputs.items(), list(self.operation.tensors.items())[:1]):
            if array.ndim > 1:
                found[f"elements of an example of {name}"] = math.prod(array.shape[1:])
            if array.ndim > 2:
                found[f"positions of {name}"] = math.prod(array.shape[1:-1])
                found[f"channels of {name}"] = array.shape[-1]
                found[f"examples and positions of {name}"] = math.prod(array.shape[:-1])
        unique = {}
        for name, number in found.items():  # of the sizes, one name for each number
            if all(not math.isclose(number, other) for other in unique.values()):
                unique[name] = number
        for name, number in self.operation.numbers.items():
            unique[{"temperature": "τ", "nats": "λ"}.get(name, name)] = number
        for name, number in (getattr(self.operation.module, "measured", None) or {}).items():
            unique["σ" if name == "sigma" else name] = float(number)
        return unique

    def comparison(self, name):
        """The Comparison of a tensor's claimed gradient with the numeric one."""
        slopes = self.slopes_of(name)
        claimed = self.claimed[name]
        if claimed.shape == slopes.shape:
            claimed = slopes.chosen(claimed)
        arrays = {n: a for n, a in (self.before | self.outputs).items() if a.size > 1}
        upstream = self.upstream
        if not slopes.complete:
            arrays = {n: slopes.chosen(a) for n, a in arrays.items() if a.shape == slopes.shape}
            upstream = {n: slopes.chosen(u) if np.shape(u) == slopes.shape else u for n, u in upstream.items()
                        if np.shape(u) in ((), slopes.shape)}
        others = {}
        for other, tensor in self.operation.tensors.items():
            if other != name and tensor.shape == slopes.shape and slopes.complete:
                others[other] = self.expected(other)
        return Comparison(claimed, slopes.gradient(self.upstream), arrays, upstream, self.numbers(),
                          {y: slopes.share(y, u) for y, u in self.upstream.items()}, others, name)

    # --- gradients under other upstream gradients ---

    def altered_upstream(self):
        """[(words, upstream)] of mistakes with ∂L/∂y."""
        every = []

        def add(words, change):
            every.append((words, {name: change(name, np.asarray(u)) for name, u in self.upstream.items()}))

        add("without the upstream gradient, which is taken as 1", lambda _, u: np.ones_like(u))
        add("with the upstream gradient squared", lambda _, u: u * u)
        add("with the upstream gradient's absolute value", lambda _, u: np.abs(u))
        add("with the upstream gradient's sign alone", lambda _, u: np.sign(u))
        if any(not np.array_equal(self.given[name], u) for name, u in self.upstream.items()):
            add("with the upstream gradient after backward has changed it in place", lambda name, _: self.given[name])
        for name, u in self.upstream.items():
            if np.ndim(u):
                add(f"without ∂L/∂{name}, which is taken as 1",
                    lambda n, v, name=name: np.ones_like(v) if n == name else v)
            for other, v in self.upstream.items():
                if other > name and np.shape(u) == np.shape(v):
                    swap = {name: v, other: u}
                    add(f"with ∂L/∂{name} and ∂L/∂{other} exchanged",
                        lambda n, w, swap=swap: np.asarray(swap.get(n, w)))
        for axis in range(max((np.ndim(u) for u in self.upstream.values()), default=0)):
            for words, change in (("flipped", np.flip), ("shifted by 1", lambda u, axis: np.roll(u, 1, axis)),
                                  ("shifted by −1", lambda u, axis: np.roll(u, -1, axis)),
                                  ("summed", lambda u, axis: np.broadcast_to(u.sum(axis, keepdims=True), u.shape)),
                                  ("averaged", lambda u, axis: np.broadcast_to(u.mean(axis, keepdims=True), u.shape))):
                add(f"with the upstream gradient {words} along axis {axis}",
                    lambda _, u, change=change, axis=axis: change(u, axis=axis) if np.ndim(u) > axis else u)
        for name, u in self.upstream.items():
            u = np.asarray(u)
            for order in permutations(range(u.ndim)) if u.ndim in (2, 3, 4) else ():
                if order != tuple(range(u.ndim)):
                    if tuple(u.shape[a] for a in order) == u.shape:
                        add(f"with the upstream gradient's axes in the order {order}",
                            lambda n, v, order=order, name=name: v.transpose(order) if n == name else v)
                    add("with the upstream gradient read in another order of its axes, by a reshape without its "
                        "transpose", lambda n, v, order=order, name=name:
                        v.transpose(order).reshape(v.shape) if n == name else v)
                    add("with the upstream gradient read in another order of its axes, by a reshape without its "
                        "transpose", lambda n, v, order=order, name=name:
                        v.reshape([v.shape[a] for a in order]).transpose(np.argsort(order)) if n == name else v)
        return [(words, u) for words, u in every
                if any(not np.array_equal(u[name], self.upstream[name]) for name in u)]

    def by_upstream(self, name):
        """Findings: the right gradient under another upstream gradient."""
        slopes, claimed = self.slopes_of(name), self.claimed[name]
        if claimed.shape != slopes.shape:
            return
        c = self.comparison(name)
        for at, (words, upstream) in enumerate(self.altered_upstream()):
            candidate = slopes.gradient(upstream)
            if c.fits(candidate):
                yield Finding("upstream", f"the right gradient {words}", "with it every coordinate agrees", 0.01 * at)
            elif largest(candidate) and c.fits(-candidate):
                yield Finding("upstream", f"the right gradient {words}, and with the opposite sign",
                              "with it every coordinate agrees", 1 + 0.01 * at)

    def by_index(self, name):
        """Findings: the share of one index of an output's axis is missing, or alone is there."""
        slopes = self.slopes_of(name)
        if self.claimed[name].shape != slopes.shape:
            return
        for y, u in self.upstream.items():
            for axis, length in enumerate(np.shape(u)):
                if not 2 <= length <= PARTS:
                    continue
                shares = {}
                for index in range(length):
                    only = np.zeros_like(u)
                    np.moveaxis(only, axis, 0)[index] = np.moveaxis(u, axis, 0)[index]
                    shares[index] = slopes.share(y, only)
                c = self.comparison(name)
                rest = c.expected - sum(shares.values())
                if largest(rest) > c.close:
                    continue
                for count in range(2, length - 1):  # the first of them, or the last, alone
                    for words, chosen in (("first", range(count)), ("last", range(length - count, length))):
                        share = sum(shares[index] for index in chosen)
                        if largest(share) > c.close and c.fits(share):
                            yield Finding("terms", f"the right gradient with the shares of the {words} {count} indices "
                                          f"of axis {axis} of {y} alone", "the shares of all others are missing", 0.5)
                for index, share in shares.items():
                    ends = {0: "first", length - 1: "last"}
                    which = f"the {ends[index]} index" if index in ends else f"index {index}"
                    where = f"{which} of axis {axis} of {y}"
                    if largest(share) <= c.close:
                        continue
                    if c.fits(share):
                        yield Finding("terms", f"the right gradient with the share of {where} alone",
                                      "the shares of all other indices are missing", 0)
                    if c.fits(c.expected - share):
                        yield Finding("terms", f"the right gradient without the share of {where}",
                                      "the shares of all other indices are there", 0)

    def not_added(self, name):
        """Findings: of the summands that reach a coordinate, only the first or the last is kept."""
        slopes, claimed = self.slopes_of(name), self.claimed[name]
        if not slopes.complete or claimed.shape != slopes.shape or len(self.upstream) > 1:
            return
        c = self.comparison(name)
        for y, u in self.upstream.items():
            u = np.asarray(u)
            if not 1 <= u.ndim <= 4 or u.size < 2:
                continue
            moved = slopes.central[y] * u
            tiny = 1e-6 * largest(slopes.central[y])
            reached = np.abs(slopes.central[y]) > tiny
            for together in {(), (u.ndim,), (1,), (1, u.ndim)}:  # axes whose summands are added rightly
                if len(together) >= u.ndim:
                    continue
                part, used = moved.sum(axis=together), reached.any(axis=together)
                if (used.reshape(len(used), -1).sum(axis=1) <= 1).all():
                    continue
                for order in permutations(range(1, part.ndim)):
                    flat = part.transpose(0, *order).reshape(len(part), -1)
                    mask = used.transpose(0, *order).reshape(len(part), -1)
                    for which, at in (("last", mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)),
                                      ("first", mask.argmax(axis=1))):
                        kept = np.where(mask.any(axis=1), flat[np.arange(len(flat)), at], 0).reshape(claimed.shape)
                        if c.fits(kept):
                            yield Finding("terms", "the right gradient with one summand for each coordinate, where "
                                          "several have to be added up (= in place of +=)",
                                          f"every coordinate has the {which} summand alone")
                            return

    # --- gradients of altered calls ---

    def directions(self, name):
        shape = self.operation.tensors[name].shape
        rng = np.random.default_rng(0)
        return [rng.standard_normal(shape) for _ in range(DIRECTIONS)]

    def along(self, name, upstream=None):
        """The numeric slopes of L along a few directions of a tensor."""
        return np.array([slope_along(self.operation, {name: d}, upstream or self.upstream)
                         for d in self.directions(name)])

    def claimed_along(self, name):
        return np.array([np.sum(self.claimed[name] * d) for d in self.directions(name)])

    def agrees(self, name, slopes):
        """Is the claimed gradient the one with these slopes, and not the right one?"""
        claimed, norm = self.claimed_along(name), np.linalg.norm(self.claimed[name])
        return bool(np.isfinite(slopes).all() and np.max(np.abs(claimed - slopes)) <= NEAR * norm)

    @contextmanager
    def with_array(self, name, values):
        """The operation with other values in a tensor or a constant, within the block."""
        array = self.named_arrays()[name]
        start = array.copy()
        array[...] = values
        try:
            yield
        finally:
            array[...] = start

    def altered_arrays(self):
        """[(words, name of the array, its other values)]."""
        arrays, module = self.named_arrays(), self.operation.module
        inner = {} if module is None or not module.children() else module.named_parameters()
        for name, array in arrays.items():
            if name in inner:  # in a module of parts, those know their own parameters
                continue
            if array.dtype.kind != "f" or not array.flags.writeable:
                continue
            yield f"for {name} = 0", name, np.zeros_like(array)
            yield f"for {name} = 1", name, np.ones_like(array)
            yield f"for −{name} in place of {name}", name, -array
            yield f"for |{name}| in place of {name}", name, np.abs(array)
            yield f"for {name}² in place of {name}", name, array**2
            yield f"for 2 {name} in place of {name}", name, 2 * array
            yield f"for ½ {name} in place of {name}", name, array / 2
            upstream = {f"∂L/∂{y}": u for y, u in self.upstream.items() if np.ndim(u)}
            for other, values in {**arrays, **self.outputs, **upstream}.items():
                if other != name and values.shape == array.shape:
                    yield f"for {other} in place of {name}", name, values.copy()
            axes = [axis for axis, length in enumerate(array.shape) if length > 1]
            for n in (1, 2, 3):
                for chosen in combinations(axes, n):
                    yield f"for {name} flipped along {axes_in_words(chosen)}", name, np.flip(array, chosen).copy()
            for order in permutations(range(array.ndim)) if 2 <= array.ndim <= 4 else ():
                if order != tuple(range(array.ndim)):
                    if tuple(array.shape[a] for a in order) == array.shape:
                        words = "transposed" if array.ndim == 2 else f"with its axes in the order {order}"
                        yield f"for {name} {words}", name, array.transpose(order).copy()
                    yield (f"for {name} read in another order of its axes, by a reshape without its transpose", name,
                           array.transpose(order).reshape(array.shape).copy())
                    yield (f"for {name} read in another order of its axes, by a reshape without its transpose", name,
                           array.reshape([array.shape[a] for a in order]).transpose(np.argsort(order)).copy())
            for axis in axes:
                for by in (1, -1):
                    words = f"for {name} shifted by {by} along axis {axis}".replace("-", "−")
                    yield words, name, np.roll(array, by, axis)
            inner = [axis for axis in axes if 0 < axis < array.ndim - 1]
            for chosen in chain(combinations(inner, 1), combinations(inner, 2)):
                for by in (1, -1):
                    moved = np.roll(array, by, chosen)
                    for axis in chosen:
                        np.moveaxis(moved, axis, 0)[0 if by > 0 else -1] = 0
                    yield (f"for {name} shifted by {by} along {axes_in_words(chosen)}".replace("-", "−"), name, moved)

    def by_arrays(self, name, only=None):
        """Findings: the right gradient for other values of what the operation reads. `only` are those to look for."""
        if self.claimed[name].shape != self.operation.tensors[name].shape or not largest(self.claimed[name]):
            return
        right = self.along(name)
        claimed, norm = self.claimed_along(name), np.linalg.norm(self.claimed[name])
        first, *_ = self.directions(name)
        for at, (words, changed, values) in enumerate(self.altered_arrays()):
            if only is not None and not any(what.startswith(f"the right gradient {words}") for what in only):
                continue
            with np.errstate(all="ignore"), self.with_array(changed, values):
                try:
                    slope = slope_along(self.operation, {name: first}, self.upstream)
                    if not abs(abs(slope) - abs(claimed[0])) <= NEAR * norm:
                        continue
                    slopes = self.along(name)
                except (ValueError, FloatingPointError):
                    continue
            if np.max(np.abs(slopes - right)) <= 1e3 * NEAR * np.linalg.norm(self.claimed[name]):
                continue  # it makes no difference
            for sign, more in ((1, ""), (-1, ", and with the opposite sign")):
                if self.agrees(name, sign * slopes) and np.max(np.abs(claimed - right)) > 0:
                    yield Finding("other values", f"the right gradient {words}{more}",
                                  "along three random directions the slopes agree", 0.001 * at + (sign < 0))

    def by_settings(self, name):
        """Findings: the right gradient for another value of a number that the module keeps, such as its slope."""
        module = self.operation.module
        if module is None or self.claimed[name].shape != self.operation.tensors[name].shape:
            return
        right = self.along(name)
        for attribute, value in list(vars(module).items()):
            if not isinstance(value, float) or attribute == "training":
                continue
            shown = {"nats": "λ", "temperature": "τ"}.get(attribute, attribute)
            for words, other in ((f"for {shown} = 0", 0.0), (f"for {shown} = 1", 1.0),
                                 (f"for {shown}² in place of {shown}", value**2)):
                setattr(module, attribute, other)
                try:
                    with np.errstate(all="ignore"):
                        slopes = self.along(name)
                finally:
                    setattr(module, attribute, value)
                if (np.max(np.abs(slopes - right)) > 1e3 * NEAR * np.linalg.norm(self.claimed[name])
                        and self.agrees(name, slopes)):
                    yield Finding("other values", f"the right gradient {words}",
                                  "along three random directions the slopes agree", 0)

    # --- parts that are held ---

    def by_parts(self, name, parts):
        """Findings: the share that flows through one part of the module is missing, doubled or of the opposite sign."""
        if self.claimed[name].shape != self.operation.tensors[name].shape:
            return
        right, claimed = self.along(name), self.claimed_along(name)
        norm = np.linalg.norm(self.claimed[name]) + np.linalg.norm(right)
        kinds = [(f"{y} through ", {n: u if n == y else 0 * u for n, u in self.upstream.items()})
                 for y in self.upstream] if len(self.upstream) > 1 else []
        for part, part_name in parts.items():
            for of_term, upstream in [("", self.upstream), *kinds]:
                with self.held(part):
                    held = self.along(name, upstream)
                share = self.along(name, upstream) - held
                if np.max(np.abs(share)) <= 1e-4 * norm or (not of_term and np.max(np.abs(held)) <= 1e-4 * norm):
                    continue
                factor = float(share @ (claimed - right)) / float(share @ share)
                if np.max(np.abs(right + factor * share - claimed)) > NEAR * norm:
                    continue
                words = {-1: "without the share", 1: "with twice the share", -2: "with the opposite sign of the share",
                         -0.5: "with half of the share"}
                known = next((w for number, w in words.items() if math.isclose(factor, number, rel_tol=1e-5)), None)
                if known:
                    yield Finding("terms", f"the right gradient {known} of {of_term}{part_name}",
                                  f"along three random directions that share counts {1 + round(factor, 4):g} times in "
                                  f"place of once".replace("-", "−"), bool(of_term))

    @contextmanager
    def held(self, part):
        """One part of the module gives the outputs of the first call, whatever it receives."""
        call, own, kept = part.forward, vars(part).get("forward"), []

        def first_result(*inputs):
            if not kept:
                result = call(*inputs)
                kept.append(result.copy() if isinstance(result, np.ndarray) else result)
            return kept[0]

        part.forward = first_result
        try:
            outputs_of(self.operation)
            yield
        finally:
            delattr(part, "forward") if own is None else setattr(part, "forward", own)
            for one in self.operation.module.modules():
                one.saved = None

