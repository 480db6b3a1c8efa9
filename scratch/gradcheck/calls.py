"""An Operation from a module, or from any object or pair of functions with a forward and a backward, and its inputs."""

import inspect
from contextlib import contextmanager

import numpy as np

from scratch.gradcheck.differences import Operation
from scratch.gradcheck.surrogates import held_straight_through
from scratch.losses import Reconstruction
from scratch.module import Module

JITTER = 0.01  # how far another call's inputs lie from the first one's, relative to their spread


def is_float_array(value):
    """Is the value a NumPy array of floating-point numbers?"""
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def named_outputs(result):
    """{name: output} of what a forward returns: an array, a tuple of arrays and dicts, or a dict."""
    if isinstance(result, dict):
        return dict(result)
    if not isinstance(result, tuple | list):
        return {"y": result}
    named, plain = {}, [part for part in result if not isinstance(part, dict)]
    for part in result:
        if isinstance(part, dict):
            named |= part
        else:
            named["y" if len(plain) == 1 else f"y{len(named)}"] = part
    return named


def like_result(result, upstream):
    """The positional arguments of backward: the upstream gradients in the form of what forward returned."""
    if isinstance(result, dict):
        return [upstream]
    parts, names = [], iter(upstream)
    for part in result if isinstance(result, tuple | list) else [result]:
        parts.append({next(names): upstream[name] for name in part} if isinstance(part, dict)
                     else upstream[next(names)])
    return parts


def of_call(module, *inputs, method="forward"):
    """The Operation of module.method(*inputs) and module.backward, with the module's parameters.

    backward's gradients belong to the first inputs that are floating-point arrays; all other inputs are constants.
    """
    call = getattr(module, method)
    parameters_of_call = [p.name for p in inspect.signature(call).parameters.values()]
    named = dict(zip(parameters_of_call, (v.copy() if is_float_array(v) else v for v in inputs), strict=False))
    result = call(*named.values())
    outputs = named_outputs(result)
    ones = {name: np.ones_like(output) if np.ndim(output) else 1.0 for name, output in outputs.items()}
    module.zero_grad()
    returned = module.backward(*like_result(result, ones))
    returned = returned if isinstance(returned, tuple | list) else [returned]
    returned = [gradient for gradient in returned if gradient is not None]
    floats = [name for name, value in named.items() if is_float_array(value)]
    tensors = {name: named[name] for name in floats[:len(returned)]}
    parameters = module.named_parameters()

    def backward(upstream):
        module.zero_grad()
        found = module.backward(*like_result(result, upstream))
        found = found if isinstance(found, tuple | list) else [found]
        gradients = dict(zip(tensors, found, strict=False))
        return gradients | {name: parameter.gradient() for name, parameter in parameters.items()}

    def another(rng):
        """With other inputs, and without the last example where all inputs have as many."""
        counts = {len(v) for v in named.values() if is_float_array(v) and v.ndim}
        fewer = slice(None, -1 if len(counts) == 1 and min(counts) > 2 else None)
        moved = [(v + JITTER * np.std(v) * rng.standard_normal(v.shape))[fewer] if is_float_array(v) and v.ndim else v
                 for v in named.values()]
        return of_call(module, *moved, method=method)

    def forward():
        return named_outputs(getattr(module, method)(*named.values()))

    constants = {name: value for name, value in named.items() if name not in tensors and is_float_array(value)}
    numbers = {name: float(value) for name, value in named.items() if isinstance(value, float)}
    return Operation(tensors | {name: parameter.value for name, parameter in parameters.items()}, forward, backward,
                     constants, module, held_straight_through(module, forward), numbers, another=another)


@contextmanager
def recorded(module):
    """A dict {part: (method, inputs)} that is filled with the first call of every part of the module in the block."""
    found, before = {}, {}
    for part in list(module.modules())[1:]:
        for method in ("forward", "loss") if isinstance(part, Reconstruction) else ("forward",):
            if hasattr(part, method):
                before[part, method] = vars(part).get(method)
                setattr(part, method, watched(part, method, getattr(part, method), found))
    try:
        yield found
    finally:
        for (part, method), own in before.items():
            delattr(part, method) if own is None else setattr(part, method, own)


def watched(part, method, call, found):
    """`call`, which at its first call notes in found[part] the method and copies of what it was given."""
    def first_noted(*inputs):
        if part not in found:
            found[part] = method, [value.copy() if is_float_array(value) else value for value in inputs]
        return call(*inputs)

    return first_noted


def names_of_parts(module: Module, prefix=""):
    """{part: dotted name} of every part of a module."""
    found = {}
    for name, child in module.children():
        found.setdefault(child, prefix + name)
        for part, inner in names_of_parts(child, f"{prefix}{name}.").items():
            found.setdefault(part, inner)
    return found
