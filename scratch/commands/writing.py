"""What the commands on learned priors have in common: how codes are written, and after what."""

from contextlib import suppress

from data_utils import printable
from scratch.commands.options import whole
from scratch.commands.shared import open_run
from scratch.models.choosing import GUIDANCE, TEMPERATURE, TOP_K, TOP_P
from scratch.options.errors import InputError
from scratch.options.option import listed, shown
from scratch.runs.examples import load_examples

HOW = (TEMPERATURE, TOP_K, TOP_P, GUIDANCE)
CODES_FROM = "a learned prior's: the run whose codes it writes, if that has moved"


def add_writing_options(command, of_text=True):
    """How a learned prior writes codes, and after what."""
    command.add_argument("--seed", type=whole(0), default=0, metavar="N", help="seed of the draws (default: 0)")
    for option in HOW:
        command.add_argument(option.flag, metavar="X", help=f"a learned prior's: {option.help}")
    command.add_argument("--against", metavar="TEXT", help="a learned prior's: the other caption, for --guidance, such "
                                                           "as one that says little")
    command.add_argument("--codes-from", metavar="RUN", help=CODES_FROM)
    if not of_text:
        command.set_defaults(label=None, text=None)
        return
    command.add_argument("--label", metavar="L", help="a learned prior's: what the images are to show, a number or a "
                                                      "name (default: each, --count images of each)")
    command.add_argument("--text", nargs="+", metavar="TEXT",
                         help="a learned prior's: captions that say what images are to show, --count images of each "
                              "(default: captions that it writes itself)")


def choosing(arguments, trained):
    """{name: value} of the options of writing that were given. Raises InputError for one that the run does not have."""
    given = {option.name: option.parse(text) for option in HOW
             if (text := getattr(arguments, option.name)) is not None}
    if arguments.label is not None:
        given["label"] = label_of(arguments.label, trained)
    if arguments.text is not None:
        given["text"] = arguments.text
    if arguments.against is not None:
        given["against"] = arguments.against
    if given and not trained.model.writes_codes:
        raise InputError(f"is an option of learned priors, and {printable(trained.run.folder)} is a run of "
                         f"{trained.options['model']}: leave it out.", next(iter(given)))
    return given


def label_of(text, trained):
    """A label from its number or its name. Raises InputError for a name that does not exist, and for a prior without
    labels."""
    if not trained.model.writes_codes:
        return text
    if not trained.model.labels:
        raise InputError(f"says what images are to show, and {printable(trained.run.folder)} was trained without "
                         f"labels: leave it out, or name a prior that is given a factor.", "label")
    with suppress(ValueError):  # not a number, or one of more digits than Python reads
        return int(text)
    factor, decoder = trained.options["given"], trained.referred("of")
    names = load_examples(decoder.options).value_names.get(factor, ())
    if text not in names:
        known = f" or {listed(names, 'or')}" if names else ""
        raise InputError(f"is {shown(text)}: expected a number{known}.", "label")
    return names.index(text)


def open_prior(arguments):
    """The run of a learned prior. Raises InputError for a run of another kind."""
    trained = open_run(arguments)
    if not trained.model.writes_codes:
        raise InputError(f"{arguments.command} is about learned priors over codes, and "
                         f"{printable(trained.run.folder)} is a run of {trained.options['model']}: name a run of "
                         f"prior.")
    return trained
