"""How training over MPI scales on this machine: sums between the ranks, and steps of one rank and of all.

    mpiexec -n 2 python -m torch_ref.speed.ranks [--steps 20]

Each rank has one worker with one BLAS thread. The sides take turns: rank 0 trains alone, with one worker and the whole
batch, while the other ranks sleep; then all ranks train together, each with its share. Rank 0 prints two tables in
Markdown.

The first fits the time of a sum over the ranks as α + n/β for n bytes. The second has, beside the times, the bytes that
a rank adds up in a step, the number of sums over the batch (those of BatchNorm2d and its like, of terms and flags), and
how long a rank waits for sums of gradients once its backward has ended.
"""

import argparse
import time

import numpy as np
from threadpoolctl import threadpool_limits

from data_utils import load, to_float
from scratch.accelerate import accelerate, accelerate_optimizer
from scratch.accelerate.cpu.memory import retain_freed_memory
from scratch.accelerate.ranks.trainer import RankedTrainer
from scratch.models.build import build_resolved
from scratch.optim import make_optimizer
from scratch.training.trainer import Trainer
from scratch.training.world import world
from torch_ref.speed.options import options_of

ROWS = {  # name: (model, options)
    "ae, article": ("ae", dict(preset="article", batch_size=64)),
    "vae, article": ("vae", dict(preset="article", batch_size=64)),
    "vqvae, article": ("vqvae", dict(preset="article", batch_size=64)),
    "vqvae, published": ("vqvae", dict(preset="published", batch_size=32, data_variance=0.06)),
    "ae, small, batch norm": ("ae", dict(preset="small", norm="batch", batch_size=64)),
    "prior, 64 codes of 256": ("prior", dict(preset="small", grids="8x8", codes=256, labels=0, batch_size=64)),
}
TURN = 5  # steps of a side before the other's turn
PAUSE = 0.3  # seconds between turns


class Counted:
    """The world, which counts what goes through it and how long it waits."""

    def __init__(self, ranks):
        self.ranks, self.bytes, self.totals, self.waited = ranks, 0, 0, 0.0

    def __getattr__(self, name):
        return getattr(self.ranks, name)

    def total(self, *values):
        self.totals += 1
        self.bytes += 8 * sum(np.size(value) for value in values)
        return self.ranks.total(*values)

    def begin_sum(self, array):
        self.bytes += array.nbytes
        return self.ranks.begin_sum(array)

    def wait(self, request):
        started = time.perf_counter()
        self.ranks.wait(request)
        self.waited += time.perf_counter() - started


def sums(ranks, repetitions=30):
    """[(bytes, median seconds of their sum over the ranks)]."""
    found = []
    for count in 4 ** np.arange(0, 13):
        array, times = np.zeros(count, np.float32), []
        for _ in range(repetitions):
            ranks.total(0)  # all begin together
            started = time.perf_counter()
            ranks.wait(ranks.begin_sum(array))
            times.append(time.perf_counter() - started)
        found.append((array.nbytes, float(np.median(times))))
    return found


def fitted(measured):
    """(α in seconds, β in bytes a second) of seconds ≈ α + bytes / β, each sum weighed by its relative error."""
    size, seconds = np.array(measured).T
    columns = np.stack([1 / seconds, size / seconds], axis=1)
    alpha, per_byte = np.linalg.lstsq(columns, np.ones(len(size)), rcond=None)[0]
    return alpha, 1 / per_byte


def trainers(model, given, counted):
    """(of this rank alone, of all ranks) for one model, and how examples are made."""
    options = options_of(model, **given)
    if model == "prior":
        height, width = (int(side) for side in options["grids"].split("x"))
        shape = (1 + height * width,)
    else:
        shape = (32, 32, 3)

    def new(kind, *arguments):
        built = accelerate(build_resolved(options, shape, dtype="float32", rng=np.random.default_rng(0)))
        optimizer = accelerate_optimizer(make_optimizer(built.named_parameters(), options))
        return kind(built, optimizer, 0, *arguments)

    def examples(count):
        if model != "prior":
            return to_float(load("shapes", limit=count).train, np.float32)
        codes = np.random.default_rng(0).integers(0, options["codes"], (count, shape[0] - 1))
        return np.concatenate([np.zeros((count, 1), np.int64), codes], axis=1)

    return new(Trainer), new(RankedTrainer, 1, counted), examples(options["batch_size"])


def steps(ranks, name, count):
    """The measures of one row, as a dict."""
    counted = Counted(ranks)
    alone, together, x = trainers(*ROWS[name][:1], ROWS[name][1], counted)
    own, times = together.own(x), {"alone": [], "together": []}

    def step_together(number):
        together.step(own, 1, number, len(x))

    def step_alone(number):
        if ranks.rank == 0:
            alone.step(x, 1, number)

    for turn in range(-1, -(-count // TURN)):  # the first turn warms up
        for side, step in (("alone", step_alone), ("together", step_together)):
            time.sleep(PAUSE)
            ranks.total(0)
            counted.bytes = counted.totals = counted.waited = 0
            for number in range(TURN):
                started = time.perf_counter()
                step(number)
                if turn >= 0:
                    times[side].append(1e3 * (time.perf_counter() - started))
            ranks.total(0)
    return {**times, "bytes": counted.bytes / TURN, "totals": counted.totals / TURN,
            "waited": 1e3 * counted.waited / TURN, "parameters": together.model.parameter_count()}


def with_quartiles(times):
    lower, middle, upper = np.percentile(times, (25, 50, 75))
    return f"{middle:.1f} ({lower:.1f} – {upper:.1f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="timed steps of each side (default: 20)")
    count, ranks = parser.parse_args().steps, world()
    retain_freed_memory()
    with threadpool_limits(1, user_api="blas"):
        measured = sums(ranks)
        alpha, beta = fitted(measured)
        lines = ["| bytes | ms for their sum |", "|---:|---:|"]
        lines += [f"| {size:,} | {1e3 * seconds:.3f} |" for size, seconds in measured]
        lines += ["", f"α = {1e6 * alpha:.0f} µs, β = {beta / 1e9:.2f} GB/s", ""]
        lines += [f"| model | one rank, ms a step (quartiles) | {ranks.size} ranks | efficiency | parameters "
                  "| bytes a step | sums over the batch | waits for gradients, ms |",
                  "|---|---:|---:|---:|---:|---:|---:|---:|"]
        for name in ROWS:
            found = steps(ranks, name, count)
            efficiency = np.median(found["alone"]) / np.median(found["together"]) / ranks.size
            lines.append(f"| {name} | {with_quartiles(found['alone'])} | {with_quartiles(found['together'])} "
                         f"| {efficiency:.2f} | {found['parameters']:,} | {found['bytes']:,.0f} "
                         f"| {found['totals']:.0f} | {found['waited']:.1f} |")
    if ranks.rank == 0:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
