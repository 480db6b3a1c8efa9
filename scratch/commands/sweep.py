"""`sweep`: a run for every combination of options. The instruments measure each, and a table compares them.

The same command, given again, continues a sweep where it stopped: finished runs stay as they are, and an interrupted
one goes on exactly. Each run is a run like any other, in a folder named after its options.
"""

import itertools
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from data_utils import DataError, printable
from scratch.commands.cli import finite, in_words, say
from scratch.commands.options import add_train_options, every_option, given, read
from scratch.commands.shared import report_epoch, save_picture, save_pictures
from scratch.commands.shortages import runs_with
from scratch.figures.of_run import pictures_of
from scratch.figures.sweeps import COLUMNS, PANELS, columns_of, over_option, rate_distortion_curve
from scratch.instruments.mutual_information import mig_of_run
from scratch.instruments.report import measure_all
from scratch.models.system import find_system, systems
from scratch.options.errors import InputError
from scratch.options.option import listed, nearest
from scratch.options.resolve import long_enough, resolve, run_options
from scratch.runs.descriptions import EVALUATION, SWEEP
from scratch.runs.examples import load_examples
from scratch.runs.files import check_writable, make_folder, present
from scratch.runs.lock import Lock
from scratch.runs.opening import read_position
from scratch.runs.run import Run
from scratch.runs.session import begin, resume
from scratch.runs.tensorboard import check_tensorboard
from scratch.runs.trained import Trained
from scratch.training.loop import Interrupted, fit, steps_to_do
from scratch.training.progress import Diverged, Progress, gave_up
from scratch.training.world import alone, world

MEASURES_VERSION = 1  # of evaluation.json: where the file has another, the run is measured again
PICTURES = ("rate_distortion.png", "figures.png")


def add(subparsers):
    """The command and its options: those of `train`, and --over, the options that vary."""
    parser = subparsers.add_parser("sweep", help=sweep.__doc__, description=sweep.__doc__)
    add_train_options(parser)
    parser.add_argument("--over", action="append", required=True, metavar="OPTION=V,V,...",
                        help="an option of train and the values it takes, such as beta=0.5,1,2 or widths=100,400x400 "
                             "(x within a list) or hard=on,off; several --over: every combination")
    parser.set_defaults(run_command=sweep, for_ranks=True)


@dataclass
class Planned:
    """One run of a sweep: `settings`, the varied options as text, its folder, the options that were `given`, and the
    value of every option."""

    settings: dict
    folder: Path
    given: dict
    options: dict

    def options_for(self, images):
        """The options of a run on so many training images."""
        return long_enough(self.options, self.given, images)

    @property
    def name(self):
        return self.folder.name


def sweep(arguments):
    """Train a run for every combination of options, and compare them in a table and in pictures."""
    axes = read_axes(arguments)
    plans = plan(arguments, axes)
    for planned in plans:
        check_same_run(planned)
        check_tensorboard(planned.options)
    make_folder(arguments.out)
    with Lock(arguments.out) if world().rank == 0 else nullcontext():
        check_room(Path(arguments.out), plans)
        return swept(arguments, axes, plans)


def swept(arguments, axes, plans):
    """Train and measure the planned runs; the exit status. Of several ranks each takes every so many-th run."""
    ranks, found = world(), {}
    try:
        with alone():
            for number in range(ranks.rank, len(plans), ranks.size):
                found[number] = outcome(arguments, plans, number)
    except Interrupted:
        say("Stopped and saved. The same sweep, given again, goes on from there.")
        return 130
    for others in ranks.gather(found):
        found |= others
    rows, left_out = [], []
    for number, planned in enumerate(plans):
        if isinstance(found[number], dict):
            rows.append(found[number])
            continue
        left_out.append(planned.name)
        if number % ranks.size:  # another rank's, which rank 0 has not said yet
            say(found[number])
    if rows and ranks.rank == 0:
        report(Path(arguments.out), axes, rows, left_out)
    return 1 if left_out else 0


def outcome(arguments, plans, number):
    """Train and measure one planned run: its row of the table, or the sentence that says why it is left out."""
    planned = plans[number]
    runs_with(arguments, planned.options)
    try:
        if not finished(planned):
            say(f"run {number + 1} of {len(plans)}: {planned.name}")
            train(planned, arguments.download)
        return {"name": planned.name, "settings": planned.settings, **evaluated(planned, arguments.download)}
    except Diverged as error:
        sentence = f"{planned.name}: {error}; it is left out."
    except (InputError, DataError) as error:
        if len(plans) == 1:
            raise
        reason = in_words(error) if isinstance(error, InputError) else str(error)
        sentence = f"{planned.name}: {reason.rstrip('.')}. It is left out."
    say(sentence)
    return sentence


def train(planned, download):
    """Begin a run of the sweep, or go on with it."""
    if (planned.folder / "resume.safetensors").exists():
        options = planned.options_for(Run.open_config(planned.folder)["data"]["training_images"])
        may_change = {name for name, option in run_options(find_system(options["model"])).items()
                      if option.may_change and options[name] is not None}
        session = resume(planned.folder, {name: options[name] for name in may_change}, download=download)
    else:
        data = load_examples(planned.options, download)
        session = begin(planned.options_for(len(data.train)), data, planned.folder)
    with session.run as run:
        fit(session.trainer, session.data, run, session.progress, on_epoch=report_epoch)
        trained = Trained(run, planned.options["device"])
        save_pictures(run.folder, pictures_of(trained, run.metrics(), session.data))


def report(folder, axes, rows, left_out):
    """Write sweep.json and the pictures, and print the table."""
    SWEEP.write(folder / "sweep.json", {"over": axes, "runs": rows, "diverged": left_out})
    print_table(rows)
    say(f"wrote {folder / 'sweep.json'}")
    if all(row.get(name) is not None for row in rows for name in ("rate", "distortion", "elbo")):
        save_picture(rate_distortion_curve(axes, rows), folder / "rate_distortion.png")
    save_picture(over_option(axes, rows), folder / "figures.png")


def print_table(rows):
    """Print a line a run: its varied options, and its measures on held-out images."""
    swept = list(rows[0]["settings"])
    columns = columns_of(rows)
    lines = [[*swept, *(heading for heading, _ in columns.values())]]
    lines += [[*row["settings"].values(), *(cell(row, name, form) for name, (_, form) in columns.items())]
              for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))


def cell(row, name, form):
    """A number of the table as its column writes it; empty where the run has no finite one."""
    return "" if row.get(name) is None else format(row[name], form)


def read_axes(arguments):
    """{option: [value, …]} of every --over, as text. Raises InputError for one that cannot be read."""
    if arguments.resume or not arguments.out:
        raise InputError("sweep needs --out DIR, in which it finds its runs again: give that instead of --resume.")
    if arguments.model is None:
        raise InputError(f"sweep needs a model: choose {listed(systems(), 'or')}.")
    known, axes = run_options(find_system(arguments.model)), {}
    for text in arguments.over:
        option, _, values = text.partition("=")
        name, values = option.removeprefix("--").replace("-", "_"), values.split(",")
        if not all(values):
            raise InputError(f"--over {text} lacks an option or a value: write --over OPTION=VALUE,VALUE.")
        if name not in known and name not in every_option():
            raise InputError(f"--over {text}: {option!r} is not an option of train{nearest(name, known)}")
        if name in axes or getattr(arguments, name) is not None:
            raise InputError(f"--{name.replace('_', '-')} is given twice: leave one of them out.")
        if len(set(values)) < len(values):
            raise InputError(f"--over {text} gives a value twice: leave one of them out.")
        axes[name] = values
    return axes


def plan(arguments, axes):
    """[Planned]: every run of the sweep, before the first begins. Raises InputError where options do not fit."""
    plans = []
    for values in itertools.product(*axes.values()):
        settings = dict(zip(axes, values, strict=True))
        texts = {**given(arguments), **settings}
        asked = read(arguments.model, texts)
        options = resolve(arguments.model, asked)
        name = "_".join(f"{option}={value}" for option, value in settings.items())
        folder = Path(arguments.out) / name.replace(":", "-").replace("/", "-")  # a folder's name has neither
        plans.append(Planned(settings, folder, asked, options))
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
    """Raises InputError where the folder holds a run that was trained with other options."""
    if not (planned.folder / "resume.safetensors").exists():
        return
    config, _ = read_position(planned.folder / "resume.safetensors")
    known = run_options(find_system(planned.options["model"]))
    for name, value in planned.options.items():
        may_change = name != "model" and known[name].may_change
        if not may_change and (before := config["options"].get(name, value)) != value:
            raise InputError(f"{printable(planned.folder)} was trained with --{name.replace('_', '-')} "
                             f"{printable(before)}, and this sweep asks for {value}: name another --out.")


def finished(planned):
    """Is the run trained as far as the sweep asks for?"""
    if not (planned.folder / "resume.safetensors").exists():
        return False
    config, position = read_position(planned.folder / "resume.safetensors")
    progress, images = Progress(position["epoch"], position["step"]), config["data"]["training_images"]
    return (not steps_to_do(progress, planned.options_for(images), images)
            or gave_up(Run.open(planned.folder).metrics(), planned.options["patience"]))


def evaluated(planned, download):
    """{measure: value} of `evaluate --json`, and the MIG. The run's evaluation.json keeps them until it is trained
    further."""
    _, position = read_position(planned.folder / "resume.safetensors")
    about = {"version": MEASURES_VERSION, "updates": position["updates"]}
    path = planned.folder / "evaluation.json"
    if path.exists():
        try:
            found = EVALUATION.read(path)
            if found["about"] == about and all(is_number(found["figures"].get(name)) for name in (*COLUMNS, *PANELS)):
                return found["figures"]
        except InputError:
            pass  # measured again
    run = Run.open(planned.folder)
    trained = Trained(run, planned.options["device"], which=planned.options["keep"])
    data = load_examples(planned.options, download)
    figures = {"parameters": run.config["parameters"], **measure_all(trained, data.held_out)}
    figures = finite(figures | mig_of_run(trained, data))
    EVALUATION.write(path, {"about": about, "figures": figures}, indent=None)
    return figures


def is_number(value):
    """Is it a number, or None, which stands for an infinite one or for none?"""
    return value is None or isinstance(value, int | float)
