"""How far training has come, and the totals of an epoch."""

import math
from dataclasses import dataclass, field

import numpy as np

from scratch.bottlenecks.bottleneck import level_name
from scratch.bottlenecks.vector_quantizer import perplexity
from scratch.schedules import Schedule
from scratch.training.errors import Diverged


def perplexities(counts):
    """{metric: perplexity} of {level: code counts}."""
    return {level_name("perplexity", level): perplexity(used) for level, used in counts.items()}


@dataclass
class Totals:
    """Running sums over the examples of an epoch. The added scalars may still be on the device."""

    sums: dict = field(default_factory=dict)
    examples: int = 0
    counts: dict = field(default_factory=dict)  # {level: how often each code was used}
    seconds: float = 0.0
    pending: list = field(default_factory=list)  # (where, examples, terms, counts) not yet read
    latest: dict = field(default_factory=dict)

    def add(self, where, examples, terms, counts):
        """Add the terms {name: scalar} and code counts of a batch; `where` names its place for Diverged."""
        self.pending.append((where, examples, terms, counts))

    def read(self, trainer):
        """Fetch the pending values: [{name: value}], step by step.

        Raises Diverged, with the step and the term, at the first value that is not finite.
        """
        read = []
        values = iter(trainer.read([value for _, _, terms, _ in self.pending for value in terms.values()]))
        for where, examples, terms, counts in self.pending:
            self.latest = {name: next(values) for name in terms}
            read.append(self.latest)
            for name, value in self.latest.items():
                if not math.isfinite(value):
                    raise Diverged(f"{name} became {value} {where}")
                self.sums[name] = self.sums.get(name, 0.0) + examples * value
            self.examples += examples
            for level, used in counts.items():
                self.counts[level] = self.counts.get(level, 0) + trainer.read_array(used).astype(np.int64)
        self.pending.clear()
        return read

    def means(self):
        """Averages over examples; for each grid of codes also the number of codes used and their perplexity."""
        means = {name: total / self.examples for name, total in self.sums.items()}
        for level, counts in self.counts.items():
            means[level_name("codes_used", level)] = int((counts > 0).sum())
            means[level_name("epoch_perplexity", level)] = float(perplexity(counts))
        return means


@dataclass
class StepMeans:
    """Means over a fixed number of updates, across epochs: the lines of steps.jsonl.

    All updates have the same weight, also one whose batch is smaller.
    """

    step: int = 0  # updates seen, of the whole run
    sums: dict = field(default_factory=dict)  # since the last line

    def add(self, values, every):
        """Add the values of one update. Returns {"step": …, name: mean} after each `every` updates, else None."""
        self.step += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if self.step % every:
            return None
        means = {name: total / every for name, total in self.sums.items()}
        self.sums = {}
        return {"step": self.step, **means}


@dataclass
class Best:
    """The weights at the end of the epoch with the lowest held-out loss so far."""

    epoch: int
    loss: float
    weights: dict


@dataclass
class Progress:
    """How far training has come: `step` batches of epoch `epoch` (from 1) are done, with these totals.

    best   None unless the best weights are kept
    """

    epoch: int = 1
    step: int = 0
    totals: Totals = field(default_factory=Totals)
    step_means: StepMeans = field(default_factory=StepMeans)
    best: Best | None = None


def lowest(metrics):
    """The line with the lowest held-out loss, the first of several, in the lines of metrics of a run; None of none."""
    return min((line for line in metrics if "held_out_loss" in line), key=lambda line: line["held_out_loss"],
               default=None)


def gave_up(metrics, patience):
    """Did so many epochs end, since the lowest held-out loss, without a lower one? Never where patience is None."""
    best = lowest(metrics)
    return bool(patience and best) and metrics[-1]["epoch"] - best["epoch"] >= patience


def shares_of_loss(metrics, model):
    """{term: weight · term}: the parts whose sum is the loss of an epoch. {} of a model whose loss is no weighted sum.

    Where a weight follows a schedule, the mean of weight · term is not known, and its share is what the others leave of
    the loss; {} where several weights do.
    """
    weights = getattr(model, "weights", {})
    if not weights or not weights.keys() <= metrics.keys():
        return {}
    shares = {name: weights[name] * value for name, value in metrics.items() if name in weights}
    scheduled = [name for name, weight in model.schedules.items() if changes(weight)]
    if len(scheduled) > 1:
        return {}
    for name in scheduled:
        shares[name] = metrics["loss"] - sum(share for other, share in shares.items() if other != name)
    return shares


def changes(weight):
    """Does a weight, a number or a schedule, change from step to step?"""
    schedule = weight if isinstance(weight, Schedule) else Schedule(weight)
    return schedule.start != schedule.end


def sum_of(shares):
    """Shares of a loss as the sum that they are: "reconstruction 0.03 + codebook 0.015"."""
    return " + ".join(f"{name} {share:.4g}" for name, share in shares.items())


def epoch_line(metrics, shares):
    """The metrics of an epoch in one line. Of the loss it shows the sum of its shares, where they are known: terms
    times their weights."""
    left_out = ("epoch", "seconds", "images_per_second", *shares)
    shown = {name: f"{value:.4g}" for name, value in metrics.items()
             if name not in left_out and not name.startswith("held_out_")}
    if shares:
        shown["loss"] += f" = {sum_of(shares)}"
    line = "  ".join(f"{name} {value}" for name, value in shown.items())
    line += f"  | held out: loss {metrics['held_out_loss']:.4g}"
    if "held_out_psnr" in metrics:
        line += f"  PSNR {metrics['held_out_psnr']:.2f} dB"
    speed = f"{metrics['seconds']:.1f} s, {metrics['images_per_second']:.0f} images/s"
    return f"epoch {metrics['epoch']}: {line}  | {speed}"
