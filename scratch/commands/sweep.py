"""`sweep`: a run for every combination of options, each judged by the instruments, all set beside each other.

What is finished stays as it is, and what was interrupted goes on exactly (`train --resume`): the same command, given
again, takes a sweep up where it stopped. Each run is a run like any other, in a folder named after its options.
"""

import itertools
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from scratch.commands.cli import Parser
from scratch.commands.runs import load_data, measure_all, train
from scratch.figures.sweeps import draw, print_table
from scratch.instruments.mutual_information import mig_of_run
from scratch.options.errors import InputError
from scratch.options.training import MAY_CHANGE_ON_RESUME, add_train_arguments, given, resolve
from scratch.runs.descriptions import EVALUATION, SWEEP
from scratch.runs.run import Run, read_position
from scratch.runs.trained import Trained
from scratch.training.loop import Diverged, Progress, steps_to_do

LISTS = ("channels", "widths")  # whose values are lists: in a sweep 32x64 instead of 32,64
FLAGS = ("hard", "plain")  # which take no value: in a sweep on or off
MEASURES_VERSION = 1  # of evaluation.json: another one is measured again


def add_arguments(parser):
    """The options of `sweep`: those of `train`, and what to lead through which values."""
    add_train_arguments(parser)
    parser.add_argument("--over", action="append", required=True, metavar="OPTION=V,V,...",
                        help="an option of train and the values it takes, such as beta=0.5,1,2 or widths=100,400x400 "
                             "(x within a list) or hard=on,off; several --over: every combination")


@dataclass
class Planned:
    """One run of a sweep: {option: value, as given}, the arguments of its `train`, the options these resolve to."""

    settings: dict
    folder: Path
    arguments: Namespace
    options: dict

    @property
    def name(self):
        return self.folder.name


def sweep(arguments):
    """Train a run for every combination of options, and draw what they come to beside each other."""
    plans = plan(arguments)
    for planned in plans:
        check_same_run(planned)
    rows, diverged = [], []
    for number, planned in enumerate(plans, 1):
        try:
            if not finished(planned):
                print(f"run {number} of {len(plans)}: {planned.name}", flush=True)
                if status := train(arguments_of_train(planned)):
                    print("The same sweep, given again, goes on from there.")
                    return status
        except Diverged as error:
            print(f"{planned.name}: {error}; it is left out.")
            diverged.append(planned.name)
            continue
        rows.append({"name": planned.name, "settings": planned.settings, **evaluated(planned)})
    if rows:
        report(Path(arguments.out), read_axes(arguments), rows, diverged)
    return 1 if diverged else 0


def report(folder, axes, rows, diverged):
    """Write sweep.json and the pictures, and print the table."""
    found = {"over": axes, "runs": rows, "diverged": diverged}
    SWEEP.write(folder / "sweep.json", found)
    print_table(rows)
    print(f"wrote {folder / 'sweep.json'}")
    draw(folder, axes, rows)


def read_axes(arguments):
    """{option: [value, …]}, as text, of every --over. Raises InputError where one cannot be."""
    axes = {}
    known = vars(train_parser().parse_args([])).keys() - {"model", "out", "resume", "download"}
    for text in arguments.over:
        option, _, values = text.partition("=")
        name, values = option.removeprefix("--").replace("-", "_"), values.split(",")
        if not all(values):
            raise InputError(f"--over {text} leads nothing through values: write --over OPTION=VALUE,VALUE.")
        if name not in known:
            raise InputError(f"--over {text}: {option!r} is no option of train that a sweep can lead through values.")
        if name in axes or getattr(arguments, name) is not None:
            raise InputError(f"--{name.replace('_', '-')} is given twice: leave one of them out.")
        if len(set(values)) < len(values):
            raise InputError(f"--over {text} names a value twice: leave one of them out.")
        axes[name] = values
    return axes


def train_parser():
    """What reads the options of `train` in a sweep's command."""
    parser = Parser(prog="python -m scratch sweep", add_help=False)
    add_train_arguments(parser)
    return parser


def words(name, value):
    """What stands on the command line of `train` for a value of a sweep."""
    option = f"--{name.replace('_', '-')}"
    if name in FLAGS:
        if value not in ("on", "off"):
            raise InputError(f"--over {name}={value}: {option} is on or off.")
        return [option] if value == "on" else []
    return [f"{option}={value.replace('x', ',') if name in LISTS else value}"]


def plan(arguments):
    """Every run of the sweep, before any is begun. Raises InputError where one of them cannot be."""
    if arguments.resume or not arguments.out:
        raise InputError("sweep needs --out DIR, in which it finds its runs again; it takes no --resume.")
    if arguments.model is None:
        raise InputError("sweep needs a model, as train does.")
    axes, plans = read_axes(arguments), []
    for values in itertools.product(*axes.values()):
        settings = dict(zip(axes, values, strict=True))
        parsed = train_parser().parse_args([word for item in settings.items() for word in words(*item)])
        chosen = {name: getattr(parsed, name) for name in axes}
        name = "_".join(f"{option}={value}" for option, value in settings.items())
        folder = Path(arguments.out) / name.replace(":", "-").replace("/", "-")  # neither is for a folder's name
        its_own = Namespace(**{**vars(arguments), **chosen, "out": str(folder)})
        plans.append(Planned(settings, folder, its_own, resolve(its_own)))
    return plans


def check_same_run(planned):
    """Raises InputError where the run's folder holds one that was trained with other options."""
    if not (planned.folder / "resume.safetensors").exists():
        return
    config, _ = read_position(planned.folder / "resume.safetensors")
    for name, value in planned.options.items():
        if name not in MAY_CHANGE_ON_RESUME and (before := config["options"].get(name, value)) != value:
            raise InputError(f"{planned.folder} was trained with --{name.replace('_', '-')} {before}, and this sweep "
                             f"asks for {value}: name another --out.")


def finished(planned):
    """Is the run trained as far as the sweep asks for?"""
    if not (planned.folder / "resume.safetensors").exists():
        return False
    config, position = read_position(planned.folder / "resume.safetensors")
    progress = Progress(position["epoch"], position["step"])
    return not steps_to_do(progress, planned.options, config["data"]["training_images"])


def arguments_of_train(planned):
    """The arguments with which `train` begins the run, or goes on with it."""
    if not (planned.folder / "resume.safetensors").exists():
        return planned.arguments
    may_change = {name: value for name, value in given(planned.arguments).items() if name in MAY_CHANGE_ON_RESUME}
    end = "steps" if planned.options["steps"] else "epochs"
    kept = {"resume": str(planned.folder), "download": planned.arguments.download, end: planned.options[end]}
    return Namespace(**{**dict.fromkeys(vars(planned.arguments)), **may_change, **kept})


def evaluated(planned):
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
    trained, data = Trained(run, planned.options["device"]), load_data(planned.options, planned.arguments.download)
    figures = {"parameters": run.config["parameters"], **measure_all(trained, data.held_out)}
    figures |= mig_of_run(trained, data)
    EVALUATION.write(path, {"about": about, "figures": figures}, indent=None)
    return figures
