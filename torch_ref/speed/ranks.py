"""How training over MPI scales on this machine: sums between the ranks, and steps of one rank and of all.

    mpiexec -n 2 python -m torch_ref.speed.ranks [--steps 20]

Each rank has one worker with one BLAS thread. The sides take turns: rank 0 trains alone, with one worker and the whole
batch, while the other ranks sleep; it trains alone with its share of the batch; then all ranks train together, each
with its share. Rank 0 prints three tables in Markdown.

The first fits the time of a sum over the ranks as latency + bytes / bandwidth. The second has, beside the times, the
bytes that a rank adds up in a step, the number of sums over the batch (those of BatchNorm2d and its like, and of the
terms), and how long a rank waits for sums of gradients once its backward has ended. The third works out a step of many
ranks, each with a batch of its own, on networks that are assumed.
"""

import argparse
import itertools
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
NETWORKS = {"10 Gbit/s": (30e-6, 1.25e9), "100 Gbit/s": (3e-6, 12.5e9)}  # assumed: seconds, bytes a second
MANY = (8, 1000)  # ranks
BACKWARD = 2 / 3  # of a step's work: its products are twice those of forward
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
    """(latency in seconds, bandwidth in bytes a second) that fit the times, by their relative errors."""
    size, seconds = np.array(measured).T
    columns = np.stack([1 / seconds, size / seconds], axis=1)
    latency, seconds_a_byte = np.linalg.lstsq(columns, np.ones(len(size)), rcond=None)[0]
    return latency, 1 / seconds_a_byte


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
    own, times = together.own(x), {"alone": [], "share": [], "together": []}

    def step_together(number):
        together.step(own, 1, number, len(x))

    def step_alone(number):
        if ranks.rank == 0:
            alone.step(x, 1, number)

    def step_share(number):
        if ranks.rank == 0:
            alone.step(own, 1, number)

    for turn in range(-1, -(-count // TURN)):  # the first turn warms up
        for side, step in (("alone", step_alone), ("share", step_share), ("together", step_together)):
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
            "waited": 1e3 * counted.waited / TURN, "parameters": together.model.parameter_count(),
            "parcels": len(together.sums.parcels), "share of batch": len(own) / len(x)}


def worked_out(found, share_of_batch, ranks, latency, bandwidth):
    """(seconds of a step of one rank, of `ranks` without overlap, with all of it) where each has a whole batch.

    A step takes a fixed part (the update) and work for each image; both follow from the times of a batch and a share.
    A sum of n bytes over R ranks takes 2 log₂R · latency + 2 (R − 1)/R · n / bandwidth, first scattered, then gathered
    (Thakur, Rabenseifner & Gropp 2005, doi:10.1177/1094342005051521). Backward hides the sums of gradients as far as it
    is long enough; sums over the batch are waited for.
    """
    whole, share = (np.median(found[side]) / 1e3 for side in ("alone", "share"))
    work = (whole - share) / (1 - share_of_batch)
    rounds = 2 * np.log2(ranks) * latency
    sums = rounds * found["parcels"] + 2 * (ranks - 1) / ranks * found["bytes"] / bandwidth
    waited = rounds * found["totals"]
    return whole, whole + waited + sums, whole + waited + max(0.0, sums - BACKWARD * work)


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
        latency, bandwidth = fitted(measured)
        lines = ["| bytes | ms for their sum |", "|---:|---:|"]
        lines += [f"| {size:,} | {1e3 * seconds:.3f} |" for size, seconds in measured]
        lines += ["", f"latency {1e6 * latency:.0f} µs, bandwidth {bandwidth / 1e9:.2f} GB/s", ""]
        lines += [f"| model | one rank, ms a step (quartiles) | with its share of {ranks.size} | {ranks.size} ranks "
                  "| efficiency | parameters | bytes a step | sums over the batch | waits for gradients, ms |",
                  "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
        rows = {name: steps(ranks, name, count) for name in ROWS}
        for name, found in rows.items():
            efficiency = np.median(found["alone"]) / np.median(found["together"]) / ranks.size
            times = " | ".join(with_quartiles(found[side]) for side in ("alone", "share", "together"))
            lines.append(f"| {name} | {times} | {efficiency:.2f} | {found['parameters']:,} | {found['bytes']:,.0f} "
                         f"| {found['totals']:.0f} | {found['waited']:.1f} |")
        lines += ["", "| model | network | ranks | one rank, ms | without overlap | with overlap | efficiency |",
                  "|---|---|---:|---:|---:|---:|---:|"]
        for (name, found), (network, speeds), many in itertools.product(rows.items(), NETWORKS.items(), MANY):
            one, apart, hidden = worked_out(found, found["share of batch"], many, *speeds)
            lines.append(f"| {name} | {network} | {many:,} | {1e3 * one:.0f} | {1e3 * apart:.0f} | {1e3 * hidden:.0f} "
                         f"| {one / apart:.2f} – {one / hidden:.2f} |")
    if ranks.rank == 0:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
