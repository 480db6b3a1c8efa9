"""The commands `evaluate` and `curves`: how good runs are."""

import json
from pathlib import Path

from scratch.commands.options import argument, whole
from scratch.commands.shared import (
    CORRUPTION_HELP,
    add_run_command,
    images_for,
    labelled,
    open_run,
    picture_name,
    save_picture,
)
from scratch.figures import pictures as figures
from scratch.instruments.report import UNITS, check_samples, measure_all, summary
from scratch.models.corruption import CORRUPTION
from scratch.options.errors import InputError
from scratch.runs.run import Run
from scratch.runs.schema import shown

COMPARED = ("reconstruction", "held_out_psnr", "codes_used", "epoch_perplexity")  # drawn by `curves` where runs have it


def add(subparsers):
    """The commands and their options."""
    command = add_run_command(subparsers, "evaluate", evaluate)
    command.add_argument("--json", action="store_true", help="print the numbers as JSON, draw nothing")
    command.add_argument("--importance-samples", type=whole(1), metavar="K",
                         help="of vae and dvae: also a bound on log p(x) from K draws of each code")
    command.add_argument("--corruption", type=argument(CORRUPTION.kind), metavar="KIND:AMOUNT", help=CORRUPTION_HELP)
    command = subparsers.add_parser("curves", help=curves.__doc__, description=curves.__doc__)
    command.add_argument("runs", nargs="+", metavar="RUN", help="folders that train wrote")
    command.add_argument("--metric", nargs="+", metavar="NAME",
                         help=f"as in metrics.jsonl, a panel each (default: {', '.join(COMPARED)})")
    command.add_argument("--out", required=True, metavar="FILE", help="where to write the picture (PNG)")
    command.set_defaults(run_command=curves)


def evaluate(arguments):
    """Print every term, rate, distortion and ELBO, PSNR and SSIM, the codes or units in use, and what is denoised."""
    trained = open_run(arguments)
    check_samples(trained, arguments.importance_samples)
    data = images_for(trained, arguments)
    metrics = measure_all(trained, data.held_out, arguments.importance_samples, arguments.corruption)
    if arguments.json:
        print(json.dumps({"data": data.name, "images": len(data.held_out), **metrics}))
        return 0
    print(f"{shown(trained.run.folder)} on {len(data.held_out)} held-out images of {shown(data.name)}:")
    report_measures(metrics)
    if kl := metrics.get("kl_per_dimension"):
        save_picture(figures.kl_per_dimension(kl), trained.run.folder / picture_name("kl_per_dimension", trained, data))
    return 0


def report_measures(found):
    """Print the names and values that `evaluate` found, a line each."""
    width = max(map(len, found))
    for name, value in found.items():
        if name == "kl_per_dimension":
            value = summary(value)
        elif not isinstance(value, str):
            value = f"{value:<10.6g} {UNITS.get(name, '')}".rstrip()
        print(f"  {name:{width}}  {value}")


def curves(arguments):
    """Draw metrics of several runs over their epochs, in one figure."""
    opened = {label: Run.open(folder) for label, folder in labelled(arguments.runs).items()}
    for run in opened.values():
        run.check_destination(arguments.out)
    runs = {label: run.metrics() for label, run in opened.items()}
    for label, metrics in runs.items():
        if not metrics:
            raise InputError(f"{label} has finished no epoch yet: there is nothing to draw of it.")
    common = set.intersection(*(set(entry) for metrics in runs.values() for entry in metrics)) - {"epoch"}
    wanted = arguments.metric or [name for name in COMPARED if name in common]
    if not wanted:
        raise InputError(f"the runs share no metric of {', '.join(COMPARED)}: name one with --metric; they share "
                         f"{', '.join(sorted(common)) or 'none'}.")
    for name in wanted:
        if name not in common:
            raise InputError(f"not every run has a metric {name!r}; they share {', '.join(sorted(common))}.")
    save_picture(figures.run_curves(runs, wanted), Path(arguments.out))
    return 0
