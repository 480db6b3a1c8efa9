"""The commands `evaluate` and `curves`: the measures of a run, and the metrics of several runs over their epochs."""

from pathlib import Path

from data_utils import printable
from scratch.commands.cli import say, say_json
from scratch.commands.options import argument, whole
from scratch.commands.shared import (
    CORRUPTION_HELP,
    add_run_command,
    check_output,
    images_for,
    labelled,
    open_run,
    picture_name,
    save_picture,
)
from scratch.figures import pictures as figures
from scratch.instruments.bits import bits_of_rows
from scratch.instruments.report import UNITS, check_samples, measure_all, summary
from scratch.models.corruption import CORRUPTION
from scratch.options.errors import InputError
from scratch.runs.run import Run
from scratch.training.progress import shares_of_loss, sum_of

# `curves` draws those of these metrics that all runs have.
COMPARED = ("reconstruction", "held_out_psnr", "codes_used", "epoch_perplexity")


def add(subparsers):
    """The commands and their options."""
    command = add_run_command(subparsers, "evaluate", evaluate, about_images=False)
    command.add_argument("--json", action="store_true", help="print the numbers as JSON, draw nothing")
    command.add_argument("--importance-samples", type=whole(1), metavar="M",
                         help="of vae and dvae: also bound log p(x) by M draws of each image's code")
    command.add_argument("--corruption", type=argument(CORRUPTION.kind), metavar="KIND:AMOUNT", help=CORRUPTION_HELP)
    command.set_defaults(for_ranks=True)
    command = subparsers.add_parser("curves", help=curves.__doc__, description=curves.__doc__)
    command.add_argument("runs", nargs="+", metavar="RUN", help="folders that train wrote")
    command.add_argument("--metric", nargs="+", metavar="NAME",
                         help=f"names in metrics.jsonl, a panel each (default: {', '.join(COMPARED)})")
    command.add_argument("--out", required=True, metavar="FILE", help="where to write the picture (PNG)")
    command.set_defaults(run_command=curves)


def evaluate(arguments):
    """Print every loss term, rate, distortion, ELBO, PSNR, SSIM, codes or units in use, and the gain in denoising."""
    trained = open_run(arguments)
    check_samples(trained, arguments.importance_samples)
    data = images_for(trained, arguments)
    metrics = measure_all(trained, data.held_out, arguments.importance_samples, arguments.corruption)
    if trained.model.writes_codes:
        metrics |= bits_of_rows(trained.model, data.train, data.held_out)
    if trained.ranks.rank > 0:
        return 0
    with trained.model.evaluating():
        shares = shares_of_loss(metrics, trained.model)
    if arguments.json:
        say_json({"data": data.name, "images": len(data.held_out), **metrics})
        return 0
    kind = "images" if trained.model.has_images else "examples"
    say(f"{trained.run.folder} on {len(data.held_out)} held-out {kind} of {data.name}:")
    report_measures(metrics, shares)
    if kl := metrics.get("kl_per_dimension"):
        path = trained.run.folder / picture_name("kl_per_dimension", trained, data)
        save_picture(figures.kl_per_dimension(kl), path, arguments)
    return 0


def report_measures(found, shares):
    """Print the names and values that `evaluate` found, a line each; beside the loss the sum of its shares."""
    units = UNITS | ({"loss": f"= {sum_of(shares)}"} if shares else {})
    width = max(map(len, found))
    for name, value in found.items():
        if name == "kl_per_dimension":
            value = summary(value)
        elif not isinstance(value, str):
            value = f"{value:<10.6g} {units.get(name, '')}".rstrip()
        say(f"  {name:{width}}  {value}")


def curves(arguments):
    """Draw metrics of several runs over their epochs, in one figure."""
    opened = {label: Run.open(folder) for label, folder in labelled(arguments.runs).items()}
    check_output(arguments.out, *opened.values())
    runs = {label: run.metrics() for label, run in opened.items()}
    for label, metrics in runs.items():
        if not metrics:
            raise InputError(f"{printable(label)} has not finished an epoch yet: name runs that have.")
    common = set.intersection(*(set(entry) for metrics in runs.values() for entry in metrics)) - {"epoch"}
    wanted = arguments.metric or [name for name in COMPARED if name in common]
    if not wanted:
        raise InputError(f"the runs share no metric among {', '.join(COMPARED)}: name one with --metric; they share "
                         f"{printable(', '.join(sorted(common))) or 'nothing'}.")
    for name in wanted:
        if name not in common:
            raise InputError(f"--metric {name!r} is not among the metrics of every run: choose among "
                             f"{printable(', '.join(sorted(common))) or 'none'}.")
    save_picture(figures.run_curves(runs, wanted), Path(arguments.out), arguments)
    return 0
