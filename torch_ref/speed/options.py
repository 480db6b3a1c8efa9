"""The options of a measurement are those of `train`: a preset, and what overrides it."""

from scratch.options.models import preset_for
from scratch.options.training import DEFAULTS


def options_of(model, preset, **chosen):
    """{name: value} of every option of a run; `chosen` overrides the preset.

    Raises InputError for an unknown preset.
    """
    options = {**DEFAULTS, **preset_for(model, preset), "preset": preset, "model": model, **chosen}
    return {**options, **{name: list(options[name]) for name in ("channels", "widths")}}
