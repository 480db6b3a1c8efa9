"""The layers of a model as a table: the kind of each, the shape of its output, its number of parameters."""

import copy

import numpy as np

from scratch.arrays import array_module, device_of, each, to_device
from scratch.module import Buffer, Parameter, Sequential

HEADINGS = ("layer", "kind", "output", "parameters")


def layers_of(model):
    """[(name, module, shape of its output or None)] of the modules that have parameters of their own or no parts, in
    the order in which they compute. The shape begins with N; of a model without images it is None."""
    model, found = copy.deepcopy(model).train(), {}
    leaves = {name: module for name, module in named_modules(model)
              if hasattr(module, "forward") and (has_parameters(module) or not module.children())
              and not isinstance(module, Sequential)}
    if model.has_images:
        for name, module in leaves.items():
            module.forward = recording(module.forward, name, found)
        value = next(iter(model.named_parameters().values())).value
        noise = model.draw_noise(2, np.random.default_rng(0))
        noise = None if noise is None else each(lambda part: to_device(part, device_of(value)), noise)
        model.forward(array_module(value).zeros((2, *model.shape), value.dtype), noise)
    silent = [name for name, module in leaves.items() if name not in found and has_parameters(module)]
    return [(name, leaves[name], found.get(name)) for name in (*found, *silent)]


def has_parameters(module):
    """Does a module itself, without its parts, hold parameters or buffers?"""
    return any(isinstance(part, Parameter) for part in vars(module).values())


def own_parameters(module):
    """How many numbers a module itself learns, without those of its parts."""
    return sum(part.value.size for part in vars(module).values()
               if isinstance(part, Parameter) and not isinstance(part, Buffer))


def recording(forward, name, found):
    """`forward` that also notes the shape of its first output as found[name]."""
    def forward_and_note(*inputs):
        outputs = forward(*inputs)
        first = outputs[0] if isinstance(outputs, tuple) else outputs
        found.setdefault(name, ("N", *first.shape[1:]) if first.ndim else ())
        return outputs

    return forward_and_note


def named_modules(module, prefix=""):
    """[(dotted name, module)] of all parts of a module."""
    found = []
    for name, part in module.children():
        found += [(prefix + name, part), *named_modules(part, f"{prefix}{name}.")]
    return found


def summary(model):
    """The table as text; its last line has the sum of the parameters."""
    rows = []
    for name, module, shape in layers_of(model):
        output = "" if shape is None else f"({', '.join(map(str, shape))})" if shape else "a number"
        count = own_parameters(module)
        rows.append((name, type(module).__name__, output, f"{count:,}" if count else ""))
    lines = [HEADINGS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    table = [f"{a:{widths[0]}}  {b:{widths[1]}}  {c:{widths[2]}}  {d:>{widths[3]}}".rstrip() for a, b, c, d in lines]
    dtype = next(iter(model.named_parameters().values())).value.dtype
    return "\n".join([*table, f"{model.parameter_count():,} parameters of {dtype}"])
