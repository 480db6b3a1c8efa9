"""The commands of `python -m torch_ref`: here options are parsed, results printed, and errors put into words."""

import json

import numpy as np
import torch

from scratch.commands import train as training
from scratch.commands.cli import command_in, top_parser
from scratch.commands.options import (
    add_help_of_model,
    add_model_options,
    add_train_options,
    argument,
    given,
    model_names,
    read,
    whole,
)
from scratch.models.system import find_system, systems
from scratch.options.errors import InputError
from scratch.options.option import Real
from scratch.options.resolve import model_options as options_of_model
from scratch.options.resolve import resolve, resolve_model
from scratch.runs.examples import completed, load_examples
from torch_ref import compare, gradcheck
from torch_ref.models import build, model_options
from torch_ref.schedules import scheduled
from torch_ref.speed import commands as speed
from torch_ref.training import Trainer, make_optimizer

DEFAULTS = {"preset": "small", "steps": 50, "dtype": "float64"}  # of compare
SPEED_DEFAULTS = {"preset": "article", "steps": 20, "dtype": "float32"}

def make_trainer(options, image_shape):
    """(trainer, number of parameters): the PyTorch side of `train`, from the options that scratch's side takes.

    Raises InputError for what cannot be made of them.
    """
    torch.manual_seed(options["seed"])
    try:
        chosen = model_options(options["model"], options)
        model = build(options["model"], image_shape, chosen, dtype=getattr(torch, options["dtype"]))
        optimizer = make_optimizer(model.parameters(), options)
        trainer = Trainer(model, optimizer, options["seed"], options["device"], lr=options["lr"],
                          clip_norm=options["clip_norm"])
    except ValueError as error:
        raise InputError(f"{str(error).removesuffix('.')}.") from None
    return trainer, sum(parameter.numel() for parameter in model.parameters())


def train(arguments):
    """`train` with the same options, run folder and pictures as `python -m scratch train`."""
    if arguments.workers is not None or arguments.plain is not None:
        raise InputError("--workers and --plain are options of scratch: PyTorch chooses its own threads and forms.")
    return training.train(arguments, make_trainer, program="torch_ref")


def report_comparison(result):
    """Print what `compare` found as tables."""
    size = "×".join(map(str, result["image_shape"]))
    print(f"{result['model']}, {result['parameters']:,} parameters, images of {size}: {result['steps']} Adam steps of "
          f"{result['batch_size']} images in {result['dtype']}, lr {result['lr']:g}, seed {result['seed']}")

    print(f"\n{'gradient at the first step':38}{'shape':20}{'largest':>11}{'difference':>12}")
    for name, row in result["gradients"].items():
        shape = "×".join(map(str, row["shape"]))
        print(f"{name:38}{shape:20}{row['largest']:11.3e}{row['difference']:12.1e}")

    codes = result["codes"]
    print(f"\n{'step':>5}{'loss, scratch':>22}{'loss, torch':>22}{'difference':>12}"
          + (f"{'codes in use':>14}{'equal':>9}" if codes else ""))
    last, digits = result["steps"] - 1, np.finfo(result["dtype"]).precision
    for step in sorted({0, 1, 2, 3, 4, last, *range(9, last, max(10, result["steps"] // 50 * 10))}):
        if step <= last:
            ours, theirs, difference = (result["losses"][side][step] for side in ("scratch", "torch", "difference"))
            print(f"{step + 1:5}{ours:22.{digits}g}{theirs:22.{digits}g}{difference:12.1e}"
                  + (f"{codes['in_use'][step]:14}{codes['agreement'][step]:9.2%}" if codes else ""))

    print(f"\n{'weights after step':38}{'largest difference':>43}")
    for step, difference in result["weights"].items():
        print(f"{step:38}{difference:43.1e}")

    print("\nDifferences are relative to each tensor's largest magnitude.")
    if result["dtype"] == "float32":
        print("In float32 only the gradients and the first five losses are judged. Later losses differ through "
              "rounding,\nas PyTorch's own do with another number of threads.")
    if result["steps"] > compare.BOUNDED_STEPS:
        print(f"The bounds are for the first {compare.BOUNDED_STEPS} steps; later steps are shown and not judged.")
    print()
    for check in result["checks"]:
        sign = "≥" if "code" in check["name"] else "≤"
        verdict = "ok" if check["ok"] else "BROKEN"
        print(f"{check['name']:24}{check['measured']:10.2g}  {sign} {check['bound']:<8g}{verdict}")
    print("\nscratch and torch agree." if result["ok"] else "\nscratch and torch DISAGREE.")


def example_options():
    """{name: Option} of those that say which examples are compared on, of every system; the choice from a set, and
    the size, are the comparison's own."""
    return {name: option for model in systems() for name, option in example_options_of(model).items()}


def example_options_of(model):
    """The same of one system."""
    options = {option.name: option for option in find_system(model).data_options}
    return {name: option for name, option in options.items()
            if name not in ("limit", "image_size", "drawn", "without", "skip_unreadable")}


def add_compare_arguments(parser):
    """The options of `python -m torch_ref compare`. Those whose default depends on --speed have none here."""
    def default(name):
        return f"{DEFAULTS[name]}; with --speed {SPEED_DEFAULTS[name]}"

    parser.add_argument("model", help=", ".join(systems()))
    for option in example_options().values():
        parser.add_argument(option.flag, dest=option.name, metavar=option.kind.metavar,
                            help=f"{option.help} (default: {option.default})")
    parser.add_argument("--steps", type=whole(1), metavar="N", help=f"steps of Adam ({default('steps')})")
    parser.add_argument("--dtype", choices=tuple(compare.BOUNDS), help=f"({default('dtype')})")
    parser.add_argument("--batch-size", type=whole(1), metavar="N", help="images a step (default: the preset's)")
    parser.add_argument(
        "--lr", type=argument(Real(0, included=False)), metavar="X",
        help="Adam's (default: the preset's; a tenth of it where there are codes, which fall out of use in ten steps "
             "otherwise)")
    parser.add_argument("--seed", type=whole(0), default=0, metavar="N", help="(default: 0)")
    parser.add_argument("--plain", action="store_true", help="leave out scratch's accelerated forms")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_model_options(parser)
    speed.add_arguments(parser)


def fill_in(arguments):
    """Fill in the defaults of the kind of comparison asked for. Raises InputError for an option of the other kind."""
    if arguments.speed and arguments.lr is not None:
        raise InputError("--lr cannot be given with --speed: a step takes as long with one learning rate as another.")
    if arguments.speed and arguments.plain:
        raise InputError("--plain cannot be given with --speed, which times scratch's plain forms beside the others.")
    for name in ("operations", "threads", "workers", "unpinned", "device", "tf32"):
        if getattr(arguments, name) and not arguments.speed:
            raise InputError(f"--{name} is an option of compare --speed: add --speed, or leave --{name} out.")
    for name, default in (SPEED_DEFAULTS if arguments.speed else DEFAULTS).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)


def chosen_options(arguments):
    """{option: value} of what makes the model, as the command line gives it. Raises InputError."""
    texts = {name: text for name, text in given(arguments).items() if name in model_names()}
    chosen = read(arguments.model, texts, options_of_model)
    return {"preset": arguments.preset, **chosen}


def recipe_of(arguments, **more):
    """Every option of a run on the examples that the command line chooses, its model the preset's. Raises InputError.
    """
    wanted = {name: getattr(arguments, name) for name in example_options() if getattr(arguments, name) is not None}
    return resolve(arguments.model, {"preset": arguments.preset, "seed": arguments.seed, **more,
                                     **read(arguments.model, wanted)})


def with_sizes(arguments, options):
    """The options of a model to be timed, with those that follow from the run that its examples come from. Raises
    InputError for a system whose examples are neither images nor made up."""
    if "data" in example_options_of(arguments.model):
        return options
    if find_system(arguments.model).made_up is None:
        raise InputError(f"--speed times models of images and of made-up examples, which {arguments.model} does not "
                         f"take: leave it out.")
    if arguments.of is None:
        return options
    return completed(options, load_examples(recipe_of(arguments)))


def run_compare(arguments):
    """Compare as the command line asks; the exit status: 0, or 1 when a bound is broken."""
    fill_in(arguments)
    options = chosen_options(arguments)
    if arguments.speed:
        return speed.run(arguments, with_sizes(arguments, options))
    resolved, recipe = resolve_model(arguments.model, options), recipe_of(arguments)
    if resolved.get("codebook_init") == "normal":  # under codes far apart gradients soon bring all patches to one code
        options["codebook_init"] = "uniform"
    batch_size = arguments.batch_size or recipe["batch_size"]
    constant = scheduled(recipe["lr"], np.inf)  # Adam's, after a warm-up and everything else that a schedule does
    lr = arguments.lr or (constant / 10 if "codes" in resolved else constant)
    data = load_examples({**recipe, "limit": arguments.steps * batch_size})
    result = compare.compare(
        arguments.model, {**options, **data.determines}, data.train, steps=arguments.steps, dtype=arguments.dtype,
        batch_size=batch_size, lr=lr, seed=arguments.seed, plain=arguments.plain)
    result |= {"preset": arguments.preset, "plain": arguments.plain, "likelihood": resolved.get("likelihood"),
               "data": data.name}
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        report_comparison(result)
    return 0 if result["ok"] else 1


def build_parser(argv=None):
    """The parser of all commands of `python -m torch_ref`. Of a parser that is to read the words `argv`, only the
    command that they ask for has its options."""
    parser = top_parser("torch_ref", "The oracle: the same systems in PyTorch.", "python -m torch_ref compare vqvae")
    for name, summary, add_arguments, function in (
        ("train", "Train a model in PyTorch, or continue such a run.", add_train_options, train),
        ("compare", "Compare scratch with PyTorch: gradients, losses and weights, or times.",
         add_compare_arguments, run_compare),
        ("speeds", "Time training steps of both sides for several models and batch sizes.",
         speed.add_speeds_arguments, speed.run_speeds),
        ("growth", "Measure how time and memory of both sides grow with the sizes.",
         speed.add_growth_arguments, speed.run_growth),
        ("gradcheck", "Check every gradient by finite differences and by autograd.",
         gradcheck.add_arguments, gradcheck.run),
    ):
        own_help = name == "train"
        command = parser.commands.add_parser(name, help=summary, description=summary, add_help=not own_help)
        if own_help:
            add_help_of_model(command)
        if argv is None or name == command_in(argv):
            add_arguments(command)
            command.set_defaults(run_command=function)
    return parser
