"""The command `train`: a new run, or a run continued."""

import shlex
from functools import partial

from data_utils import printable
from scratch.commands.cli import say
from scratch.commands.options import add_help_of_model, add_train_options, given, read
from scratch.commands.shared import command_of, report_epoch, save_pictures, verdict_of
from scratch.commands.shortages import runs_with
from scratch.figures.of_run import CAPTIONS, pictures_of
from scratch.models.system import systems
from scratch.options.errors import InputError
from scratch.options.option import listed
from scratch.options.resolve import long_enough, resolve
from scratch.runs.examples import load_examples
from scratch.runs.opening import NeverSaved
from scratch.runs.run import AlreadyARun, Run
from scratch.runs.session import ARRAY, begin, is_finished, make_free_folder, resume
from scratch.runs.trained import Trained
from scratch.training.loop import Interrupted, fit
from scratch.training.make import make_trainer
from scratch.training.progress import gave_up, lowest
from scratch.training.world import world


def add(subparsers):
    """The command and its options."""
    summary = "Train a model, or continue a run."
    parser = subparsers.add_parser("train", help=summary, description=summary, add_help=False)
    add_help_of_model(parser)
    add_train_options(parser)
    parser.set_defaults(run_command=train, for_ranks=True)


def train(arguments, make_trainer=make_trainer, program="scratch"):
    """Train a new run, or continue one. torch_ref passes its own `make_trainer`."""
    if program != "scratch" and world().size > 1:
        raise InputError(f"{program} trains in one process: start it without mpiexec.")
    start = continue_run if arguments.resume else begin_run
    session = start(arguments, make_trainer, program)
    say_skipped(session.data)
    for note in session.notes:
        say(note)
    runs_with(arguments, session.run.options, " in a new run; what this one has saved is kept")
    with session.run as run:
        try:
            fit(session.trainer, session.data, run, session.progress, on_epoch=report_epoch, bar=world().rank == 0)
        except Interrupted:
            say(f"Stopped and saved. Go on with: python -m {program} train --resume {printable(run.folder)}")
            return 130
        if (metrics := run.metrics()) and world().rank == 0:
            trained = Trained(run, run.options["device"] if program == "scratch" else "cpu")
            save_pictures(run.folder, pictures_of(trained, metrics, session.data), CAPTIONS)
            say_afterwards(trained, session.data, metrics, program)
    return 0


def say_skipped(data):
    """Print which pictures were passed over, and how many."""
    if skipped := getattr(data, "skipped", ()):
        say(f"Passed over {len(skipped)} picture(s):")
        for sentence in skipped:
            say(f"  {sentence}")


def say_afterwards(trained, data, metrics, program):
    """Print how good a run is, and what can be done with it next."""
    last, options = metrics[-1], trained.options
    if options["keep"] == "best" or gave_up(metrics, options["patience"]):
        best = lowest(metrics)
        say(f"The held-out loss was lowest after epoch {best['epoch']}: {best['held_out_loss']:.4g}; after epoch "
            f"{last['epoch']}, the last, it is {last['held_out_loss']:.4g}.")
    if "held_out_psnr" in last:
        found = {name.removeprefix("held_out_"): value for name, value in last.items() if name.startswith("held_out_")}
        for sentence in verdict_of(found, data, trained):
            say(sentence)
    say("What to try next:")
    steps = next_commands(trained, program)
    width = max(map(len, steps))
    for command, what in steps.items():
        say(f"  {command:{width}}  {what}")


def next_commands(trained, program):
    """{command line: what it does}: each works as it is printed."""
    folder, options = shlex.quote(printable(trained.run.folder)), trained.options
    end = "epochs" if options["epochs"] else "steps"
    found = {
        f"python -m scratch report {folder}": "all of this on one page",
        f"python -m scratch evaluate {folder}": "every measure on held-out examples",
        f"python -m {program} train --resume {folder} --{end} {2 * options[end]}": "train twice as long",
    }
    if options["tensorboard"]:
        found[f"tensorboard --logdir {folder}"] = "its curves in a browser, also while it trains"
    if options["keep"] == "best":
        found[f"python -m scratch evaluate {folder} --which best"] = "the same with the weights of the best epoch"
    if not trained.model.has_images:
        return found
    if trained.codes:
        found[f"python -m scratch bits {folder}"] = "bits of an image as codes, beside JPEG"
    elif trained.options["data"] != ARRAY:
        found[f"python -m scratch traverse {folder}"] = "what single numbers of the code do"
    return found


def begin_run(arguments, make_trainer, program):
    """The Session of a new run."""
    if arguments.model is None:
        raise InputError(f"train needs a model ({listed(systems(), 'or')}), or --resume RUN.")
    asked = read(arguments.model, given(arguments))
    options = resolve(arguments.model, asked)
    data = load_examples(options, arguments.download)
    options = long_enough(options, asked, len(data.train))

    def announce(run):
        runs_with(arguments, options)
        if run.began_anew:
            say(f"{printable(run.folder)} holds a run that was never saved: it begins anew.")
        parameters = run.config["parameters"]
        say(f"{options['model']} with {parameters:,} parameters on {data.describe()}; writing to "
            f"{printable(run.folder)}")

    folder = arguments.out or partial(make_free_folder, options)
    try:
        return begin(options, data, folder, program=program, make_trainer=make_trainer, on_ready=announce)
    except AlreadyARun:
        raise InputError(f"{printable(folder)} holds a run already: name another --out, or continue with --resume "
                         f"{printable(folder)}.") from None


def continue_run(arguments, make_trainer, program):
    """The Session of a run as it was when it was last saved."""
    if arguments.model is not None:
        raise InputError("a resumed run keeps its own options: a model cannot be given with --resume.")
    if arguments.out:
        raise InputError("a resumed run stays in its own folder: --out cannot be given with --resume.")
    try:
        model = world().from_first(lambda: Run.open_config(arguments.resume)["options"]["model"])
    except NeverSaved as error:
        raise InputError(f"{printable(arguments.resume)} holds a run that was never saved: begin it anew with "
                         f"{printable(command_of(error.config, arguments.resume))}") from None
    session = resume(arguments.resume, read(model, given(arguments)), program=program, make_trainer=make_trainer,
                     download=arguments.download)
    progress, options = session.progress, session.run.options
    say(f"Continuing {printable(session.run.folder)} after {progress.epoch - 1} epoch(s) and {progress.step} step(s).")
    if is_finished(session):
        end = "steps" if options["steps"] else "epochs"
        say(f"Its {options[end]} {end[:-1]}(s) are done; a larger --{end} trains on.")
    elif gave_up(session.run.metrics(), options["patience"]):
        say("It has given up; a larger --patience trains on.")
    return session
