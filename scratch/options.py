"""The options of `train`: what the command line takes, what a preset fills in, and which belong to which model."""

import argparse
import math

from scratch.bottlenecks.vector_quantizer import CODEBOOK_INITS
from scratch.corruption import read_corruption
from scratch.errors import UsageError
from scratch.layers.initialisation import WEIGHT_INITS
from scratch.losses import LIKELIHOODS
from scratch.networks import NETWORKS, check_linear
from scratch.presets import CODEBOOK, DEPENDENT_OPTIONS, MODEL_OPTIONS, OWN_ENTRIES, PRESETS
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
    "corruption": None,
    "optimizer": "adam",
    "momentum": 0.9,
    "weight_decay": 0.0,
    "workers": None,
    "plain": False,
    "steps": None,
    "log_steps": None,
}
MAY_CHANGE_ON_RESUME = ("epochs", "steps", "device", "data_root", "workers", "plain")


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


def fraction(text):
    """A parser of numbers between 0 and 1, both excluded."""
    value = real(0, inclusive=False)(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number between 0 and 1")
    return value


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


def corruption(text):
    """A parser of corruptions such as gaussian:0.1, which stay text."""
    try:
        read_corruption(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


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
    parser.add_argument("model", nargs="?", help=", ".join(MODEL_OPTIONS))
    parser.add_argument("--preset", help="small (default), article or, for vqvae, published")
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
    parser.add_argument("--likelihood", choices=tuple(LIKELIHOODS), help="(default: squared_error)")
    parser.add_argument("--corruption", type=corruption, metavar="KIND:AMOUNT",
                        help="the encoder sees corrupted images: gaussian:SIGMA, masking:P or salt_and_pepper:P")
    parser.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/MODEL-PRESET-DATA)")
    parser.add_argument("--resume", metavar="RUN", help="continue this run with its own options")
    network = parser.add_argument_group("encoder and decoder")
    network.add_argument("--network", choices=NETWORKS, help="(default: the preset's)")
    network.add_argument("--channels", type=widths, metavar="C,C,C", help="convolution: its widths, one a halving")
    network.add_argument("--halvings", type=whole(1), metavar="N", help="residual: of an image's sides (default: 2)")
    network.add_argument("--hidden", type=whole(2), metavar="C", help="residual: its width (default: 128)")
    network.add_argument("--residual-blocks", type=whole(0), metavar="N", help="residual: on each side (default: 2)")
    network.add_argument("--residual-channels", type=whole(1), metavar="C", help="residual: in a block (default: 32)")
    network.add_argument("--weight-init", choices=WEIGHT_INITS, help="(default: the preset's; dvae: its own)")
    ae = parser.add_argument_group("ae and vae")
    ae.add_argument("--latent-dim", type=whole(1), metavar="Z", help="numbers in the code of an image")
    sparse = parser.add_argument_group("ae")
    sparse.add_argument("--sparsity", type=schedule(0), metavar="WEIGHT",
                        help="of the L1 norm of the code, then ≥ 0: a number, or a schedule (default: 0, none)")
    vae = parser.add_argument_group("vae")
    vae.add_argument("--beta", type=real(0), help="weight of the KL term")
    discrete = parser.add_argument_group("vqvae, vqvae2 and dvae")
    discrete.add_argument("--codes", type=whole(1), metavar="K", help="vectors in the codebook")
    discrete.add_argument("--code-dim", type=whole(1), metavar="D", help="numbers in a vector of the codebook")
    dvae = parser.add_argument_group("dvae")
    dvae.add_argument("--temperature", type=schedule(0, inclusive=False, ends_inclusive=False), metavar="TAU",
                      help="of the Gumbel-softmax: a number, or a schedule such as exponential:1:0.0625:5000 (steps)")
    dvae.add_argument("--hard", action="store_true", default=None,
                      help="train on the draws themselves, with the relaxed draws' gradient (straight through)")
    dvae.add_argument("--kl-weight", type=schedule(0), metavar="BETA",
                      help="of the KL term to the uniform distribution: a number, or a schedule")
    vqvae = parser.add_argument_group("vqvae and vqvae2")
    vqvae.add_argument("--commitment", type=real(0), metavar="BETA", help="weight of the commitment term")
    vqvae.add_argument("--data-variance", type=real(0, inclusive=False), metavar="V",
                       help="of the images: what their mean squared error is divided by (default: 1)")
    add_codebook_arguments(vqvae)


def add_codebook_arguments(parser):
    """What a VQ-VAE can do about codes that fall out of use (docs/codebooks.md)."""
    parser.add_argument("--codebook-init", choices=CODEBOOK_INITS, help="kmeans: from the latents of the first batches")
    parser.add_argument("--codebook-update", choices=("gradient", "ema"), help="(default: gradient)")
    parser.add_argument("--ema-decay", type=fraction, metavar="GAMMA", help="of the moving averages (default: 0.99)")
    parser.add_argument("--restart-after", type=whole(0), metavar="STEPS",
                        help="codes unused for so long become latents (default: 0, never)")
    parser.add_argument("--entropy-weight", type=real(0), metavar="WEIGHT",
                        help="of a term that asks for all codes to be used (default: 0, none)")
    parser.add_argument("--entropy-temperature", type=real(0, inclusive=False), metavar="T",
                        help="of the soft assignments in that term (default: 1)")
    parser.add_argument("--code-metric", choices=("euclidean", "cosine"), help="(default: euclidean)")
    parser.add_argument("--straight-through", choices=("right", "reversed"),
                        help="reversed: as the article prints it, to see that it quantizes nothing (default: right)")


def codebook_options(arguments, preset):
    """The options of `add_codebook_arguments` alone, for whoever takes no others. Raises UsageError."""
    names = ["codebook_init", *CODEBOOK]
    chosen = {name: vars(arguments)[name] for name in names if vars(arguments)[name] is not None}
    if chosen and names[-1] not in MODEL_OPTIONS[arguments.model]:
        raise UsageError(f"--{next(iter(chosen)).replace('_', '-')} is an option of vqvae and vqvae2; "
                         f"{arguments.model} has none such.")
    options = {**preset, **chosen}
    check_codebook_options(chosen, options)
    return {name: options[name] for name in names}


def check_codebook_options(chosen, options):
    """Raises UsageError where a codebook option was chosen that another one leaves without meaning."""
    for name, needed in (("ema_decay", "codebook_update ema"), ("entropy_temperature", "entropy_weight")):
        owner, _, value = needed.partition(" ")
        if name in chosen and (options[owner] != value if value else not options[owner]):
            raise UsageError(f"--{name.replace('_', '-')} needs --{needed.replace('_', '-')}"
                             f"{'' if value else ' above 0'} beside it.")
    cures = [name for name in CODEBOOK if name != "straight_through" and options[name] != CODEBOOK[name]]
    cures += ["codebook_init"] if options["codebook_init"] == "kmeans" else []
    if options["straight_through"] == "reversed" and cures:
        raise UsageError(f"--straight-through reversed shows a program that quantizes nothing: "
                         f"leave out --{cures[0].replace('_', '-')}, which it cannot have.")


def given(arguments):
    """{option: value} of what stood on the command line."""
    known = {"model", *DEFAULTS, *PRESETS["small"]}
    return {name: value for name, value in vars(arguments).items() if name in known and value is not None}


def preset_for(model, preset):
    """The entries of a preset. Raises UsageError where there is none of that name, or where it is not for the model."""
    if preset not in PRESETS:
        raise UsageError(f"unknown preset {preset!r}: choose {' or '.join(PRESETS)}.")
    fitting = [name for name, entries in PRESETS.items() if entries.keys() >= set(MODEL_OPTIONS[model])]
    if preset not in fitting:
        raise UsageError(f"--preset {preset} is no recipe of {model}: choose {' or '.join(fitting)}.")
    return {**PRESETS[preset], **OWN_ENTRIES.get((preset, model), {})}


def with_one_end(options, chosen):
    """The options under what was chosen, where --steps takes the place of --epochs or the other way round."""
    if {"steps", "epochs"} <= chosen.keys():
        raise UsageError("--steps and --epochs both say when training ends: leave one of them out.")
    one_end = {"epochs": None} if "steps" in chosen else {"steps": None} if "epochs" in chosen else {}
    return {**options, **one_end, **chosen}


def resolve(arguments):
    """Every option of a new run: the defaults, under the preset, under what was given. Raises UsageError."""
    chosen = given(arguments)
    model = chosen.get("model")
    if model not in MODEL_OPTIONS:
        raise UsageError(f"train what? {model!r} is no model: choose {', '.join(MODEL_OPTIONS)}." if model
                         else f"train needs a model ({', '.join(MODEL_OPTIONS)}), or --resume RUN.")
    recipe = preset_for(model, chosen.get("preset", DEFAULTS["preset"]))
    every_model_option = {name for names in MODEL_OPTIONS.values() for name in names}
    foreign = every_model_option - set(MODEL_OPTIONS[model])
    for name in sorted(foreign & chosen.keys()):
        owners = " and ".join(owner for owner, names in MODEL_OPTIONS.items() if name in names)
        raise UsageError(f"--{name.replace('_', '-')} is an option of {owners}; {model} has none such.")
    options = with_one_end({**DEFAULTS, **recipe}, chosen)
    for name, (deciding, owner) in DEPENDENT_OPTIONS.items():
        if name in chosen and options[deciding] != owner:
            raise UsageError(f"--{name.replace('_', '-')} is an option of --{deciding} {owner}; "
                             f"{options[deciding]} has none such.")
    if "straight_through" in MODEL_OPTIONS[model]:
        check_codebook_options(chosen, options)
    elif options.get("codebook_init") == "kmeans" and "codes" in MODEL_OPTIONS[model]:
        raise UsageError(f"--codebook-init kmeans is for vqvae and vqvae2: {model} has no latents to begin with.")
    if options["network"] == "linear":
        try:
            check_linear(model, options["likelihood"])
        except ValueError as error:
            raise UsageError(f"{error}: choose another --network.") from None
    options = {name: value for name, value in options.items() if name not in foreign}
    return {**options, "channels": list(options["channels"])}


def resolve_resumed(arguments, options):
    """The options of a resumed run: its own, but for what may change. Raises UsageError for anything else given."""
    chosen = given(arguments)
    for name in chosen:
        if name not in MAY_CHANGE_ON_RESUME:
            what = "a model" if name == "model" else f"--{name.replace('_', '-')}"
            raise UsageError(f"a resumed run keeps its own options: {what} cannot be given with --resume "
                             f"(--epochs, --steps, --device, --data-root, --workers and --plain can).")
    if arguments.out:
        raise UsageError("a resumed run stays in its own folder: --out cannot be given with --resume.")
    return with_one_end({**DEFAULTS, **options}, chosen)
