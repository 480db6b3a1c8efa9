"""Scratch beside torch: how long a training step takes, how much memory, and where the time goes.

    python -m torch_ref compare ae --speed --operations

Each side is a process of its own (speed_process.py starts it, speed_side.py is it), so that neither library's threads,
allocator or memory is the other's. They take turns of a few steps, so that whatever else the machine does strikes all
alike, and wait a moment between turns: a library's threads go on spinning for a while when their work is done.

A step is forward, backward and the optimiser's update, from images that are floats already: converting them is the
same work on all sides and is not counted. All sides take the same batches. Weights are each side's own, and no time
depends on them.

The flops are those of the layers' matrix products, convolution by im2col, and the search for the nearest codes: an
algorithm that needs fewer can reach more than the peak.
"""

import json
import os
import time
from contextlib import ExitStack

import numpy as np

from scratch.accelerate.cpu.workers import cores
from scratch.options.kinds import whole
from scratch.options.models import preset_for
from scratch.options.training import DEFAULTS
from torch_ref.speed.process import Machine, build, start

SIDES = {
    "scratch": "as `python -m scratch train` runs it",
    "scratch plain": "scratch with every accelerated form off, one worker",
    "torch": "contiguous NCHW, foreach Adam",
    "torch best": "channels-last, fused Adam, scratch's allocator setting",
}
OURS, THEIRS = ("scratch", "scratch plain"), ("torch", "torch best")
FLOOR = "floor"  # a process that holds the bare matrix products, apart from the sides whose memory is reported

TURN = 5  # timed steps before it is the next side's turn
PAUSE = 0.3  # seconds between turns; OpenBLAS's threads spin for about 30 ms, OpenMP's for up to 200
WARM_UP = 3  # steps before a side's first turn that are not counted
WARM_UP_AGAIN = 1  # and before each later one
OPERATION_REPETITIONS = 10
GEMM_SIZE, GEMM_REPETITIONS = 2048, 5


def take_turns(processes, steps, floor=None):
    """({side: milliseconds of each of `steps` steps}, [a pass of the floor for each step])."""
    times, passes = {name: [] for name in processes}, []
    for first in range(0, steps, TURN):
        count = min(TURN, steps - first)
        for name, process in processes.items():
            time.sleep(PAUSE)
            times[name] += process.ask("steps", count=count, warm_up=WARM_UP_AGAIN if first else WARM_UP)
        if floor:
            time.sleep(PAUSE)
            passes += floor.ask("floor", passes=count)
    return times, passes


def summary(times):
    """The median and the quartiles of a list of times."""
    lower, middle, upper = np.percentile(times, (25, 50, 75)).tolist()
    return {"median": middle, "quartiles": [lower, upper], "milliseconds": times}


def one_after_the_other(processes, command, **arguments):
    """{side: its answer}, with a pause before each."""
    answers = {}
    for name, process in processes.items():
        time.sleep(PAUSE)
        answers[name] = process.ask(command, **arguments)
    return answers


def measure_floor(passes, products):
    """The medians of the floor: in all, of the products together, of each layer's, and of the optimiser."""
    def total_of_products(one):
        return sum(sum(layer.values()) for layer in one["products"].values())

    return {
        "total": float(np.median([total_of_products(one) + one["optimizer"] for one in passes])),
        "products": float(np.median([total_of_products(one) for one in passes])),
        "optimizer": float(np.median([one["optimizer"] for one in passes])),
        "layers": {
            layer["name"]: {
                way: float(np.median([one["products"][layer["name"]][way] for one in passes]))
                for way in ("forward", "backward")
            }
            for layer in products
        },
    }


def measure(options, machine, *, steps, operations=False):
    """Time `steps` steps on every side, and all that explains them. Returns a dict that JSON can hold.

    options   those of `train`
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    with ExitStack() as stack:
        processes = start(stack, (*SIDES, FLOOR), options, machine)
        built = build(processes)
        floor = processes.pop(FLOOR)
        products = floor.ask("products")
        times, passes = take_turns(processes, steps, floor)
        memory = one_after_the_other(processes, "memory")  # now: all that follows needs some of its own
        libraries = one_after_the_other(processes, "libraries")
        gemm = dict(size=GEMM_SIZE, repetitions=GEMM_REPETITIONS)
        peaks = one_after_the_other({"scratch": floor, "torch": processes["torch"]}, "gemm", **gemm)
        alone = one_after_the_other(processes, "operations", repetitions=OPERATION_REPETITIONS) if operations else None

    flops = sum(layer["flops"] for layer in products)
    sides = {}
    for name in SIDES:
        timed = summary(times[name])
        peak = peaks["scratch" if name in OURS else "torch"]
        sides[name] = {
            "what": SIDES[name], **timed, "memory": memory[name], "workers": built[name]["workers"],
            "share_of_peak": 1e-6 * flops / (timed["median"] * peak), "libraries": libraries[name],
        }
    floors = measure_floor(passes, products)
    return {
        "model": options["model"], "preset": options["preset"], "parameters": built["scratch"]["parameters"],
        "image_shape": built["scratch"]["image_shape"], "data": options["data"], "dtype": options["dtype"],
        "likelihood": options["likelihood"], "batch_size": options["batch_size"], "seed": options["seed"],
        "device": options["device"], "tf32": machine.tf32,
        "steps": steps, "threads": machine.threads, "pins": machine.pins, "load": load,
        "sides": sides,
        "ratios": {ours: {theirs: sides[ours]["median"] / sides[theirs]["median"] for theirs in THEIRS}
                   for ours in OURS},
        "peak_gflops": peaks, "flops": flops, "products": products,
        "floor": {**floors, "ratios": {name: sides[name]["median"] / floors["total"] for name in OURS}},
        "operations": operations_table(alone, floors, products, peaks) if operations else None,
    }


def operations_table(alone, floor, products, peaks):
    """Every operation's times on each side and what follows from them, their sums, and on how many images.

    A row on one side only has nothing in the others: what is a module here may be a line of a function there.
    """
    rows = {}
    for side, measured in alone.items():
        for name, row in measured["rows"].items():
            rows.setdefault(name, {})[side] = row
    for name, layer in floor["layers"].items():
        rows.setdefault(name, {})[FLOOR] = layer
    rows["optimizer"] = {**rows.pop("optimizer"), FLOOR: {"step": floor["optimizer"]}}
    flops = {layer["name"]: layer["flops"] for layer in products}
    return {
        "rows": rows,
        "explained": {name: explain(row, flops.get(name), peaks) for name, row in rows.items()},
        "sums": {side: sum(sum(row[side].values()) for row in rows.values() if side in row) for side in alone},
        "images": {side: measured["images"] for side, measured in alone.items()},
        "workers": {side: measured["workers"] for side, measured in alone.items()},
    }


def explain(row, flops, peaks):
    """What an operation's times mean: its totals, the ratios scratch/PyTorch, shares of the peak, and what scratch
    spends above the floor, all of it where the operation multiplies no matrices.

    Workers do their shares at the same time, so one worker's time is the whole batch's.
    """
    totals = {side: sum(times.values()) for side, times in row.items()}
    ours = totals.get("scratch")
    return {
        "totals": totals,
        "ratios": {theirs: ours / totals[theirs] for theirs in THEIRS if ours is not None and theirs in totals},
        "share_of_peak": {side: 1e-6 * flops / (total * peaks["scratch" if side in OURS else "torch"])
                          for side, total in totals.items() if flops and side in SIDES},
        "above_floor": None if ours is None else ours - totals.get(FLOOR, 0.0),
    }


def megabytes(count):
    """Bytes as millions, a dash where they are not known."""
    return "–" if count is None else f"{count / 1e6:.0f}"


def by(shape):
    """(32, 32, 3) as "32×32×3"."""
    return "×".join(map(str, shape))


def report(result):
    """Print what `measure` found as tables."""
    sides, floor = result["sides"], result["floor"]
    workers = sides["scratch"]["workers"]
    print(f"{result['model']} ({result['preset']}), {result['parameters']:,} parameters: training steps of "
          f"{result['batch_size']} images of {by(result['image_shape'])} in {result['dtype']}, "
          f"{on_what(result)},\n{result['steps']} steps a side after warm-up, in turns; "
          f"images are converted to floats before the time is taken.\n")

    print(f"{'':15}{'ms/step':>10}{'quartiles':>17}{'peak MB':>10}{'imports MB':>12}{'of peak':>9}{'of floor':>10}")
    for name, side in sides.items():
        lower, upper = side["quartiles"]
        against_floor = f"{floor['ratios'][name]:.2f}" if name in floor["ratios"] else ""
        quartiles = f"{lower:.1f} – {upper:.1f}"
        print(f"{name:15}{side['median']:10.1f}{quartiles:>17}{megabytes(side['memory']['peak']):>10}"
              f"{megabytes(side['memory']['imports']):>12}{side['share_of_peak']:9.1%}{against_floor:>10}")
    print()
    for name, side in sides.items():
        print(f"{name:15}{side['what']}" + (f"; {workers} worker(s)" if name == "scratch" else ""))
    print("peak MB is the process's largest size, imports MB its size before it held images or a model.")
    if result["device"] != "cpu":
        held = ", ".join(f"{name} {megabytes(side['memory']['device'])}" for name, side in sides.items())
        print(f"MB of the GPU's memory that each held at most: {held}.")

    print(f"\n{'ratio':15}" + "".join(f"{'/ ' + theirs:>14}" for theirs in THEIRS))
    for ours, ratios in result["ratios"].items():
        print(f"{ours:15}" + "".join(f"{ratios[theirs]:14.2f}" for theirs in THEIRS))

    kind = "sgemm" if result["dtype"] == "float32" else "dgemm"
    print(f"\nfloor: {floor['total']:.1f} ms = {floor['products']:.1f} ms of bare matrix products at the step's shapes "
          f"+ {floor['optimizer']:.1f} ms for a pass of the optimiser")
    print(f"flops: {result['flops'] / 1e9:.2f} GFLOP a step in matrix products (im2col's)")
    print(f"{kind} peak at {GEMM_SIZE}³: {'NumPy' if result['device'] == 'cpu' else 'CuPy'} "
          f"{result['peak_gflops']['scratch']:.0f} GFLOP/s, "
          f"PyTorch {result['peak_gflops']['torch']:.0f} GFLOP/s")
    report_libraries(result)
    if result["load"] is not None:
        print(f"Before it began, {result['load']:.1f} threads of other programs were busy or waiting on "
              f"{cores()} core(s) (average of a minute).")
    if result["operations"]:
        report_operations(result)


def on_what(result):
    """The device that the sides run on, in words."""
    if result["device"] == "cpu":
        return f"{result['threads']} thread(s) a side"
    gpu = result["sides"]["scratch"]["libraries"]["gpu"]
    return f"{gpu}, TF32 {'on' if result['tf32'] else 'off'}, between CUDA events"


def report_libraries(result):
    """Which libraries ran, on which kernels, and whether somebody chose those."""
    ours, theirs = (result["sides"][name]["libraries"] for name in ("scratch plain", "torch"))
    blas = ", ".join(f"{pool['internal_api']} {pool['version']}, {pool['architecture'] or 'unknown'} kernels, "
                     f"{pool['num_threads']} thread(s)" for pool in ours["blas"])
    print(f"NumPy {ours['numpy']} on {blas or 'a BLAS unknown to threadpoolctl'}")
    if "cupy" in ours:
        print(f"CuPy {ours['cupy']} on {ours['gpu']}; cuDNN {theirs['cudnn']}")
    print(f"PyTorch {theirs['torch']} on {theirs['blas']}, {theirs['cpu_capability']}, {theirs['threads']} thread(s)")
    pinned = ", ".join(f"{name}={value}" for name, value in result["pins"].items())
    print(f"The environment pins the kernels: {pinned}" if pinned else "The environment pins no kernels.")


def report_operations(result):
    """Every operation by itself, what it means, and what the step costs beyond the sum of them."""
    operations = result["operations"]
    rows, explained = operations["rows"], operations["explained"]
    width = 2 + max(map(len, rows))
    print("\nEvery operation alone, forward / backward in ms, on the arrays of a real step and a random upstream "
          "gradient.")
    if (workers := operations["workers"]["scratch"]) > 1:
        print(f"scratch: one worker's share, {operations['images']['scratch']} of {result['batch_size']} images on one "
              f"BLAS thread; its {workers} workers do that at the same time.")
    print(f"\n{'':{width}}" + "".join(f"{name:>17}" for name in (*SIDES, FLOOR)))
    for name, row in rows.items():
        print(f"{name:{width}}" + "".join(f"{both_ways(row.get(side)):>17}" for side in (*SIDES, FLOOR)))
    print()
    whole_step = {name: side["median"] for name, side in result["sides"].items()} | {FLOOR: result["floor"]["total"]}
    for title, values in (("sum", operations["sums"]), ("whole step", whole_step)):
        print(f"{title:{width}}" + "".join(f"{values[name]:17.2f}" for name in (*SIDES, FLOOR) if name in values))

    print("\nThe same in relation: scratch over PyTorch's sides, the share of the peak that each side reaches, and how "
          "many ms\nscratch is above its floor, the largest first.\n")
    columns = [*(f"/ {theirs}" for theirs in THEIRS), *SIDES, "above"]
    print(f"{'':{width}}" + "".join(f"{column:>14}" for column in columns))
    for name, row in sorted(explained.items(), key=lambda item: -(item[1]["above_floor"] or 0.0)):
        cells = [number(row["ratios"].get(theirs), ".2f") for theirs in THEIRS]
        cells += [number(row["share_of_peak"].get(side), ".1%") for side in SIDES]
        cells += [number(row["above_floor"], ".2f")]
        print(f"{name:{width}}" + "".join(f"{cell:>14}" for cell in cells))


def both_ways(times):
    """Forward and backward, or the one time of the optimiser; a dash where the side has no such operation."""
    return "–" if times is None else " / ".join(f"{value:.2f}" for value in times.values())


def number(value, form):
    """A formatted number, a dash where there is none."""
    return "–" if value is None else format(value, form)


def add_machine_arguments(parser):
    """What says on what the sides run."""
    parser.add_argument("--threads", type=whole(1), metavar="N", help="threads a side (all cores that there are)")
    parser.add_argument("--workers", type=whole(1), metavar="N", help="among which scratch splits a batch (automatic)")
    parser.add_argument("--unpinned", action="store_true",
                        help="drop OPENBLAS_CORETYPE and its like, so that each library chooses its own kernels")


def machine_of(arguments):
    """The Machine that the options of the command line describe."""
    return Machine(arguments.threads, arguments.workers, arguments.unpinned, getattr(arguments, "tf32", False))


def options_of(model, preset, **chosen):
    """The options of `train` that the sides are given."""
    options = {**DEFAULTS, **preset_for(model, preset), "preset": preset, "model": model, **chosen}
    return {**options, **{name: list(options[name]) for name in ("channels", "widths")}}


def add_arguments(parser):
    """The options of `compare --speed` that a comparison of values does not have."""
    group = parser.add_argument_group("speed")
    group.add_argument("--speed", action="store_true", help="time training steps of both sides instead")
    group.add_argument("--operations", action="store_true", help="time every operation too, forward and backward apart")
    add_machine_arguments(group)
    group.add_argument("--device", metavar="NAME", help="cpu (default), gpu or gpu:N, for both sides")
    group.add_argument("--tf32", action="store_true", help="let both sides multiply float32 with TF32 on a GPU")


def run(arguments, model):
    """Measure as the command line asks, a model with these options; the exit status."""
    options = options_of(
        arguments.model, arguments.preset, data=arguments.data, data_root=arguments.data_root, dtype=arguments.dtype,
        seed=arguments.seed, device=arguments.device or "cpu", **model)
    options["batch_size"] = arguments.batch_size or options["batch_size"]
    result = measure(options, machine_of(arguments), steps=arguments.steps, operations=arguments.operations)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        report(result)
    return 0
