"""The options of `train`: what the command line takes, what a preset fills in, and which belong to which model."""

import argparse
import math

from scratch.bottlenecks.vector_quantizer import CODEBOOK_INITS
from scratch.errors import UsageError
from scratch.losses import LIKELIHOODS
from scratch.presets import MODEL_OPTIONS, PRESETS, recipe
from scratch.schedules import Schedule

DEFAULTS = {
    "preset": "small",
    "data": "shapes",
    "data_root": "data",
    "image_size": None,
    "limit": None,
    "seed": 0,
    "device": "cpu",
    "dtype": "float32",
    "likelihood": "squared_error",
    "optimizer": "adam",
    "momentum": 0.9,
    "weight_decay": 0.0,
    "workers": None,
    "plain": False,
}
MAY_CHANGE_ON_RESUME = ("epochs", "device", "data_root", "workers", "plain")


def whole(least):
    """A parser of whole numbers of at least `least`."""

    def parse(text):
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {least}")
        return value

    return parse


def real(least, inclusive=True):
    """A parser of finite numbers above `least`, or of it too where `inclusive`."""

    def parse(text):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < least or (value == least and not inclusive):
            raise argparse.ArgumentTypeError(f"{text!r} is no number {'of at least' if inclusive else 'above'} {least}")
        return value

    return parse


def schedule(least, inclusive=True, ends_inclusive=True):
    """A parser of numbers as `real` takes them, or of a schedule, which stays text, between numbers of at least `least`
    (above it, where `ends_inclusive` is False).
    """
    number = real(least, inclusive)

    def parse(text):
        if ":" not in text:
            return number(text)
        try:
            ends = Schedule(text).start, Schedule(text).end
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        for end in ends:
            real(least, ends_inclusive)(str(end))
        return text

    return parse


def widths(text):
    """A parser of channel counts such as 32,64,128."""
    return tuple(whole(1)(part) for part in text.split(","))


def add_data_arguments(parser, default_data=None):
    """What says which images are meant."""
    data = "shapes, cifar10, mnist, fashion-mnist, svhn or folder:PATH"
    parser.add_argument("--data", metavar="NAME", help=f"{data} (default: {default_data or 'shapes'})")
    parser.add_argument("--data-root", metavar="DIR", help="folder of torchvision's sets (default: data)")
    parser.add_argument("--download", action="store_true", help="fetch a torchvision set that is not there")
    parser.add_argument("--limit", type=whole(1), metavar="N", help="use the first N images of each split")


def add_train_arguments(parser):
    """All that `train` takes. Nothing has a default here, so that what was given can be told from what was not."""
    parser.add_argument("model", nargs="?", help="ae, vae, vqvae or dvae")
    parser.add_argument("--preset", help="small (default) or article")
    add_data_arguments(parser)
    parser.add_argument("--image-size", type=whole(1), metavar="PIXELS", help="side of the images")
    parser.add_argument("--epochs", type=whole(1), metavar="N", help="epochs in all, those before a --resume included")
    parser.add_argument("--batch-size", type=whole(1), metavar="N")
    parser.add_argument("--lr", type=schedule(0, inclusive=False), metavar="RATE",
                        help="learning rate: a number, or a schedule such as cosine:1e-3:1e-5:10000 (steps)")
    parser.add_argument("--optimizer", choices=("adam", "sgd"), help="(default: adam)")
    parser.add_argument("--momentum", type=real(0), help="of sgd (default: 0.9)")
    parser.add_argument("--weight-decay", type=real(0), help="decoupled, as AdamW's (default: 0)")
    parser.add_argument("--seed", type=whole(0), metavar="N", help="of weights, order and noise (default: 0)")
    parser.add_argument("--device", metavar="NAME", help="cpu (default), gpu or gpu:N")
    parser.add_argument("--workers", type=whole(1), metavar="N",
                        help="threads that share a batch on the CPU (default: one for 32 images, as far as cores go)")
    parser.add_argument("--plain", action="store_true", default=None,
                        help="leave out all that makes the plain forms faster (scratch/accelerate)")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="(default: float32)")
    parser.add_argument("--likelihood", choices=tuple(LIKELIHOODS), help="(default: squared_error)")
    parser.add_argument("--channels", type=widths, metavar="C,C,C", help="of the convolutions, one for each halving")
    parser.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/MODEL-PRESET-DATA)")
    parser.add_argument("--resume", metavar="RUN", help="continue this run with its own options")
    ae = parser.add_argument_group("ae and vae")
    ae.add_argument("--latent-dim", type=whole(1), metavar="Z", help="numbers in the code of an image")
    vae = parser.add_argument_group("vae")
    vae.add_argument("--beta", type=real(0), help="weight of the KL term")
    discrete = parser.add_argument_group("vqvae and dvae")
    discrete.add_argument("--codes", type=whole(1), metavar="K", help="vectors in the codebook")
    discrete.add_argument("--code-dim", type=whole(1), metavar="D", help="numbers in a vector of the codebook")
    discrete.add_argument("--codebook-init", choices=CODEBOOK_INITS)
    vqvae = parser.add_argument_group("vqvae")
    vqvae.add_argument("--commitment", type=real(0), metavar="BETA", help="weight of the commitment term")
    dvae = parser.add_argument_group("dvae")
    dvae.add_argument("--temperature", type=schedule(0, inclusive=False, ends_inclusive=False), metavar="TAU",
                      help="of the relaxed draw: a number, or a schedule such as exponential:1:0.0625:5000 (steps)")
    dvae.add_argument("--kl-weight", type=schedule(0), metavar="BETA",
                      help="weight of the KL term: a number, or a schedule such as linear:0:1:5000 (steps)")
    dvae.add_argument("--hard", action="store_true", default=None,
                      help="give the decoder one code at a time in training too, with the relaxed draw's gradient")


def given(arguments):
    """{option: value} of what stood on the command line."""
    known = {"model", *DEFAULTS, *PRESETS["small"]}
    return {name: value for name, value in vars(arguments).items() if name in known and value is not None}


def resolve(arguments):
    """Every option of a new run: the defaults, under the preset, under what was given. Raises UsageError."""
    chosen = given(arguments)
    model, preset = chosen.get("model"), chosen.get("preset", DEFAULTS["preset"])
    if model not in MODEL_OPTIONS:
        raise UsageError(f"train what? {model!r} is no model: choose {', '.join(MODEL_OPTIONS)}." if model
                         else f"train needs a model ({', '.join(MODEL_OPTIONS)}), or --resume RUN.")
    if preset not in PRESETS:
        raise UsageError(f"unknown preset {preset!r}: choose {' or '.join(PRESETS)}.")
    every_model_option = {name for names in MODEL_OPTIONS.values() for name in names}
    foreign = every_model_option - set(MODEL_OPTIONS[model])
    for name in sorted(foreign & chosen.keys()):
        owners = " and ".join(owner for owner, names in MODEL_OPTIONS.items() if name in names)
        raise UsageError(f"--{name.replace('_', '-')} is an option of {owners}; {model} has none such.")
    options = {**DEFAULTS, **recipe(preset, model), **chosen}
    for name, owner in (("momentum", "sgd"), ("weight_decay", "adam")):
        if name in chosen and options["optimizer"] != owner:
            raise UsageError(f"--{name.replace('_', '-')} is an option of --optimizer {owner}; "
                             f"{options['optimizer']} has none such.")
    options = {name: value for name, value in options.items() if name not in foreign}
    return {**options, "channels": list(options["channels"])}


def resolve_resumed(arguments, options):
    """The options of a resumed run: its own, but for what may change. Raises UsageError for anything else given."""
    chosen = given(arguments)
    for name in chosen:
        if name not in MAY_CHANGE_ON_RESUME:
            what = "a model" if name == "model" else f"--{name.replace('_', '-')}"
            raise UsageError(f"a resumed run keeps its own options: {what} cannot be given with --resume "
                             f"(--epochs, --device, --data-root, --workers and --plain can).")
    if arguments.out:
        raise UsageError("a resumed run stays in its own folder: --out cannot be given with --resume.")
    return {**DEFAULTS, **options, **chosen}
