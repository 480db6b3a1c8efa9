"""The command `runs`: a table of the runs in a folder."""

from datetime import datetime

from scratch.commands.cli import say, say_json
from scratch.runs.listing import runs_in

HEADINGS = ("run", "model", "data", "epochs", "held-out loss", "PSNR", "last change")


def add(subparsers):
    """The command and its options."""
    parser = subparsers.add_parser("runs", help=runs.__doc__, description=runs.__doc__)
    parser.add_argument("folder", nargs="?", default="runs", metavar="DIR", help="where they are (default: runs)")
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    parser.set_defaults(run_command=runs)


def runs(arguments):
    """List the runs in a folder: model, data, epochs, held-out figures and date."""
    found = runs_in(arguments.folder)
    if arguments.json:
        say_json([{**run, "changed": when(run, "%Y-%m-%dT%H:%M:%S")} for run in found])
        return 0
    if not found:
        say(f"{arguments.folder} holds no runs: train one with python -m scratch train vqvae")
        return 0
    lines = [HEADINGS, *(row(run) for run in found if "problem" not in run)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines if len(lines) > 1 else ():
        say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    for run in found:
        if "problem" in run:
            say(f"left out: {run['problem']}")
    return 0


def row(run):
    """A run as the cells of a line."""
    wanted = f" of {run['epochs_wanted']}" if run["epochs_wanted"] else ""
    loss, psnr = run.get("held_out_loss"), run.get("held_out_psnr")
    figures = "" if loss is None else f"{loss:.4g}", "" if psnr is None else f"{psnr:.2f} dB"
    return (run["folder"], run["model"], run["data"], f"{run['epochs']}{wanted}", *figures,
            when(run, "%Y-%m-%d %H:%M"))


def when(run, form):
    """The time of a run's last change, on this machine's clock."""
    return datetime.fromtimestamp(run["changed"]).strftime(form)
