"""Folders of older versions of this program: what they lack is added here, and only here."""

from scratch.models.system import find_system, systems
from scratch.options.resolve import checked, run_options

# Options that older folders lack. They were trained with what are now the defaults.
LATER = (
    "codebook_update", "ema_decay", "restart_after", "entropy_weight", "entropy_temperature", "code_metric",
    "straight_through", "free_bits", "capacity", "network", "weight_init", "norm", "sparsity", "corruption",
    "data_variance", "widths", "hidden", "residual_blocks", "residual_channels", "halvings", "optimizer", "momentum",
    "weight_decay", "decay", "clip_norm", "patch", "width", "heads",
    "blocks", "code_groups", "workers", "plain", "steps", "log_steps", "image_size", "limit", "drawn", "without",
    "skip_unreadable", "keep", "patience", "tensorboard",
)


def migrated(config):
    """A config with every option of its model, checked. Raises InputError, with `option` set if it is about one.

    Older folders also held options of other models. These are left out.
    """
    options = config["options"]
    system = find_system(options.get("model"))
    known = run_options(system)
    elsewhere = {name for other in systems().values() for name in run_options(other)} - known.keys()
    options = {name: value for name, value in options.items() if name not in elsewhere}
    older = {name: known[name].default for name in LATER if name in known and name not in options}
    return {**config, "options": checked({**older, **options})}


def migrated_position(position):
    """A position with the means over steps, which older folders lack."""
    if not isinstance(position, dict) or "step_means" in position:
        return position
    return {**position, "step_means": {"step": 0, "sums": {}}}
