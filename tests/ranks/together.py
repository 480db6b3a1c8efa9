"""A program that mpiexec starts: ranks train together, and rank 0 compares them with one process that trains alone.

    mpiexec -n 2 python -m tests.ranks.together WORKERS STEPS NAME...

Every rank also trains alone. Rank 0 prints a line of JSON for each name: the largest differences, relative to the scale
of each tensor.
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


def differences(ours, theirs):
    """The largest difference of arrays of the same names, each relative to the largest number of its array."""
    assert ours.keys() == theirs.keys()
    return max(float(np.abs(ours[name] - theirs[name]).max() / max(np.abs(theirs[name]).max(), 1e-300))
               if theirs[name].size else 0.0 for name in theirs)


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


def compare(name, workers, steps):
    """{what: the largest difference between the ranks together and one process}."""
    together, alone = made(name, workers), made(name)
    found = {"gradients": differences(gradients(together, name), gradients(alone, name))}
    together, alone = made(name, workers), made(name)
    losses, counted = [], True
    for step in range(steps):
        x = examples_of(name, COUNTS[step % len(COUNTS)])
        terms, counts = together.step(together.own(x), 1, step, len(x))
        expected, expected_counts = alone.step(x, 1, step)
        assert terms.keys() == expected.keys()
        losses += [abs(float(terms[term]) - float(expected[term])) / max(abs(float(expected["loss"])), 1e-300)
                   for term in expected]
        counted &= all(np.array_equal(counts[level], expected_counts[level]) for level in expected_counts)
    x = examples_of(name, 7)
    noise = alone.draw_noise(7, np.random.default_rng(0))
    (terms, _, measured), (expected, _, expected_measured) = together.evaluate(x, noise), alone.evaluate(x, noise)
    found["evaluation"] = max(abs(float(terms[term]) - float(expected[term])) for term in expected)
    if expected_measured is not None:
        found["errors"] = float(np.abs(measured[0] - expected_measured[0]).max())
    weights, moments, _ = together.state()
    expected_weights, expected_moments, _ = alone.state()
    found |= {"losses": max(losses), "counts are equal": counted,
              "weights": differences(weights, expected_weights), "moments": differences(moments, expected_moments)}
    all_weights = np.concatenate([value.ravel() for value in weights.values()]).astype(np.float64)
    lead = world().from_first(lambda: all_weights)
    (others,) = world().total(int((lead != all_weights).any()))
    return found | {"ranks that differ from rank 0": others}


if __name__ == "__main__":
    workers, steps, *names = sys.argv[1:]
    for name in names or SYSTEMS:
        found = compare(name, int(workers), int(steps))
        if world().rank == 0:
            print(json.dumps({"name": name, **found}), flush=True)
