"""The commands of `python -m torch_ref`: here options are parsed, results printed, and errors put into words."""

import torch

from scratch.commands import train as training
from scratch.commands.cli import Parser
from scratch.commands.options import add_train_options
from scratch.options.errors import InputError
from torch_ref import compare, gradcheck
from torch_ref.models import build, model_options
from torch_ref.speed import commands as speed
from torch_ref.training import Trainer, make_optimizer


def make_trainer(options, image_shape):
    """(trainer, number of parameters): the PyTorch side of `train`, from the options that scratch's side takes.

    Raises InputError for what cannot be made of them.
    """
    torch.manual_seed(options["seed"])
    try:
        chosen = model_options(options["model"], options)
        model = build(options["model"], image_shape, chosen, dtype=getattr(torch, options["dtype"]))
        optimizer = make_optimizer(model.parameters(), options)
        trainer = Trainer(model, optimizer, options["seed"], options["device"], lr=options["lr"])
    except ValueError as error:
        raise InputError(f"{str(error).removesuffix('.')}.") from None
    return trainer, sum(parameter.numel() for parameter in model.parameters())


def train(arguments):
    """`train` with the same options, run folder and pictures as `python -m scratch train`."""
    if arguments.workers is not None or arguments.plain is not None:
        raise InputError("--workers and --plain are options of scratch: PyTorch chooses its own threads and forms.")
    return training.train(arguments, make_trainer, program="torch_ref")


def build_parser():
    """Every command of `python -m torch_ref` with its options."""
    parser = Parser(prog="python -m torch_ref", description="The oracle: the same systems in PyTorch.")
    parser.commands = subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary, add_arguments, function in (
        ("train", "Train a model in PyTorch, or continue such a run.", add_train_options, train),
        ("compare", "Compare scratch with PyTorch: gradients, losses and weights, or times.",
         compare.add_arguments, compare.run),
        ("speeds", "Time training steps of both sides for several models and batch sizes.",
         speed.add_speeds_arguments, speed.run_speeds),
        ("growth", "Measure how time and memory of both sides grow with the sizes.",
         speed.add_growth_arguments, speed.run_growth),
        ("gradcheck", "Check every gradient by finite differences and by autograd.",
         gradcheck.add_arguments, gradcheck.run),
    ):
        command = subparsers.add_parser(name, help=summary, description=summary)
        add_arguments(command)
        command.set_defaults(run_command=function)
    return parser
