"""The options that make a model: what the command line takes, what a preset fills in, which belong to which model."""

from scratch.bottlenecks.vector_quantizer import CODEBOOK_INITS
from scratch.layers.initialisation import WEIGHT_INITS
from scratch.layers.norm import NORMS
from scratch.losses import LIKELIHOODS
from scratch.networks.convolutional import NETWORKS, check_linear
from scratch.options.errors import InputError
from scratch.options.kinds import corruption, fraction, real, schedule, whole, widths
from scratch.options.presets import CODEBOOK, COMMON, DEPENDENT_OPTIONS, MODEL_OPTIONS, OWN_ENTRIES, PRESETS

DEFAULTS = {"likelihood": "squared_error", "corruption": None}  # of what no preset needs to say


def add_model_arguments(parser):
    """All that says how a model is made. Nothing has a default here, so that what was given can be told from what was
    not."""
    parser.add_argument("--preset", help="small (default), article; published (vqvae), mlp (ae, vae)")
    parser.add_argument("--likelihood", choices=tuple(LIKELIHOODS),
                        help="(default: squared_error; --preset mlp: bernoulli)")
    parser.add_argument("--corruption", type=corruption, metavar="KIND:AMOUNT",
                        help="the encoder sees corrupted images: gaussian:SIGMA, masking:P or salt_and_pepper:P")
    add_network_arguments(parser.add_argument_group("encoder and decoder"))
    both = parser.add_argument_group("ae and vae")
    both.add_argument("--latent-dim", type=whole(1), metavar="Z", help="numbers in the code of an image")
    ae = parser.add_argument_group("ae")
    ae.add_argument("--sparsity", type=schedule(0), metavar="WEIGHT",
                    help="of the L1 norm of the code, then ≥ 0: a number, or a schedule (default: 0, none)")
    add_rate_arguments(parser.add_argument_group("vae"))
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


def add_network_arguments(parser):
    """What says how the encoder and the decoder are made (scratch/networks.py)."""
    parser.add_argument("--network", choices=NETWORKS, help="(default: the preset's)")
    parser.add_argument("--norm", choices=NORMS, help="before each ReLU; not of mlp (default: none)")
    parser.add_argument("--channels", type=widths, metavar="C,C,C", help="convolution, pooling: widths, one a halving")
    parser.add_argument("--widths", type=widths, metavar="W,W", help="mlp: those of its hidden layers (default: 400)")
    parser.add_argument("--halvings", type=whole(1), metavar="N", help="residual: of an image's sides (default: 2)")
    parser.add_argument("--hidden", type=whole(2), metavar="C", help="residual: its width (default: 128)")
    parser.add_argument("--residual-blocks", type=whole(0), metavar="N", help="residual: on each side (default: 2)")
    parser.add_argument("--residual-channels", type=whole(1), metavar="C", help="residual: in a block (default: 32)")
    parser.add_argument("--weight-init", choices=WEIGHT_INITS, help="(default: the preset's; dvae: its own)")


def add_rate_arguments(parser):
    """What a VAE's code costs (docs/gaussian.md)."""
    parser.add_argument("--beta", type=schedule(0), metavar="BETA",
                        help="weight of the KL term: a number, or a schedule such as linear:0:1:5000 (steps) or "
                             "cyclical:0:1:2000 (steps of a cycle)")
    parser.add_argument("--free-bits", type=real(0), metavar="NATS",
                        help="of KL that each latent dimension has for nothing (default: 0)")
    parser.add_argument("--capacity", type=schedule(0), metavar="NATS",
                        help="that the KL is to be near, in place of 0: a number, or a schedule (default: none)")


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


def preset_for(model, preset):
    """The entries of a preset. Raises InputError where there is none of that name, or where it is not for the model."""
    if preset not in PRESETS:
        raise InputError(f"unknown preset {preset!r}: choose {' or '.join(PRESETS)}.")
    fitting = [name for name, entries in PRESETS.items() if entries.keys() >= set(MODEL_OPTIONS[model])]
    if preset not in fitting:
        raise InputError(f"--preset {preset} is no recipe of {model}: choose {' or '.join(fitting)}.")
    return {**PRESETS[preset], **OWN_ENTRIES.get((preset, model), {})}


def model_options(arguments):
    """{option: value} of what makes a model, as the command line gives it. Raises InputError where that cannot be."""
    recipe = preset_for(arguments.model, arguments.preset or "small")
    names = {*COMMON, *DEFAULTS, *(name for names in MODEL_OPTIONS.values() for name in names)}
    chosen = {name: value for name, value in vars(arguments).items() if name in names and value is not None}
    check_model_options(arguments.model, chosen, {**DEFAULTS, **recipe, **chosen})
    return {**{name: value for name, value in {**DEFAULTS, **recipe}.items() if name in names}, **chosen}


def foreign_options(model):
    """The model options that are other models' alone."""
    return {name for names in MODEL_OPTIONS.values() for name in names} - set(MODEL_OPTIONS[model])


def check_model_options(model, chosen, options):
    """Raises InputError where among all options of a model some were chosen that it cannot have, or not together."""
    for name in sorted(foreign_options(model) & chosen.keys()):
        owners = " and ".join(owner for owner, names in MODEL_OPTIONS.items() if name in names)
        raise InputError(f"--{name.replace('_', '-')} is an option of {owners}; {model} has none such.")
    check_network_options(model, chosen, options)
    if "straight_through" in MODEL_OPTIONS[model]:
        check_codebook_options(chosen, options)
    elif options.get("codebook_init") == "kmeans" and "codes" in MODEL_OPTIONS[model]:
        raise InputError(f"--codebook-init kmeans is for vqvae and vqvae2: {model} has no latents to begin with.")
    check_rate_options(options)


def check_network_options(model, chosen, options):
    """Raises InputError where a network option was chosen that another network has, or a network that has no grid."""
    check_dependent_options("network", chosen, options)
    if options["network"] == "mlp" and "codes" in MODEL_OPTIONS[model]:
        raise InputError(f"--network mlp has no grid of features, and {model} gives each place of a grid a code: "
                         f"choose another --network.")
    if options["network"] == "linear":
        try:
            check_linear(model, options["likelihood"])
        except ValueError as error:
            raise InputError(f"{error}: choose another --network.") from None


def check_dependent_options(deciding, chosen, options):
    """Raises InputError where an option was chosen that counts only with another choice of the deciding one."""
    for name, (owner, choices) in DEPENDENT_OPTIONS.items():
        if owner == deciding and name in chosen and options[owner] not in choices:
            raise InputError(f"--{name.replace('_', '-')} is an option of --{owner} {' or '.join(choices)}; "
                             f"{options[owner]} has none such.")


def check_codebook_options(chosen, options):
    """Raises InputError where a codebook option was chosen that another one leaves without meaning."""
    for name, needed in (("ema_decay", "codebook_update ema"), ("entropy_temperature", "entropy_weight")):
        owner, _, value = needed.partition(" ")
        if name in chosen and (options[owner] != value if value else not options[owner]):
            raise InputError(f"--{name.replace('_', '-')} needs --{needed.replace('_', '-')}"
                             f"{'' if value else ' above 0'} beside it.")
    cures = [name for name in CODEBOOK if name != "straight_through" and options[name] != CODEBOOK[name]]
    cures += ["codebook_init"] if options["codebook_init"] == "kmeans" else []
    if options["straight_through"] == "reversed" and cures:
        raise InputError(f"--straight-through reversed shows a program that quantizes nothing: "
                         f"leave out --{cures[0].replace('_', '-')}, which it cannot have.")


def check_rate_options(options):
    """Raises InputError where free bits and a capacity are both asked for."""
    if options["free_bits"] and options["capacity"] is not None:
        raise InputError("--free-bits and --capacity both say how much of the KL is free: leave one of them out.")
