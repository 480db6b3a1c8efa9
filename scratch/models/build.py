"""`build`: a model by its name and its options."""

import numpy as np

from scratch.arrays import is_integer
from scratch.models.system import find_system
from scratch.options.errors import InputError
from scratch.options.resolve import model_options, resolve_model


def build(model, shape, options, *, dtype=np.float32, rng=None):
    """A new Model, whose attributes `options` and `shape` say what it was built from.

    model     the name of a system
    shape     the shape of an example, (H, W, C) for images
    options   {name: value} of the model's options (docs/reference/options.md) and, optionally, of `preset`; options
              that are not given have the preset's values, or their defaults
    rng       a NumPy generator, from which the weights are drawn

    Raises InputError for an unknown name, a value of another kind, options that exclude each other, and images that the
    networks cannot take.
    """
    return build_resolved(resolve_model(model, options), shape, dtype=dtype, rng=rng)


def build_resolved(options, shape, *, dtype, rng):
    """The Model that `options` describe, which hold a value for each option of a model, and may hold those of a run."""
    system, shape = find_system(options["model"]), checked_shape(shape)
    system.check_shape(shape)
    built = system.build(shape, options, dtype=np.dtype(dtype), rng=rng)
    built.options = {name: options[name] for name in ("model", *model_options(system), "preset")}
    built.shape = shape
    return built


def checked_shape(shape):
    """The shape of an example as a tuple. Raises InputError where it is none."""
    sides = tuple(shape) if isinstance(shape, tuple | list) else ()
    if not sides or not all(is_integer(side) and side >= 1 for side in sides):
        raise InputError(f"expected the shape of an example, integers ≥ 1 such as (32, 32, 3), got {shape!r}.", "shape")
    return tuple(map(int, sides))
