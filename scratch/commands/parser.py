"""Every command of `python -m scratch` with its options."""

from scratch.commands import (
    codes,
    devices,
    downstream,
    evaluate,
    gradcheck,
    latents,
    learn,
    pictures,
    reference,
    sweep,
    train,
)
from scratch.commands.cli import Parser

COMMANDS = (train, sweep, evaluate, pictures, codes, latents, downstream, gradcheck, learn, devices, reference)


def build_parser():
    """The parser of all commands; each module in COMMANDS adds its own."""
    parser = Parser(prog="python -m scratch", description="Autoencoders with every derivative written by hand.")
    parser.commands = subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(subparsers)
    return parser
