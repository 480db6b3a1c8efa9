"""`sweep`: a run for every combination of options, each judged by the instruments, all set beside each other.

What is finished stays as it is, and what was interrupted goes on exactly: the same command, given again, takes a sweep
up where it stopped. Each run is a run like any other, in a folder named after its options.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

from data_utils import DataError
from scratch.commands.options import add_train_options, every_option, given, read
from scratch.commands.shared import report_epoch, save_picture, save_pictures
from scratch.commands.shortages import runs_with
from scratch.figures.of_run import pictures_of
from scratch.figures.sweeps import COLUMNS, over_option, rate_distortion_curve
from scratch.instruments.mutual_information import mig_of_run
from scratch.instruments.report import measure_all
from scratch.models.system import find_system
from scratch.options.errors import InputError
from scratch.options.option import nearest
from scratch.options.resolve import resolve, run_options
from scratch.runs.descriptions import EVALUATION, SWEEP
from scratch.runs.files import check_writable, make_folder, present
from scratch.runs.lock import Lock
from scratch.runs.run import Run, read_position
from scratch.runs.schema import shown
from scratch.runs.session import begin, resume
from scratch.runs.trained import Trained
from scratch.training.loop import Interrupted, fit, steps_to_do
from scratch.training.progress import Diverged, Progress

MEASURES_VERSION = 1  # of evaluation.json: another one is measured again
PICTURES = ("rate_distortion.png", "figures.png")


def add(subparsers):
    """The command and its options: those of `train`, and what to lead through which values."""
    parser = subparsers.add_parser("sweep", help=sweep.__doc__, description=sweep.__doc__)
    add_train_options(parser)
    parser.add_argument("--over", action="append", required=True, metavar="OPTION=V,V,...",
                        help="an option of train and the values it takes, such as beta=0.5,1,2 or widths=100,400x400 "
                             "(x within a list) or hard=on,off; several --over: every combination")
    parser.set_defaults(run_command=sweep)


@dataclass
class Planned:
    """One run of a sweep: {option: value, as given}, and all the options that these come to."""

    settings: dict
    folder: Path
    options: dict

    @property
    def name(self):
        return self.folder.name


def sweep(arguments):
    """Train a run for every combination of options, and draw what they come to beside each other."""
    axes = read_axes(arguments)
    plans = plan(arguments, axes)
    for planned in plans:
        check_same_run(planned)
    make_folder(arguments.out)
    with Lock(arguments.out):
        return swept(arguments, axes, plans)


def swept(arguments, axes, plans):
    """Train and judge what was planned; the exit status."""
    folder, rows, left_out = Path(arguments.out), [], []
    check_room(folder, plans)
    for number, planned in enumerate(plans, 1):
        runs_with(arguments, planned.options)
        try:
            if not finished(planned):
                print(f"run {number} of {len(plans)}: {planned.name}", flush=True)
                train(planned, arguments.download)
        except Interrupted:
            print("Stopped and saved. The same sweep, given again, goes on from there.")
            return 130
        except Diverged as error:
            print(f"{planned.name}: {error}; it is left out.")
            left_out.append(planned.name)
            continue
        except (InputError, DataError) as error:
            if len(plans) == 1:
                raise
            print(f"{planned.name}: {error} It is left out.")
            left_out.append(planned.name)
            continue
        rows.append({"name": planned.name, "settings": planned.settings, **evaluated(planned, arguments.download)})
    if rows:
        report(folder, axes, rows, left_out)
    return 1 if left_out else 0


def train(planned, download):
    """Begin a run of the sweep, or go on with it."""
    if (planned.folder / "resume.safetensors").exists():
        may_change = {name for name, option in run_options(find_system(planned.options["model"])).items()
                      if option.may_change and planned.options[name] is not None}
        session = resume(planned.folder, {name: planned.options[name] for name in may_change}, download=download)
    else:
        data = find_system(planned.options["model"]).load_data(planned.options, download)
        session = begin(planned.options, data, planned.folder)
    with session.run as run:
        fit(session.trainer, session.data, run, session.progress, on_epoch=report_epoch)
        trained = Trained(run, planned.options["device"])
        save_pictures(run.folder, pictures_of(trained, run.metrics(), session.data))


def report(folder, axes, rows, left_out):
    """Write sweep.json and the pictures, and print the table."""
    SWEEP.write(folder / "sweep.json", {"over": axes, "runs": rows, "diverged": left_out})
    print_table(rows)
    print(f"wrote {shown(folder / 'sweep.json')}")
    if all({"rate", "distortion", "elbo"} <= row.keys() for row in rows):
        save_picture(rate_distortion_curve(axes, rows), folder / "rate_distortion.png")
    save_picture(over_option(axes, rows), folder / "figures.png")


def print_table(rows):
    """A line a run: what was swept, and what the instruments say, on held-out images."""
    swept = list(rows[0]["settings"])
    measured = [name for name in COLUMNS if any(name in row for row in rows)]
    lines = [[*swept, *(COLUMNS[name][0] for name in measured)]]
    lines += [[*row["settings"].values(), *(cell(row, name) for name in measured)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))


def cell(row, name):
    """A number of the table as its column writes it; empty where the run has none."""
    return format(row[name], COLUMNS[name][1]) if name in row else ""


def read_axes(arguments):
    """{option: [value, …]}, as text, of every --over. Raises InputError where one cannot be."""
    if arguments.resume or not arguments.out:
        raise InputError("sweep needs --out DIR, in which it finds its runs again; it takes no --resume.")
    if arguments.model is None:
        raise InputError("sweep needs a model, as train does.")
    known, axes = run_options(find_system(arguments.model)), {}
    for text in arguments.over:
        option, _, values = text.partition("=")
        name, values = option.removeprefix("--").replace("-", "_"), values.split(",")
        if not all(values):
            raise InputError(f"--over {text} leads nothing through values: write --over OPTION=VALUE,VALUE.")
        if name not in known and name not in every_option():
            raise InputError(f"--over {text}: {option!r} is not an option of train{nearest(name, known)}")
        if name in axes or getattr(arguments, name) is not None:
            raise InputError(f"--{name.replace('_', '-')} is given twice: leave one of them out.")
        if len(set(values)) < len(values):
            raise InputError(f"--over {text} names a value twice: leave one of them out.")
        axes[name] = values
    return axes


def plan(arguments, axes):
    """Every run of the sweep, before any is begun. Raises InputError where one of them cannot be."""
    plans = []
    for values in itertools.product(*axes.values()):
        settings = dict(zip(axes, values, strict=True))
        texts = {**given(arguments), **settings}
        options = resolve(arguments.model, read(arguments.model, texts))
        name = "_".join(f"{option}={value}" for option, value in settings.items())
        folder = Path(arguments.out) / name.replace(":", "-").replace("/", "-")  # neither is for a folder's name
        plans.append(Planned(settings, folder, options))
    return plans


def check_room(folder, plans):
    """Raises InputError where a file of the sweep could not be written in the end, or would take the place of another
    program's. Nothing is trained before."""
    if present(folder / "sweep.json"):
        SWEEP.read(folder / "sweep.json")
    places = [folder / "sweep.json", *(folder / name for name in PICTURES)]
    for path in [*places, *(planned.folder / "evaluation.json" for planned in plans)]:
        if present(path):
            check_writable(path)


def check_same_run(planned):
    """Raises InputError where the run's folder holds one that was trained with other options."""
    if not (planned.folder / "resume.safetensors").exists():
        return
    config, _ = read_position(planned.folder / "resume.safetensors")
    for name, value in planned.options.items():
        may_change = name != "model" and every_option()[name][0][1].may_change
        if not may_change and (before := config["options"].get(name, value)) != value:
            raise InputError(f"{planned.folder} was trained with --{name.replace('_', '-')} {before}, and this sweep "
                             f"asks for {value}: name another --out.")


def finished(planned):
    """Is the run trained as far as the sweep asks for?"""
    if not (planned.folder / "resume.safetensors").exists():
        return False
    config, position = read_position(planned.folder / "resume.safetensors")
    progress = Progress(position["epoch"], position["step"])
    return not steps_to_do(progress, planned.options, config["data"]["training_images"])


def evaluated(planned, download):
    """What `evaluate --json` says of the run, kept in its evaluation.json until the run is trained on."""
    _, position = read_position(planned.folder / "resume.safetensors")
    about = {"version": MEASURES_VERSION, "updates": position["updates"]}
    path = planned.folder / "evaluation.json"
    if path.exists():
        try:
            found = EVALUATION.read(path)
            if found["about"] == about:
                return found["figures"]
        except InputError:
            pass  # measured again
    run = Run.open(planned.folder)
    trained = Trained(run, planned.options["device"])
    data = find_system(planned.options["model"]).load_data(planned.options, download)
    figures = {"parameters": run.config["parameters"], **measure_all(trained, data.held_out)}
    figures |= mig_of_run(trained, data)
    EVALUATION.write(path, {"about": about, "figures": figures}, indent=None)
    return figures
