"""A program that mpiexec starts: ranks train together, and rank 0 compares them with one process that trains alone.

    mpiexec -n 2 python -m tests.ranks.together WORKERS STEPS NAME...

Rank 0 prints a line of JSON for each name: the largest differences, relative to the scale of each tensor.
"""

import json
import sys

import numpy as np

from scratch.accelerate import accelerate
from scratch.accelerate.ranks.trainer import RankedTrainer
from scratch.optim import Adam
from scratch.training.trainer import Trainer
from scratch.training.world import world
from tests.support.coupled import CLIPPED, COUNTS, SYSTEMS, examples_of, model_of


def made(name, workers=None, dtype=np.float64):
    """A trainer of one process without `workers`, else one of all ranks."""
    model = accelerate(model_of(name, dtype), 1)
    optimizer = Adam(model.named_parameters(), 1e-3, clip_norm=CLIPPED.get(name))
    trainer = RankedTrainer(model, optimizer, 4, workers, world()) if workers else Trainer(model, optimizer, 4)
    if trainer.prepared_from:
        trainer.prepare([examples_of(name, 8), examples_of(name, 7)])
    return trainer


def gradients(trainer, name):
    """The gradients of the first batch, by name, without an update."""
    x = examples_of(name, 8)
    noise = trainer.noise_of_step(8, 1, 0)
    if isinstance(trainer, RankedTrainer):
        for worker in trainer.workers:
            worker.model.zero_grad()
        trainer.forward_and_backward(trainer.tasks(trainer.own(x), noise, 8))
        return {name: found.copy() for name, (found,) in trainer.gradients().items()}
    trainer.model.zero_grad()
    trainer.add_gradients(x, noise)
    return {name: part.gradient() for name, part in trainer.model.named_parameters().items()}


def trained(name, steps, workers=None):
    """All that training finds, as numbers and arrays: of one process without `workers`, else of all ranks."""
    found = {"gradients": gradients(made(name, workers), name), "losses": [], "counts": []}
    trainer = made(name, workers)
    for step in range(steps):
        x = examples_of(name, COUNTS[step % len(COUNTS)])
        terms, counts = trainer.step(trainer.own(x), 1, step, len(x))
        found["losses"].append({term: float(value) for term, value in terms.items()})
        found["counts"].append(counts)
    x = examples_of(name, 7)
    terms, _, measured = trainer.evaluate(x, trainer.draw_noise(7, np.random.default_rng(0)))
    weights, moments, _ = trainer.state()
    return found | {"evaluation": terms, "errors": None if measured is None else measured[0], "weights": weights,
                    "moments": moments}


def differences(ours, theirs):
    """The largest difference of arrays of the same names, each relative to the largest number of its array."""
    assert ours.keys() == theirs.keys()
    return max(float(np.abs(ours[name] - theirs[name]).max() / max(np.abs(theirs[name]).max(), 1e-300))
               if theirs[name].size else 0.0 for name in theirs)


def of_losses(ours, theirs):
    """The largest difference of a term at any step, relative to the loss."""
    assert [terms.keys() for terms in ours] == [terms.keys() for terms in theirs]
    return max(abs(terms[name] - expected[name]) / max(abs(expected["loss"]), 1e-300)
               for terms, expected in zip(ours, theirs, strict=True) for name in expected)


def compared(ours, theirs):
    """{what: the largest difference between the ranks together and one process}."""
    found = {what: differences(ours[what], theirs[what]) for what in ("gradients", "weights", "moments")}
    if theirs["errors"] is not None:
        found["errors"] = float(np.abs(ours["errors"] - theirs["errors"]).max())
    return found | {
        "losses": of_losses(ours["losses"], theirs["losses"]),
        "evaluation": max(abs(float(ours["evaluation"][term]) - float(value))
                          for term, value in theirs["evaluation"].items()),
        "counts are equal": all(np.array_equal(counts[level], expected[level]) for counts, expected
                                in zip(ours["counts"], theirs["counts"], strict=True) for level in expected)}


def ranks_that_differ(found):
    """How many ranks end with other weights than rank 0."""
    weights = np.concatenate([value.ravel() for value in found["weights"].values()]).astype(np.float64)
    return world().total(int((world().from_first(lambda: weights) != weights).any()))[0]


if __name__ == "__main__":
    workers, steps, *names = sys.argv[1:]
    for name in names or SYSTEMS:
        together = trained(name, int(steps), int(workers))
        differ = ranks_that_differ(together)
        if world().rank == 0:
            found = compared(together, trained(name, int(steps)))
            print(json.dumps({"name": name, **found, "ranks that differ from rank 0": differ}), flush=True)
