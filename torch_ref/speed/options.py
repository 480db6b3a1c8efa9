"""The options of a measurement are those of `train`: a preset, and what overrides it."""

from scratch.options.resolve import resolve


def options_of(model, preset, **chosen):
    """{name: value} of every option of a run; `chosen` overrides the preset. Raises InputError."""
    return resolve(model, {"preset": preset, **{name: value for name, value in chosen.items() if value is not None}})
