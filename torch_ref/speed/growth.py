"""How time and memory of a training step grow with the sizes, scratch beside PyTorch at its best, as Markdown.

    python -m torch_ref growth --only batch,codes

Every size is measured in fresh processes that take turns (speed.py), so that its peak memory is its own. Images are
drawn, at whatever size is asked for.
"""

import argparse
import json
from contextlib import ExitStack
from dataclasses import dataclass

from scratch.options.kinds import whole
from torch_ref.speed import measure as speed
from torch_ref.speed.measure import by, megabytes, options_of, summary

SIDES = ("scratch", "torch best")
STEPS = 10
QUICK_ROWS, QUICK_STEPS = 2, 2
LOADING_BATCHES = 50  # whose gathering is timed


@dataclass(frozen=True)
class Sweep:
    """One option of `train` that grows while all others stay."""

    title: str
    model: str
    option: str
    heading: str
    values: tuple


SWEEPS = {
    "batch": Sweep("Batch size", "ae", "batch_size", "images a batch", (16, 32, 64, 128, 256, 512, 1024)),
    "image": Sweep("Image size", "vqvae", "image_size", "pixels a side", (32, 64, 128)),
    "codes": Sweep("Codes", "vqvae", "codes", "codes", (512, 1024, 2048, 4096, 8192, 16384)),
    "code-dim": Sweep("Code dimension", "vqvae", "code_dim", "numbers a code", (64, 128, 256, 512)),
}
# (number of images, shape): a million of the model's own size would be 3 GB, so those are smaller ones.
STORES = ((1_000, (32, 32, 3)), (10_000, (32, 32, 3)), (100_000, (32, 32, 3)), (1_000_000, (8, 8, 3)))
SEARCH = {"vectors": 65_536, "code_dim": 512, "codes": 8_192, "repetitions": 3}
QUICK_SEARCH = {"vectors": 1_024, "code_dim": 64, "codes": 256, "repetitions": 2}
TABLES = (*SWEEPS, "images", "search")


def markdown(heading, rows):
    """A Markdown table; the first column names the row, the others are numbers."""
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def measure_steps(options, machine, steps):
    """{side: times and memory} of a training step, in processes of their own."""
    with ExitStack() as stack:
        processes = speed.start(stack, SIDES, options, machine)
        speed.build(processes)
        times, _ = speed.take_turns(processes, steps)
        memory = speed.one_after_the_other(processes, "memory")
    measured = {side: {**summary(times[side]), "memory": memory[side]} for side in SIDES}
    for side in measured.values():
        side["microseconds_per_image"] = 1e3 * side["median"] / options["batch_size"]
    return measured


def sweep(name, preset, machine, steps, quick):
    """The rows of one sweep."""
    plan = SWEEPS[name]
    rows = []
    for value in plan.values[: QUICK_ROWS if quick else None]:
        options = options_of(plan.model, preset, **{plan.option: value})
        sides = measure_steps(options, machine, steps)
        rows.append({plan.option: value, "batch_size": options["batch_size"], "sides": sides,
                     "ratio": sides["scratch"]["median"] / sides["torch best"]["median"]})
    batch = "" if name == "batch" else f", batches of {options['batch_size']}"
    return {"title": f"{plan.title}: {plan.model} ({preset}){batch}", "rows": rows}


def show_sweep(name, table):
    plan = SWEEPS[name]
    heading = [plan.heading]
    for side in SIDES:
        heading += [f"{side}: ms/step (quartiles)", "µs/image", "peak MB", "imports MB"]
    lines = []
    for row in table["rows"]:
        line = [f"{row[plan.option]:,}"]
        for side in SIDES:
            of_side = row["sides"][side]
            lower, upper = of_side["quartiles"]
            line += [f"{of_side['median']:.1f} ({lower:.1f} – {upper:.1f})",
                     f"{of_side['microseconds_per_image']:.0f}",
                     *(megabytes(of_side["memory"][when]) for when in ("peak", "imports"))]
        lines.append([*line, f"{row['ratio']:.2f}"])
    return markdown([*heading, "scratch / torch best"], lines)


def images(preset, machine, steps, quick):
    """Shuffling and loading against the number of images, beside a training step of the AE."""
    options = options_of("ae", preset)
    with ExitStack() as stack:
        processes = speed.start(stack, SIDES, options, machine)
        speed.build(processes)
        times, _ = speed.take_turns(processes, steps)
        medians = {side: summary(times[side])["median"] for side in SIDES}
        rows = []
        for count, shape in STORES[: QUICK_ROWS if quick else None]:
            costs = processes["scratch"].ask(
                "loading", count=count, image_shape=shape, repetitions=LOADING_BATCHES)
            both = costs["shuffle"] + costs["gather"]
            rows.append({"images": count, "shape": list(shape), **costs,
                         "share": {side: both / medians[side] for side in SIDES}})
    return {"title": f"Number of images: loading beside a step of ae ({preset}), batches of {options['batch_size']}",
            "steps": medians, "rows": rows}


def show_images(table):
    heading = ["images", "of", "stored MB", "shuffling: ms a step", "gathering and floats: ms a step",
               *(f"both, of a step of {side} ({table['steps'][side]:.1f} ms)" for side in SIDES)]
    return markdown(heading, [
        [f"{row['images']:,}", by(row["shape"]), megabytes(row["bytes"]), f"{row['shuffle']:.4f}",
         f"{row['gather']:.3f}", *(f"{row['share'][side]:.2%}" for side in SIDES)]
        for row in table["rows"]
    ])


def search(preset, machine, steps, quick):
    """The search for the nearest codes, alone."""
    size = QUICK_SEARCH if quick else SEARCH
    with ExitStack() as stack:
        processes = speed.start(stack, SIDES, options_of("vqvae", preset), machine)
        sides = speed.one_after_the_other(processes, "search", **size)
    ratio = sides["scratch"]["milliseconds"] / sides["torch best"]["milliseconds"]
    return {"title": f"The search for the nearest codes: {size['vectors']:,} vectors of {size['code_dim']} against "
                     f"{size['codes']:,} codes", **size, "sides": sides, "ratio": ratio}


def show_search(table):
    """NumPy tells tracemalloc what it allocates; PyTorch does not, so there the growth of the process has to do."""
    rows = [
        [side, f"{of_side['milliseconds']:.0f}", megabytes(of_side["resident"]),
         megabytes(of_side["traced"]) if side == "scratch" else "–"]
        for side, of_side in table["sides"].items()
    ]
    ratio = ["scratch / torch best", f"{table['ratio']:.2f}", "", ""]
    return markdown(["", "ms", "growth of the process, MB", "traced by tracemalloc, MB"], [*rows, ratio])


def make_table(name, preset, machine, steps, quick):
    """(what was measured, the same as Markdown) of one table."""
    if name in SWEEPS:
        table = sweep(name, preset, machine, steps, quick)
        return table, show_sweep(name, table)
    make, show = {"images": (images, show_images), "search": (search, show_search)}[name]
    table = make(preset, machine, steps, quick)
    return table, show(table)


def tables(text):
    """A parser of names such as batch,codes."""
    names = text.split(",")
    for name in names:
        if name not in TABLES:
            raise argparse.ArgumentTypeError(f"{name!r} is no table: choose from {', '.join(TABLES)}")
    return tuple(dict.fromkeys(names))


def add_arguments(parser):
    """The options of `python -m torch_ref growth`."""
    parser.add_argument("--only", type=tables, default=TABLES, metavar="NAME,NAME",
                        help=f"some of the tables: {', '.join(TABLES)} (all)")
    parser.add_argument("--steps", type=whole(1), metavar="N",
                        help=f"timed steps a row and side ({STEPS}; quick {QUICK_STEPS})")
    parser.add_argument("--quick", action="store_true",
                        help=f"the small preset, and of each table the first {QUICK_ROWS} rows")
    parser.add_argument("--json", action="store_true", help="print the measurements as JSON")
    speed.add_machine_arguments(parser)


def run(arguments):
    """Measure as the command line asks, and print each table as soon as it is there; the exit status."""
    machine = speed.machine_of(arguments)
    preset = "small" if arguments.quick else "article"
    steps = arguments.steps or (QUICK_STEPS if arguments.quick else STEPS)
    measured = {}
    for name in arguments.only:
        measured[name], text = make_table(name, preset, machine, steps, arguments.quick)
        if not arguments.json:
            print(f"**{measured[name]['title']}**\n\n{text}\n", flush=True)
    if arguments.json:
        print(json.dumps({"threads": machine.threads, "steps": steps, "pins": machine.pins, "tables": measured},
                         indent=2))
    else:
        pinned = ", ".join(f"{name}={value}" for name, value in machine.pins.items())
        print(f"Medians of {steps} steps in float32, {machine.threads} thread(s) a side, kernels pinned by the "
              f"environment: {pinned or 'none'}. imports MB is a process before it holds images or a model.")
    return 0
