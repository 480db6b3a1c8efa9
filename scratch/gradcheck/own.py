"""`diagnose`: the check of one's own forward and backward."""

import inspect
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from scratch.gradcheck.blame import of_error, place_of
from scratch.gradcheck.calls import JITTER, like_result, named_outputs
from scratch.gradcheck.differences import Operation, attempt
from scratch.gradcheck.properties import KINDS
from scratch.gradcheck.surrogates import held_straight_through
from scratch.gradcheck.table import FINITE_DIFFERENCES, Row, failures, rows_of, summary, table
from scratch.module import Module
from scratch.options.errors import InputError


@dataclass
class Report:
    """What `diagnose` found. str() is the table with the failures under it.

    rows       a Row for each tensor: its difference, whether it is ok, and its Finding
    ok         True if every gradient is right
    findings   {tensor: Finding} of those gradients whose mistake has a name
    """

    rows: list = field(default_factory=list)

    @property
    def ok(self):
        return all(row.ok for row in self.rows)

    @property
    def findings(self):
        return {row.tensor: row.finding for row in self.rows if row.finding}

    def __str__(self):
        columns = (FINITE_DIFFERENCES,)
        parts = (table(self.rows, columns), failures(self.rows), summary(self.rows, columns))
        return "\n\n".join(part for part in parts if part)

    __repr__ = __str__


def diagnose(forward, backward=None, /, *, constants=None, noise=None, kind=None, name="", seed=0, **tensors):
    """Check one's own backward against finite differences of one's own forward, and say what a mistake looks like.

    For two functions, in five lines:

        from scratch.gradcheck import diagnose

        def forward(x, w): return x @ w
        def backward(dy): return dy @ w.T, x.T @ dy
        print(diagnose(forward, backward, x=x, w=w))

    Here x and w are float64 arrays, which forward receives as keywords; backward returns a gradient for each, in the
    order in which they are given, or a dict by name. If forward returns (y, cache) and backward has a second parameter
    named `cache`, it receives the cache. For an object with a forward and a backward, such as a Module, give it in
    their place: `diagnose(Linear(4, 3, dtype=np.float64), x=x)`; a Module's parameters are checked, too.

    tensors     {name: array} to differentiate by; floating-point, computed in float64
    constants   {name: value} that forward reads besides, such as a target or a temperature
    noise       {name: array, or a function of a NumPy generator that draws one}; an array counts as draws of N(0, 1)
    kind        "reparameterize", "gaussian_kl", "categorical_kl" or "gumbel_softmax": forward's values are checked as
                well, because a wrong model can have right gradients
    seed        of the upstream gradients and directions, which are random

    forward may return an array, a tuple of arrays, or a dict of them; backward receives as many upstream gradients.
    Returns a Report. Raises InputError for tensors that are no floating-point arrays, or names that forward lacks.
    """
    if not tensors:
        raise InputError("diagnose takes the tensors to differentiate by as keywords, such as x=x; none was given.")
    if kind is not None and kind not in KINDS:
        raise InputError(f"kind takes {', '.join(KINDS)}; {kind!r} was given.")
    layer = forward if hasattr(forward, "forward") else None
    if layer is None and not callable(backward):
        raise InputError("diagnose takes a forward and a backward, or an object that has both.")
    call = layer.forward if layer is not None else forward
    rng = np.random.default_rng([seed, 1])
    draws = {n: value if callable(value) else normal_of(np.shape(value)) for n, value in (noise or {}).items()}
    fixed = {**(constants or {}), **{n: draws[n](rng) if callable(value) else value
                                     for n, value in (noise or {}).items()}}
    arrays = {n: checked(n, value) for n, value in tensors.items()}
    fixed = {n: np.array(value, float) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
             for n, value in fixed.items()}
    if unknown := [n for n in (arrays | fixed) if not accepts(call, n)]:
        raise InputError(f"forward has no parameter {unknown[0]!r}: it takes {', '.join(named_parameters(call))}.")

    operation = operation_of(layer if layer is not None else SimpleNamespace(forward=forward, backward=backward),
                             arrays, fixed, draws)
    shown = name or (type(layer).__name__ if layer is not None else getattr(forward, "__name__", "forward"))
    case = SimpleNamespace(name=shown, detail="")
    try:
        trial = attempt(operation, rng)
    except Exception as error:  # whatever one's own code raises
        return Report([Row(shown, "", "", (), {}, False, of_error(error))])
    report = Report(rows_of(case, trial, rng, (FINITE_DIFFERENCES,)))
    if kind is not None:
        names = list(arrays | fixed)
        reason = KINDS[kind](lambda *given: call(**dict(zip(names, given, strict=False))))
        if reason:
            report.rows.append(Row(shown, "", "forward", (), {}, False, reason, where=place_of(operation, "forward")))
    return report


def normal_of(shape):
    """A function of a generator that draws from N(0, 1)."""
    return lambda rng: rng.standard_normal(shape)


def checked(name, value):
    """A float64 copy of a tensor, contiguous."""
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        given = f"{value.dtype} array" if isinstance(value, np.ndarray) else type(value).__name__
        raise InputError(f"{name} has to be an array of floating-point numbers; a {given} was given: convert it with "
                         f"np.asarray({name}, float).")
    return np.array(value, np.float64, order="C")


def named_parameters(call):
    """The names of what a function takes, in order."""
    return list(inspect.signature(call).parameters)


def accepts(call, name):
    """Does a function take an argument of this name?"""
    parameters = inspect.signature(call).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def operation_of(layer, tensors, constants, draws):
    """The Operation of a layer's forward(**tensors, **constants) and backward."""
    module = layer if isinstance(layer, Module) else None
    parameters = module.named_parameters() if module is not None else {}
    order = [n for n, _ in zip(named_parameters(layer.forward), tensors | constants, strict=False)
             if n in tensors | constants]
    takes_cache = "cache" in named_parameters(layer.backward)
    last = {}

    def forward():
        given = tensors | constants
        in_order = module is not None and len(order) == len(given)
        result = layer.forward(*(given[n] for n in order)) if in_order else layer.forward(**given)
        if takes_cache:
            *result, last["cache"] = result
            result = result[0] if len(result) == 1 else tuple(result)
        last["result"] = result
        return named_outputs(result)

    def backward(upstream):
        if module is not None:
            module.zero_grad()
        cache = (last["cache"],) if takes_cache else ()
        found = layer.backward(*like_result(last["result"], upstream), *cache)
        if not isinstance(found, dict):
            found = found if isinstance(found, tuple | list) else [found]
            if len(found) < len(tensors) and module is None:
                raise ValueError(f"backward returned {len(found)} gradients, expected one for each of "
                                 f"{', '.join(tensors)}")
            found = dict(zip(tensors, found, strict=False))
        return found | {name: parameter.gradient() for name, parameter in parameters.items()}

    def another(rng):
        moved = {n: t + JITTER * (np.std(t) or 1.0) * rng.standard_normal(t.shape) for n, t in tensors.items()}
        return operation_of(layer, moved, constants, draws)

    numbers = {n: float(value) for n, value in constants.items() if isinstance(value, int | float)}
    surrogate = held_straight_through(module, forward) if module is not None else None
    return Operation(tensors | {n: p.value for n, p in parameters.items()}, forward, backward, dict(constants), module,
                     surrogate, numbers, draws, another, {"forward": layer.forward, "backward": layer.backward})
