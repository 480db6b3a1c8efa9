"""python -m torch_ref: train, compare, speeds, growth, gradcheck."""

import sys

import torch

from scratch.accelerate.cpu.memory import retain_freed_memory
from scratch.commands import runs as commands
from scratch.commands.cli import Parser, main
from scratch.options.errors import InputError
from scratch.options.training import add_train_arguments
from torch_ref import compare, gradcheck
from torch_ref.models import build, model_options
from torch_ref.speed import growth
from torch_ref.speed import table as speed_table
from torch_ref.training import Trainer, make_optimizer


def make_trainer(options, image_shape):
    """The PyTorch side of `train`: the same system and optimiser from the same options."""
    torch.manual_seed(options["seed"])
    chosen = model_options(options["model"], options)
    try:
        model = build(options["model"], image_shape, chosen, dtype=getattr(torch, options["dtype"]))
    except ValueError as error:
        raise InputError(f"{error}; choose another --image-size.") from None
    try:
        optimizer = make_optimizer(model.parameters(), options)
        trainer = Trainer(model, optimizer, options["seed"], options["device"], lr=options["lr"])
    except ValueError as error:
        raise InputError(error) from None
    return trainer, sum(parameter.numel() for parameter in model.parameters())


def train(arguments):
    """`train` with the same options, run folder and pictures as `python -m scratch train`."""
    if arguments.workers or arguments.plain:
        raise InputError("--workers and --plain are options of scratch; PyTorch decides of its own threads and forms.")
    return commands.train(arguments, make_trainer, program="torch_ref")


def build_parser():
    """Every command of `python -m torch_ref` with its options."""
    parser = Parser(prog="python -m torch_ref", description="The oracle: the same systems in PyTorch.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary, add_arguments, function in (
        ("train", "Train a model in PyTorch, or continue such a run.", add_train_arguments, train),
        ("compare", "Hold scratch and PyTorch against each other.", compare.add_arguments, compare.run),
        ("speeds", "Time training steps of both sides, as one table.", speed_table.add_arguments, speed_table.run),
        ("growth", "Time and memory of both sides against the sizes.", growth.add_arguments, growth.run),
        ("gradcheck", "Finite differences and autograd side by side.", gradcheck.add_arguments, gradcheck.run),
    ):
        command = subparsers.add_parser(name, help=summary, description=summary)
        add_arguments(command)
        command.set_defaults(run_command=function)
    return parser


if __name__ == "__main__":
    retain_freed_memory()
    sys.exit(main(build_parser()))
