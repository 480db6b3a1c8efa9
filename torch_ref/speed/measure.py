"""Scratch beside torch: how long a training step takes, how much memory, and where the time goes.

    python -m torch_ref compare ae --speed --operations

Each side is a process of its own (process.py starts it, side.py is what runs in it), so that the libraries share
neither threads nor memory. The sides take turns of a few steps, so that other load on the machine affects all alike.
They wait a moment between turns: a library's threads go on spinning for a while when their work is done.

A step is forward, backward and the optimiser's update, from images that are floats already: converting them is the
same work on all sides and is not counted. All sides take the same batches; the codes that a prior learns are made up.
Weights are each side's own, and no time depends on them.

The flops are those of the layers' matrix products, convolution by im2col, and the search for the nearest codes: an
algorithm that needs fewer can reach more than the peak.
"""

import os
import time
from contextlib import ExitStack

import numpy as np

from torch_ref.speed.process import build, start

SIDES = {
    "scratch": "as `python -m scratch train` runs it",
    "scratch plain": "scratch with every accelerated form off, one worker",
    "torch": "contiguous NCHW, foreach Adam",
    "torch best": "channels-last, fused Adam, scaled_dot_product_attention, scratch's allocator setting",
}
OURS, THEIRS = ("scratch", "scratch plain"), ("torch", "torch best")
FLOOR = "floor"  # a process that holds the bare matrix products, apart from the sides whose memory is reported

TURN = 5  # timed steps before it is the next side's turn
PAUSE = 0.3  # seconds between turns; OpenBLAS's threads spin for about 30 ms, OpenMP's for up to 200
WARM_UP = 3  # steps before a side's first turn that are not counted
WARM_UP_AGAIN = 1  # and before each later one
SECONDS = 1.0  # of steps before each turn that are not counted, so that a turn measures a run that is under way
OPERATION_REPETITIONS = 10
GEMM_SIZE, GEMM_REPETITIONS = 2048, 5


def take_turns(processes, steps, floor=None):
    """({side: milliseconds of each of `steps` steps}, [a pass of the floor for each step])."""
    times, passes = {name: [] for name in processes}, []
    for first in range(0, steps, TURN):
        count = min(TURN, steps - first)
        for name, process in processes.items():
            time.sleep(PAUSE)
            warm_up = WARM_UP_AGAIN if first else WARM_UP
            times[name] += process.ask("steps", count=count, warm_up=warm_up, seconds=SECONDS)
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

    options     those of `train` (options_of)
    machine     a Machine: threads, workers and environment of the sides
    operations  time every operation alone as well

    Raises InputError where a side cannot be measured.
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
        "image_shape": built["scratch"]["image_shape"], "data": options.get("data"), "dtype": options["dtype"],
        "likelihood": options.get("likelihood"), "batch_size": options["batch_size"], "seed": options["seed"],
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
