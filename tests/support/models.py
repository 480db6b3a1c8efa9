"""Models for tests, from one dict of options for all systems: each receives the options that it has."""

import numpy as np

from scratch.models.build import build as build_model
from scratch.models.system import find_system
from scratch.options.option import Choice
from scratch.options.resolve import model_options, resolve
from scratch.options.resolve import run_options as every_run_option


def options_of(model, options):
    """The options that the model has, that count beside the others and that differ from the defaults."""
    known = model_options(find_system(model))
    chosen = {name: value for name, value in options.items() if name in known and value != known[name].default}
    for option in known.values():
        if not isinstance(option.kind, Choice):
            continue
        choice = chosen.get(option.name, option.default)
        counting = {name: {sub.name for sub in option.kind.options_of(name)} for name in option.kind.names}
        idle = set().union(*counting.values()) - counting.get(choice, set())
        chosen = {name: value for name, value in chosen.items() if name not in idle}
    return chosen


def run_options_of(model, options):
    """Those of the options that a run of the model has; of the model's own as `options_of` picks them."""
    own, known = model_options(find_system(model)), every_run_option(find_system(model))
    return {**{name: value for name, value in options.items() if name in known and name not in own},
            **options_of(model, options)}


def build(model, image_shape, options, *, dtype=np.float32, rng=None):
    """scratch's model, from the options that it has."""
    return build_model(model, image_shape, options_of(model, options), dtype=dtype, rng=rng)


def run_options(model, **given):
    """Every option of a run, such as those of a preset."""
    return resolve(model, given)
