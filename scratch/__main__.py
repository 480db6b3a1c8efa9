"""python -m scratch: train, sweep, evaluate, reconstruct, sample, variations, interpolate, corners, traverse,
arithmetic, aggregate, mig, curves, encode, decode, bits, pca, probe, retrieve, anomaly, downstream, gradcheck and
devices."""

import sys

from scratch.commands import codes as code_commands
from scratch.commands import devices, downstream, sweep
from scratch.commands import latents as latent_commands
from scratch.commands import runs as commands
from scratch.commands.cli import Parser, main
from scratch.commands.latents import interval
from scratch.gradcheck import table as gradcheck
from scratch.options.kinds import corruption, real, whole
from scratch.options.training import add_data_arguments, add_train_arguments
from scratch.runs.trained import PICTURED

CORRUPTION_HELP = ("how much of a noise a run takes away, whatever it was trained with: gaussian:SIGMA, masking:P or "
                   "salt_and_pepper:P")


def add_run_command(subparsers, name, function, data=True, out=None):
    """A command on a run that exists."""
    summary = function.__doc__.splitlines()[0]
    parser = subparsers.add_parser(name, help=summary, description=summary)
    parser.add_argument("run", metavar="RUN", help="the folder that train wrote")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default), gpu or gpu:N")
    parser.add_argument("--batch-size", type=whole(1), metavar="N", help="images at a time (default: the run's own)")
    if data:
        add_data_arguments(parser, default_data="the run's own")
    if out:
        parser.add_argument("--out", metavar="FILE", help=f"where to write (default: {out} in the run's folder)")
    parser.set_defaults(run_command=function)
    return parser


def add_latent_commands(subparsers):
    """The commands in the space of a run's codes."""
    traverse = add_run_command(subparsers, "traverse", latent_commands.traverse, out="traversals.png")
    traverse.add_argument("--index", type=whole(0), default=0, metavar="I", help="which held-out image")
    traverse.add_argument("--dimensions", type=whole(1), default=10, metavar="N", help="how many (default: 10)")
    traverse.add_argument("--span", type=real(0, inclusive=False), default=3.0, metavar="S", help="(default: 3)")
    traverse.add_argument("--steps", type=whole(2), default=PICTURED, metavar="N")
    corners = add_run_command(subparsers, "corners", latent_commands.corners, out="corners.png")
    corners.add_argument("--index", type=whole(0), nargs=4, default=[0, 1, 2, 3], metavar="I", help="held-out images")
    corners.add_argument("--steps", type=whole(2), default=8, metavar="N", help="a side of the grid (default: 8)")
    arithmetic = add_run_command(subparsers, "arithmetic", latent_commands.arithmetic, out="arithmetic.png")
    arithmetic.add_argument("--factor", required=True, metavar="NAME", help="of shapes: shape, colour, size, rotation, "
                            "x, y, background; of torchvision's sets: label")
    for end in ("from", "to"):
        arithmetic.add_argument(f"--{end}", type=interval, required=True, dest=f"{end}_value", metavar="VALUE",
                                help="a value of the factor such as 2, or LOW..HIGH")
    arithmetic.add_argument("--amount", type=real(0, inclusive=False), default=1.0, metavar="A",
                            help="how much of the difference is added at most (default: 1)")
    arithmetic.add_argument("--steps", type=whole(2), default=5, metavar="N", help="rows (default: 5)")
    arithmetic.add_argument("--count", type=whole(1), default=PICTURED, metavar="N")
    aggregate = add_run_command(subparsers, "aggregate", latent_commands.aggregate, out="aggregate.png")
    aggregate.add_argument("--colour", metavar="FACTOR", help="that colours the points (default: the first known)")
    mig = add_run_command(subparsers, "mig", latent_commands.mig, out="mig.png")
    mig.add_argument("--json", action="store_true", help="print the numbers, draw nothing")


def add_downstream_commands(subparsers):
    """What a code is good for (scratch/downstream.py)."""
    against = "another data set, as in --data: its held-out images are to be told from the run's own"
    probe = add_run_command(subparsers, "probe", downstream.probe)
    retrieve = add_run_command(subparsers, "retrieve", downstream.retrieve, out="neighbours.png")
    retrieve.add_argument("--count", type=whole(1), default=4, metavar="N", help="held-out images to draw (default: 4)")
    anomaly = add_run_command(subparsers, "anomaly", downstream.anomaly, out="anomaly-NAME.png")
    anomaly.add_argument("--against", required=True, metavar="NAME", help=against)
    table = add_run_command(subparsers, "downstream", downstream.downstream)
    table.add_argument("beside", nargs="*", metavar="RUN", help="more runs, a row each")
    table.add_argument("--against", metavar="NAME", help=against)
    table.add_argument("--corruption", type=corruption, metavar="KIND:AMOUNT", help=CORRUPTION_HELP)
    for parser in (probe, retrieve, anomaly, table):
        parser.add_argument("--json", action="store_true", help="print the numbers, draw nothing")


def build_parser():
    """Every command of `python -m scratch` with its options."""
    parser = Parser(prog="python -m scratch", description=__doc__.partition(": ")[2])
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = subparsers.add_parser("train", help="Train a model, or continue a run.")
    add_train_arguments(train)
    train.set_defaults(run_command=commands.train)

    sweeping = subparsers.add_parser("sweep", help=sweep.sweep.__doc__, description=sweep.sweep.__doc__)
    sweep.add_arguments(sweeping)
    sweeping.set_defaults(run_command=sweep.sweep)

    evaluate = add_run_command(subparsers, "evaluate", commands.evaluate)
    evaluate.add_argument("--json", action="store_true")
    evaluate.add_argument("--importance-samples", type=whole(1), metavar="K",
                          help="of vae and dvae: also a bound on log p(x) from K draws of each code")
    evaluate.add_argument("--corruption", type=corruption, metavar="KIND:AMOUNT",
                          help=CORRUPTION_HELP)
    reconstruct = add_run_command(subparsers, "reconstruct", commands.reconstruct, out="reconstructions.png")
    reconstruct.add_argument("--count", type=whole(1), default=PICTURED, metavar="N")
    reconstruct.add_argument("--beside", nargs="+", default=[], metavar="RUN", help="more runs, a row each")
    sample = add_run_command(subparsers, "sample", commands.sample, out="samples.png")
    sample.add_argument("--count", type=whole(1), default=20, metavar="N")
    sample.add_argument("--seed", type=whole(0), default=0, metavar="N")
    variations = add_run_command(subparsers, "variations", commands.variations, out="variations.png")
    variations.add_argument("--index", type=whole(0), nargs="+", default=[0], metavar="I", help="which held-out images")
    variations.add_argument("--count", type=whole(1), default=PICTURED, metavar="N")
    variations.add_argument("--seed", type=whole(0), default=0, metavar="N")
    interpolate = add_run_command(subparsers, "interpolate", commands.interpolate, out="interpolation.png")
    interpolate.add_argument("--between", type=whole(0), nargs=2, default=[0, 1], metavar="I", help="held-out images")
    interpolate.add_argument("--steps", type=whole(2), default=PICTURED, metavar="N")
    encode = add_run_command(subparsers, "encode", code_commands.encode, out="codes.npz")
    encode.add_argument("--split", choices=("held-out", "train"), default="held-out")
    decode = add_run_command(subparsers, "decode", code_commands.decode, data=False, out="decoded.npz")
    decode.add_argument("file", metavar="FILE", help="a .npz that encode wrote")

    curves = subparsers.add_parser("curves", help=commands.curves.__doc__, description=commands.curves.__doc__)
    curves.add_argument("runs", nargs="+", metavar="RUN", help="folders that train wrote")
    curves.add_argument("--metric", nargs="+", metavar="NAME", help="as in metrics.jsonl, a panel each "
                        f"(default: {', '.join(commands.COMPARED)})")
    curves.add_argument("--out", required=True, metavar="FILE", help="where to write the picture (PNG)")
    curves.set_defaults(run_command=commands.curves)
    bits = add_run_command(subparsers, "bits", code_commands.bits)
    bits.add_argument("--json", action="store_true")
    pca = add_run_command(subparsers, "pca", code_commands.pca, out="pca.png")
    pca.add_argument("beside", nargs="*", metavar="RUN", help="more runs, a point each")
    pca.add_argument("--json", action="store_true", help="print the numbers, draw nothing")

    add_latent_commands(subparsers)
    add_downstream_commands(subparsers)

    check = subparsers.add_parser("gradcheck", help="Hold every backward against finite differences.")
    gradcheck.add_arguments(check)
    check.set_defaults(run_command=gradcheck.run)
    here = subparsers.add_parser("devices", help=devices.run.__doc__, description=devices.run.__doc__)
    devices.add_arguments(here)
    here.set_defaults(run_command=devices.run)
    return parser


if __name__ == "__main__":
    sys.exit(main(build_parser()))
