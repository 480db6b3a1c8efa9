"""Training steps of several models and batch sizes, on a GPU without and with TF32, in one table with what it rests on.

    python -m torch_ref speeds --device gpu --out docs/gpu_speed

writes docs/gpu_speed.md and docs/gpu_speed.json anew after each row, so that what was measured is there whatever ends
the command. A row is what `compare MODEL --speed` measures (speed.py); one that cannot be measured says why.
"""

import argparse
import json
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

from scratch.commands.devices import cuda
from scratch.options.errors import InputError
from scratch.options.kinds import whole
from scratch.options.training import DEFAULTS
from torch_ref.speed import measure as speed
from torch_ref.speed.growth import markdown
from torch_ref.speed.measure import SIDES, megabytes, options_of

MODELS = ("ae", "vae", "vqvae", "vqvae2", "dvae")
BATCH_SIZES = (64, 256, 1024, 4096)
STEPS = 20
HEADING = ["model", "images a step", "TF32", *(f"{side}: ms (quartiles)" for side in SIDES),
           "scratch / torch", "scratch / torch best", "plain / torch best", "scratch / floor",
           "MB of the GPU: scratch, torch best"]


def plan(arguments):
    """(model, batch size, TF32) of every row, the models one after the other; on a CPU there is no TF32."""
    precisions = (False,) if arguments.device == "cpu" or arguments.dtype == "float64" else (False, True)
    return [(model, size, tf32) for model in arguments.models for tf32 in precisions for size in arguments.batch_sizes]


def measure_row(arguments, model, batch_size, tf32):
    """{model, batch_size, tf32, and what speed.measure found, or the error that it ended with}."""
    options = options_of(model, arguments.preset, data=arguments.data, data_root=arguments.data_root,
                         dtype=arguments.dtype, device=arguments.device, batch_size=batch_size)
    machine = speed.machine_of(argparse.Namespace(**{**vars(arguments), "tf32": tf32}))
    row = {"model": model, "batch_size": batch_size, "tf32": tf32}
    try:
        return {**row, "measured": speed.measure(options, machine, steps=arguments.steps)}
    except InputError as error:
        return {**row, "error": str(error)}


def cells(row):
    """A row as Markdown's cells."""
    start = [row["model"], f"{row['batch_size']:,}", "on" if row["tf32"] else "off"]
    if "error" in row:
        return [*start, row["error"].replace("|", "¦"), *[""] * (len(HEADING) - len(start) - 1)]
    result = row["measured"]
    sides, ratios = result["sides"], result["ratios"]
    times = ["{median:.2f} ({0:.2f} – {1:.2f})".format(*side["quartiles"], **side) for side in sides.values()]
    memory = ", ".join(megabytes(sides[name]["memory"]["device"]) for name in ("scratch", "torch best"))
    compared = [ratios["scratch"]["torch"], ratios["scratch"]["torch best"], ratios["scratch plain"]["torch best"],
                result["floor"]["ratios"]["scratch"]]
    return [*start, *times, *(f"{ratio:.2f}" for ratio in compared), memory]


def circumstances(arguments, rows):
    """What the figures depend on: {name: text}."""
    measured = [row["measured"] for row in rows if "measured" in row]
    libraries = {}
    for side in ("scratch", "torch"):
        libraries |= measured[0]["sides"][side]["libraries"] if measured else {}
    named = {"gpu": "GPU", "driver": "the driver's CUDA", "cupy": "CuPy", "torch": "PyTorch", "cudnn": "cuDNN",
             "numpy": "NumPy"}
    return {
        "command": shlex.join(["python", "-m", "torch_ref", *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, "
                   f"Python {platform.python_version()}",
        **{title: cuda(libraries[name]) if name == "driver" else str(libraries[name])
           for name, title in named.items() if name in libraries},
        "what": f"preset {arguments.preset}, {arguments.dtype}, images of {arguments.data}; medians of "
                f"{arguments.steps} steps a side (forward, backward, Adam), between CUDA events on a GPU",
    }


def as_markdown(found, rows):
    lines = ["# Training steps, measured", "", *(f"- {name}: {text}" for name, text in found.items()), ""]
    lines += [f"- *{name}*: {what}" for name, what in SIDES.items()]
    return "\n".join([*lines, "", markdown(HEADING, map(cells, rows)), ""])


def write(out, found, rows):
    """Both files, anew."""
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(f"{out}.md").write_text(as_markdown(found, rows), encoding="utf-8")
    Path(f"{out}.json").write_text(json.dumps({**found, "rows": rows}, indent=2) + "\n", encoding="utf-8")


def names(text):
    """A parser of model names."""
    chosen = tuple(dict.fromkeys(text.split(",")))
    if unknown := [name for name in chosen if name not in MODELS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no model: choose from {', '.join(MODELS)}")
    return chosen


def add_arguments(parser):
    """The options of `python -m torch_ref speeds`."""
    def sizes(text):
        return tuple(map(whole(1), text.split(",")))

    parser.add_argument("--models", type=names, default=MODELS, metavar="NAME,NAME", help="(all five)")
    parser.add_argument("--batch-sizes", type=sizes, default=BATCH_SIZES, metavar="N,N", help="(64,256,1024,4096)")
    parser.add_argument("--preset", default="article", help="(article)")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default), gpu or gpu:N, for both sides")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--data", default="shapes", help="as in train")
    parser.add_argument("--data-root", default=DEFAULTS["data_root"], help="where torchvision's sets are")
    parser.add_argument("--steps", type=whole(1), default=STEPS, metavar="N", help=f"timed steps a side ({STEPS})")
    parser.add_argument("--out", metavar="PATH", help="write PATH.md and PATH.json")
    speed.add_machine_arguments(parser)


def run(arguments):
    """Measure row after row and print the table; the exit status. A first row that fails ends it all."""
    rows = []
    for model, batch_size, tf32 in plan(arguments):
        rows.append(measure_row(arguments, model, batch_size, tf32))
        if len(rows) == 1 and "error" in rows[0]:
            raise InputError(rows[0]["error"])
        print("  ".join(filter(None, cells(rows[-1]))), file=sys.stderr, flush=True)
        if arguments.out:
            write(arguments.out, circumstances(arguments, rows), rows)
    print(as_markdown(circumstances(arguments, rows), rows))
    return 0
