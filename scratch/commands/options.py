"""Options on the command line: made from their declarations (options/option.py), and read by them.

argparse keeps each value as the text that was typed. Once the model is known, its own declarations read the texts, so
that one name may mean different things to different systems.
"""

import argparse
from functools import cache

from scratch.models.system import find_system, systems
from scratch.networks.network import Network
from scratch.options.option import Flag, Whole, listed
from scratch.options.presets import PRESETS
from scratch.options.resolve import check_names, model_options, resolve, run_options
from scratch.options.training import IMAGES


@cache
def every_option():
    """{name: [(system, Option), …]} of all systems, in the order in which `--help` lists them."""
    return gathered(run_options)


def gathered(options_of):
    """{name: [(system, Option), …]} of those options of every system that `options_of` gives."""
    found = {}
    for name, system in systems().items():
        for option in options_of(system).values():
            found.setdefault(option.name, []).append((name, option))
    return found


def shown(value):
    """A default as it is typed."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "none" if value is None else "off" if value is False else "on" if value is True else str(value)


def defaults_of(name):
    """"default: 128; article 1024": the default, and the systems and presets that have another."""
    owners = every_option()[name]
    values = {}
    for system, option in owners:
        recommended = find_system(system).recommended
        values[system] = recommended.get(name, option.default)
    usual = max(values.values(), key=lambda value: sum(value == other for other in values.values()))
    words = [f"default: {shown(usual)}", *(f"{system} {shown(v)}" for system, v in values.items() if v != usual)]
    for preset, recipe in PRESETS.items():
        fitting = [system for system, _ in owners if recipe.fits(system)]
        differing = {system: recipe.values(system)[name] for system in fitting
                     if name in recipe.values(system) and recipe.values(system)[name] != values[system]}
        for value in dict.fromkeys(map(shown, differing.values())):
            which = [system for system, v in differing.items() if shown(v) == value]
            words.append(f"{preset} {value}" if len(which) == len(fitting) else f"{preset} {listed(which)} {value}")
    return "; ".join(words)


def group_of(name):
    """The heading under which `--help` lists an option."""
    owners = every_option()[name]
    option = owners[0][1]
    if name in IMAGE_NAMES or name not in model_names():
        return option.group
    if name == "network" or any(name in {one.name for one in family.options} for family in Network.families.values()):
        return "encoder and decoder"
    names = [system for system, _ in owners]
    return "every model" if len(names) >= len(systems()) - 1 else listed(names)


IMAGE_NAMES = {option.name for option in IMAGES}


@cache
def model_names():
    """The names of the options of models."""
    return set(gathered(model_options))


def add_option(parser, option, help_text, names=None):
    """One option as an argument of argparse, whose value stays text. `names`: those that it may have with any system.
    """
    if isinstance(option.kind, Flag):
        parser.add_argument(option.flag, dest=option.name, action="store_const", const="on", default=None,
                            help=help_text)
        return
    metavar = option.kind.metavar or "{" + ",".join(names or option.kind.names) + "}"
    parser.add_argument(option.flag, dest=option.name, metavar=metavar, help=help_text)


def add_options(parser, names, known=None):
    """The options of these names, in groups. None has a default: what was given can be told from what was not.

    known   {option: default} where the model and the preset are known: then only its options, with these defaults
    """
    groups = {}
    for name in names:
        if known is not None and name not in known:
            continue
        title = group_of(name)
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        declared = [option for _, option in every_option()[name]]
        names = dict.fromkeys(value for option in declared for value in getattr(option.kind, "names", ()))
        default = defaults_of(name) if known is None else f"default: {shown(known[name])}"
        text = f"{declared[0].help} ({default})".replace("%", "%%")
        add_option(groups[title], declared[0], text, names)


class HelpOfModel(argparse.Action):
    """--help of `train`. After a model, `train vae --preset mlp --help`, it lists that model's options alone, each with
    the default that it has in that preset."""

    def __call__(self, parser, namespace, values, option=None):
        preset = namespace.preset or "small"
        if namespace.model in systems() and preset in PRESETS and PRESETS[preset].fits(namespace.model):
            defaults = resolve(namespace.model, {"preset": preset})
            parser = type(parser)(prog=parser.prog, description=f"{parser.description or ''} The options of "
                                  f"{namespace.model} and their defaults in the preset {preset}:".strip())
            add_train_options(parser, {name: defaults[name] for name in run_options(find_system(namespace.model))
                                       if name != "preset"} | {"preset": preset})
        parser.print_help()
        parser.exit()


def add_help_of_model(parser):
    """--help as HelpOfModel gives it, for a parser that was made without one."""
    parser.add_argument("-h", "--help", action=HelpOfModel, nargs=0, default=argparse.SUPPRESS,
                        help="show this help and exit; after a model and a preset, those of its options and defaults")


def add_train_options(parser, known=None):
    """All that `train` takes, on both sides: a model, where to write or what to continue, and every option."""
    parser.add_argument("model", nargs="?", help=", ".join(systems()))
    parser.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/MODEL-PRESET-DATA)")
    parser.add_argument("--resume", metavar="RUN", help="continue this run with its own options")
    add_options(parser, every_option(), known)
    add_download(parser)


def add_download(parser):
    """--download, which both `train` and the commands on a run take."""
    parser.add_argument("--download", action="store_true", help="download the torchvision set if it is missing")


def add_model_options(parser):
    """All that makes a model."""
    add_options(parser, ["preset", *model_names_in_order()])


def model_names_in_order():
    """The same names in the order of `--help`."""
    return [name for name in every_option() if name in model_names()]


def add_data_options(parser):
    """Which images a command on a run is to use instead of the run's own."""
    for option in IMAGES:
        if option.name in ("data", "data_root", "limit"):
            add_option(parser, option, f"{option.help} (default: the run's own)")
    add_download(parser)


def given(arguments):
    """{option: text} of what stood on the command line."""
    return {name: text for name, text in vars(arguments).items() if name in every_option() and text is not None}


def read(model, texts, known=run_options):
    """{option: value} of texts from a command line, as the model's own declarations read them. Raises InputError."""
    system = find_system(model)
    options = known(system)
    check_names(system, texts, options)
    return {name: options[name].parse(text) for name, text in texts.items()}


def read_one(name, text):
    """The value of an option that means the same to all systems."""
    return every_option()[name][0][1].parse(text)


def argument(kind):
    """argparse's `type` for a kind of value that is declared by the command itself, such as a count."""
    def parse(text):
        try:
            return kind.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def whole(least, most=None):
    """argparse's `type` for an integer."""
    return argument(Whole(least) if most is None else Whole(least, most))
