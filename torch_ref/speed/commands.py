"""The commands that measure times and memory: `compare --speed`, `speeds` and `growth`."""

import argparse
import json
import shlex
import sys
from pathlib import Path

from scratch.commands.options import whole
from scratch.options.training import IMAGES
from torch_ref.bottlenecks import Bottleneck
from torch_ref.speed import growth, report, table
from torch_ref.speed.measure import measure
from torch_ref.speed.options import options_of
from torch_ref.speed.process import Machine


def names_among(known, what):
    """A parser of names such as batch,codes, each of them once."""

    def parse(text):
        chosen = tuple(dict.fromkeys(text.split(",")))
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no {what}: choose from {', '.join(known)}")
        return chosen

    return parse


def sizes(text):
    """A parser of sizes such as 64,256."""
    return tuple(map(whole(1), text.split(",")))


def add_machine_arguments(parser):
    """The options for threads, workers and kernels."""
    parser.add_argument("--threads", type=whole(1), metavar="N", help="threads a side (default: all cores)")
    parser.add_argument("--workers", type=whole(1), metavar="N",
                        help="threads among which scratch splits a batch (default: automatic)")
    parser.add_argument("--unpinned", action="store_true",
                        help="drop OPENBLAS_CORETYPE and its like, so that each library chooses its own kernels")


def machine_of(arguments):
    """The Machine that the options of the command line describe."""
    return Machine(arguments.threads, arguments.workers, arguments.unpinned, getattr(arguments, "tf32", False))


# --- compare --speed --------------------------------------------------------------------------------------------------


def add_arguments(parser):
    """The options of `compare --speed` that a comparison of values does not have."""
    group = parser.add_argument_group("speed")
    group.add_argument("--speed", action="store_true", help="time training steps of both sides instead")
    group.add_argument("--operations", action="store_true", help="time every operation too, forward and backward apart")
    add_machine_arguments(group)
    group.add_argument("--device", metavar="NAME", help="of both sides: cpu (default), gpu or gpu:N")
    group.add_argument("--tf32", action="store_true", help="let both sides multiply float32 with TF32 on a GPU")


def run(arguments, model):
    """Measure as the command line asks, a model with the options given for it; the exit status."""
    model = {name: value for name, value in model.items() if name != "preset"}
    options = options_of(
        arguments.model, arguments.preset, data=arguments.data, data_root=arguments.data_root, dtype=arguments.dtype,
        seed=arguments.seed, device=arguments.device or "cpu", **model)
    options["batch_size"] = arguments.batch_size or options["batch_size"]
    result = measure(options, machine_of(arguments), steps=arguments.steps, operations=arguments.operations)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        report.report(result)
    return 0


# --- speeds -----------------------------------------------------------------------------------------------------------


def add_speeds_arguments(parser):
    """The options of `python -m torch_ref speeds`."""
    models = tuple(sorted(Bottleneck.systems))
    parser.add_argument("--models", type=names_among(models, "model"), default=models, metavar="NAME,NAME",
                        help=f"some of {', '.join(models)} (default: all)")
    parser.add_argument("--batch-sizes", type=sizes, default=table.BATCH_SIZES, metavar="N,N",
                        help=f"images a step (default: {','.join(map(str, table.BATCH_SIZES))})")
    parser.add_argument("--preset", default="article", help="sizes of the models (default: article)")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="of both sides: cpu (default), gpu or gpu:N")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="(default: float32)")
    parser.add_argument("--data", default="shapes", help="as in train (default: shapes)")
    parser.add_argument("--data-root", default=IMAGES[1].default, help="folder of torchvision's sets")
    parser.add_argument("--steps", type=whole(1), default=table.STEPS, metavar="N",
                        help=f"timed steps a side (default: {table.STEPS})")
    parser.add_argument("--out", metavar="PATH", help="write PATH.md and PATH.json, anew after each row")
    add_machine_arguments(parser)


def run_speeds(arguments):
    """Measure row after row, and print the table; the exit status."""
    asked = {name: getattr(arguments, name) for name in ("preset", "dtype", "data", "steps")}
    command = shlex.join(["python", "-m", "torch_ref", *sys.argv[1:]])
    rows = []
    for row in table.measure_table(
        arguments.models, machine_of(arguments), batch_sizes=arguments.batch_sizes, device=arguments.device,
        data_root=arguments.data_root, **asked,
    ):
        rows.append(row)
        print("  ".join(filter(None, report.cells(row))), file=sys.stderr, flush=True)
        found = report.circumstances(rows, command=command, **asked)
        if arguments.out:
            write(arguments.out, found, rows)
    print(report.table_as_markdown(found, rows))
    return 0


def write(out, found, rows):
    """Both files, anew."""
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(f"{out}.md").write_text(report.table_as_markdown(found, rows), encoding="utf-8")
    Path(f"{out}.json").write_text(json.dumps({**found, "rows": rows}, indent=2) + "\n", encoding="utf-8")


# --- growth -----------------------------------------------------------------------------------------------------------


def add_growth_arguments(parser):
    """The options of `python -m torch_ref growth`."""
    parser.add_argument("--only", type=names_among(growth.TABLES, "table"), default=growth.TABLES, metavar="NAME,NAME",
                        help=f"some of the tables {', '.join(growth.TABLES)} (default: all)")
    parser.add_argument("--steps", type=whole(1), metavar="N",
                        help=f"timed steps a row and side (default: {growth.STEPS}; with --quick {growth.QUICK_STEPS})")
    parser.add_argument("--quick", action="store_true",
                        help=f"the small preset, and of each table the first {growth.QUICK_ROWS} rows")
    parser.add_argument("--json", action="store_true", help="print the measurements as JSON")
    add_machine_arguments(parser)


def run_growth(arguments):
    """Measure as the command line asks, and print each table as soon as it is there; the exit status."""
    machine = machine_of(arguments)
    preset = "small" if arguments.quick else "article"
    steps = arguments.steps or (growth.QUICK_STEPS if arguments.quick else growth.STEPS)
    measured = {}
    for name in arguments.only:
        measured[name] = growth.measure_growth(name, preset, machine, steps=steps, quick=arguments.quick)
        if not arguments.json:
            text = report.growth_as_markdown(name, measured[name])
            print(f"**{measured[name]['title']}**\n\n{text}\n", flush=True)
    if arguments.json:
        print(json.dumps({"threads": machine.threads, "steps": steps, "pins": machine.pins, "tables": measured},
                         indent=2))
    else:
        pinned = ", ".join(f"{name}={value}" for name, value in machine.pins.items())
        print(f"Medians of {steps} steps in float32, {machine.threads} thread(s) a side, kernels pinned by the "
              f"environment: {pinned or 'none'}. imports MB is a process before it holds images or a model.")
    return 0
