"""`build`: a model by its name and its options."""

import numpy as np

from scratch.models.system import find_system
from scratch.options.resolve import resolve_model


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
    resolved, system = resolve_model(model, options), find_system(model)
    system.check_shape(shape)
    built = system.build(tuple(shape), resolved, dtype=np.dtype(dtype), rng=rng)
    built.options, built.shape = resolved, tuple(shape)
    return built
