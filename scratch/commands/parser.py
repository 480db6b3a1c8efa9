"""Every command of `python -m scratch` with its options."""

from scratch.commands import (
    codes,
    dalle,
    devices,
    downstream,
    evaluate,
    gradcheck,
    judge,
    latents,
    learn,
    listing,
    pictures,
    reference,
    report,
    sweep,
    train,
)
from scratch.commands.cli import top_parser

COMMANDS = (train, dalle, listing, report, sweep, evaluate, pictures, codes, judge, latents, downstream, gradcheck,
            learn, devices, reference)


def build_parser():
    """The parser of all commands; each module in COMMANDS adds its own."""
    parser = top_parser("scratch", "Autoencoders with every derivative written by hand.",
                        "python -m scratch train vqvae")
    for module in COMMANDS:
        module.add(parser.commands)
    return parser
