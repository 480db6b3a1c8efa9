"""Run folders written before this program, brought to what it writes: every default of an older folder stands here."""

from argparse import ArgumentParser, ArgumentTypeError

from scratch.options.errors import InputError
from scratch.options.models import check_model_options, foreign_options
from scratch.options.presets import CODEBOOK, MODEL_OPTIONS, PRESETS, RATE
from scratch.options.training import DEFAULTS, add_train_arguments

# What an option was before there was one.
OLDER = {
    **CODEBOOK,
    **RATE,
    "network": "convolution",
    "weight_init": "uniform",
    "norm": "none",
    "sparsity": 0.0,
    "corruption": None,
    "data_variance": 1.0,
    "widths": [400],
    "hidden": 128,
    "residual_blocks": 2,
    "residual_channels": 32,
    "halvings": 2,
    "optimizer": "adam",
    "momentum": 0.9,
    "weight_decay": 0.0,
    "workers": None,
    "plain": False,
    "steps": None,
    "log_steps": None,
    "image_size": None,
    "limit": None,
}
LARGEST = 2**31 - 1  # of an option that counts something


def migrated(config):
    """A config with every option of its model, checked. Raises InputError, with `option` set where it is about one.

    Options of other models, which older folders held too, are left out.
    """
    options, model = config["options"], config["options"].get("model")
    if model not in list(MODEL_OPTIONS):
        raise InputError(f"is {model!r}; expected {' or '.join(MODEL_OPTIONS)}", "model")
    foreign = foreign_options(model)
    options = {name: value for name, value in {**OLDER, **options}.items() if name not in foreign}
    return {**config, "options": check_options(options)}


def migrated_position(position):
    """A position with the means over steps, which older folders have none of."""
    if not isinstance(position, dict) or "step_means" in position:
        return position
    return {**position, "step_means": {"step": 0, "sums": {}}}


def check_options(options):
    """The options of a model, as train's declarations allow them. Raises InputError."""
    parser = ArgumentParser(add_help=False)
    add_train_arguments(parser)
    declared = {action.dest: action for action in parser._actions}
    model = options["model"]
    known = {"model", *DEFAULTS, *PRESETS["small"]} - foreign_options(model)
    for name in sorted(known - options.keys()):
        raise InputError("is missing: every option of the model is expected", name)
    for name, value in options.items():
        if name not in known:
            raise InputError(f"is unknown; {model} has {', '.join(sorted(known))}", name)
        if not allowed(name, value, declared[name]):
            raise InputError(f"is {str(value)[:40]!r}; expected {expected(declared[name])}", name)
    if options["epochs"] is None and options["steps"] is None:
        raise InputError("is null, and so is steps: one of them says when training ends", "epochs")
    check_model_options(model, {}, {**DEFAULTS, **PRESETS["small"], **options})
    return options


def allowed(name, value, action):
    """Would the command line give this value, from the text that stands for it?"""
    if value is None:
        return name in ("epochs", "steps") or {**DEFAULTS, **PRESETS["small"]}[name] is None
    if action.nargs == 0:
        return isinstance(value, bool)
    if isinstance(value, bool) or (name != "seed" and isinstance(value, int) and value > LARGEST):
        return False
    if action.type is None:
        return isinstance(value, str) and (action.choices is None or value in action.choices)
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    try:
        read = action.type(text)
    except (ArgumentTypeError, ValueError, OverflowError):
        return False
    if isinstance(read, tuple):
        return isinstance(value, list) and all(type(part) is int and part <= LARGEST for part in value)
    whole = isinstance(read, int) and type(value) is not int
    return read == value and not whole


def expected(action):
    """What an option may be, in words."""
    return " or ".join(map(repr, action.choices)) if action.choices else action.help or "what train takes"
