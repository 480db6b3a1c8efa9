"""The options of `train`: those of the model (model_options.py), of the data, and of how it is trained."""

from data_utils import NAMES
from scratch.options.errors import InputError
from scratch.options.kinds import real, schedule, whole
from scratch.options.models import DEFAULTS as MODEL_DEFAULTS
from scratch.options.models import (
    add_model_arguments,
    check_dependent_options,
    check_model_options,
    foreign_options,
    preset_for,
)
from scratch.options.presets import MODEL_OPTIONS, PRESETS

DEFAULTS = {
    "preset": "small",
    "data": "shapes",
    "data_root": "data",
    "image_size": None,
    "limit": None,
    "seed": 0,
    "device": "cpu",
    "dtype": "float32",
    **MODEL_DEFAULTS,
    "optimizer": "adam",
    "momentum": 0.9,
    "weight_decay": 0.0,
    "workers": None,
    "plain": False,
    "steps": None,
    "log_steps": None,
}
MAY_CHANGE_ON_RESUME = ("epochs", "steps", "device", "data_root", "workers", "plain")


def add_data_arguments(parser, default_data=None):
    """What says which images are meant."""
    data = f"{', '.join(NAMES[:-1])} or {NAMES[-1]}"
    parser.add_argument("--data", metavar="NAME", help=f"{data} (default: {default_data or 'shapes'})")
    parser.add_argument("--data-root", metavar="DIR", help="folder of torchvision's sets (default: data)")
    parser.add_argument("--download", action="store_true", help="fetch a torchvision set that is not there")
    parser.add_argument("--limit", type=whole(1), metavar="N", help="use the first N images of each split")


def add_train_arguments(parser):
    """All that `train` takes. Nothing has a default here, so that what was given can be told from what was not."""
    parser.add_argument("model", nargs="?", help=", ".join(MODEL_OPTIONS))
    add_data_arguments(parser)
    parser.add_argument("--image-size", type=whole(1), metavar="PIXELS", help="side of the images")
    parser.add_argument("--epochs", type=whole(1), metavar="N", help="epochs in all, those before a --resume included")
    parser.add_argument("--steps", type=whole(1), metavar="N", help="updates in all, in place of --epochs")
    parser.add_argument("--log-steps", type=whole(1), metavar="L", help="means over every L updates go to steps.jsonl")
    parser.add_argument("--batch-size", type=whole(1), metavar="N")
    parser.add_argument("--lr", type=schedule(0, inclusive=False), metavar="RATE",
                        help="learning rate: a number, or a schedule such as cosine:1e-3:1e-5:10000 (steps)")
    parser.add_argument("--optimizer", choices=("adam", "sgd"), help="(default: adam)")
    parser.add_argument("--momentum", type=real(0), help="of sgd (default: 0.9)")
    parser.add_argument("--weight-decay", type=real(0), help="decoupled, as AdamW's (default: 0)")
    parser.add_argument("--seed", type=whole(0), metavar="N", help="of weights, order and noise (default: 0)")
    parser.add_argument("--device", metavar="NAME", help="cpu (default), gpu or gpu:N")
    parser.add_argument("--workers", type=whole(1), metavar="N",
                        help="threads that share a batch on the CPU (default: one for 16 images, as far as cores go)")
    parser.add_argument("--plain", action="store_true", default=None,
                        help="leave out all that makes the plain forms faster (scratch/accelerate)")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="(default: float32)")
    parser.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/MODEL-PRESET-DATA)")
    parser.add_argument("--resume", metavar="RUN", help="continue this run with its own options")
    add_model_arguments(parser)


def given(arguments):
    """{option: value} of what stood on the command line."""
    known = {"model", *DEFAULTS, *PRESETS["small"]}
    return {name: value for name, value in vars(arguments).items() if name in known and value is not None}


def with_one_end(options, chosen):
    """The options under what was chosen, where --steps takes the place of --epochs or the other way round."""
    if {"steps", "epochs"} <= chosen.keys():
        raise InputError("--steps and --epochs both say when training ends: leave one of them out.")
    one_end = {"epochs": None} if "steps" in chosen else {"steps": None} if "epochs" in chosen else {}
    return {**options, **one_end, **chosen}


def resolve(arguments):
    """Every option of a new run: the defaults, under the preset, under what was given. Raises InputError."""
    chosen = given(arguments)
    model = chosen.get("model")
    if model not in MODEL_OPTIONS:
        raise InputError(f"train what? {model!r} is no model: choose {', '.join(MODEL_OPTIONS)}." if model
                         else f"train needs a model ({', '.join(MODEL_OPTIONS)}), or --resume RUN.")
    recipe = preset_for(model, chosen.get("preset", DEFAULTS["preset"]))
    options = with_one_end({**DEFAULTS, **recipe}, chosen)
    check_dependent_options("optimizer", chosen, options)
    check_model_options(model, chosen, options)
    options = {name: value for name, value in options.items() if name not in foreign_options(model)}
    return {**options, **{name: list(options[name]) for name in ("channels", "widths")}}


def resolve_resumed(arguments, options):
    """The options of a resumed run: its own, but for what may change. Raises InputError for anything else given."""
    chosen = given(arguments)
    for name in chosen:
        if name not in MAY_CHANGE_ON_RESUME:
            what = "a model" if name == "model" else f"--{name.replace('_', '-')}"
            raise InputError(f"a resumed run keeps its own options: {what} cannot be given with --resume "
                             f"(--epochs, --steps, --device, --data-root, --workers and --plain can).")
    if arguments.out:
        raise InputError("a resumed run stays in its own folder: --out cannot be given with --resume.")
    return with_one_end({**DEFAULTS, **options}, chosen)
