"""The command `report`: runs on one page of HTML."""

import math

from data_utils import DataError, printable
from scratch.commands.cli import in_words
from scratch.commands.options import add_data_options, whole
from scratch.commands.shared import (
    add_which,
    command_of,
    destination,
    images_for,
    labelled,
    open_run,
    save,
    verdict_of,
)
from scratch.figures.report import Reported, report_page
from scratch.instruments.report import UNITS, measure_all
from scratch.models.summary import summary
from scratch.options.errors import InputError
from scratch.training.progress import shares_of_loss, sum_of


def add(subparsers):
    """The command and its options."""
    parser = subparsers.add_parser("report", help=report.__doc__, description=report.__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders that train wrote")
    parser.add_argument("--out", metavar="FILE", help="where to write (default: report.html in the first run's folder)")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default), gpu or gpu:N")
    parser.add_argument("--batch-size", type=whole(1), metavar="N", help="images at a time (default: the run's own)")
    add_which(parser)
    add_data_options(parser)
    parser.set_defaults(run_command=report, about_images=False)


def report(arguments):
    """Write one self-contained page of HTML about runs: configuration, curves, pictures, codes, measures."""
    opened = {label: open_run(arguments, folder) for label, folder in labelled(arguments.runs).items()}
    first = next(iter(opened.values()))
    path = destination(arguments, first, "report.html", opened.values())
    save(report_page([reported(label, trained, arguments) for label, trained in opened.items()]).encode(), path,
         arguments)
    return 0


def reported(label, trained, arguments):
    """A run with all that its part of the page shows."""
    found = Reported(label, trained, trained.metrics(), command_of(trained.run.config, trained.run.folder),
                     layers=summary(trained.model))
    try:
        found.data = images_for(trained, arguments)
    except (InputError, DataError) as error:
        found.missing = in_words(error) if isinstance(error, InputError) else f"{printable(error)}."
        return found
    measures = measure_all(trained, found.data.held_out)
    with trained.model.evaluating():
        shares = shares_of_loss(measures, trained.model)
    units = UNITS | ({"loss": f"= {sum_of(shares)}"} if shares else {})
    found.kl = measures.pop("kl_per_dimension", None)
    found.measures = {name: (as_text(value), units.get(name, "")) for name, value in measures.items()}
    if "psnr" in measures:
        found.verdict = verdict_of(measures, found.data, trained)
    return found


def as_text(value):
    """A measure as the page shows it."""
    if isinstance(value, str):
        return value
    return ("−" if value < 0 else "") + "∞" if math.isinf(value) else f"{value:.5g}"
