"""A trainer whose steps are shared out among the workers of several ranks."""

import numpy as np

from scratch.accelerate.cpu.exchange import Exchange
from scratch.accelerate.cpu.workers import ParallelTrainer
from scratch.accelerate.ranks.gradients import GradientSums
from scratch.arrays import to_device, to_host


class RankExchange(Exchange):
    """An Exchange whose sums go over the threads of all ranks: the first thread of each passes on what all have left.

    `counts` is False where the rank has no examples of the batch. Then what its thread gives counts as zeros.
    """

    def __init__(self, count, first, shares, world, counts):
        super().__init__(count, first, shares)
        self.world, self.counts, self.sums = world, counts, [None, None]

    def total(self, number, turn, values):
        values = super().total(number, turn, values if self.counts else [value * 0 for value in values])
        if number == 0:
            self.sums[turn % 2] = self.world.total(*values)
        self.barrier.wait()
        return self.sums[turn % 2]


class RankedTrainer(ParallelTrainer):
    """A ParallelTrainer that has a share of every batch, as each of the other ranks has one.

    The batch is cut into a share for each worker of each rank, and all noise is drawn for the whole batch. Gradients
    (gradients.py), sums over the batch and terms are added up over the ranks, and each rank makes the same update. So R
    ranks of W workers compute what one worker computes, up to rounding.

    If a batch has fewer examples than there are workers, a rank may be left without one. It then goes through the step
    with the first example of the batch, and all that it gives to the others counts as zeros.

    On a GPU a rank has one worker, and sums go through the memory of the host.
    """

    factors = False  # what goes to the other ranks are sums

    def __init__(self, model, optimizer, seed, workers, world, device="cpu"):
        super().__init__(model, optimizer, seed, workers, device)
        self.world = world
        self.sums = optimizer and GradientSums(world, [worker.model for worker in self.workers])

    def prepare(self, batches):
        """All ranks prepare the model with the same batches, and take over the numbers of rank 0."""
        super().prepare(batches)
        self.model.load_state_dict(self.world.from_first(self.model.state_dict))

    def bounds(self, count):
        workers, first = len(self.workers), self.world.rank * len(self.workers)
        return [count * i // (workers * self.world.size) for i in range(first, first + workers + 1)]

    def own(self, batch):
        bounds = self.bounds(len(batch))
        return batch[bounds[0] : bounds[-1]] if bounds[0] < bounds[-1] else batch[:1]

    def tasks(self, images, noise, count):
        own = super().tasks(images, noise, count)
        return own or [self.task(self.workers[0], images, noise, slice(0, 1), 0, 0.0)]

    def forward_and_backward(self, tasks):
        self.sums.begin([self.workers.index(worker) for worker, *_ in tasks], has_examples(tasks))
        return super().forward_and_backward(tasks)

    def gradients(self):
        return {name: [gradient] for name, gradient in self.sums.finish().items()}

    def update(self):
        if self.device == "cpu":
            super().update()
            return
        for name, gradient in self.sums.finish().items():
            self.optimizer.parameters[name].grad = to_device(gradient, self.device)
        self.optimizer.step()

    def evaluate(self, images, noise, *measure):
        terms, counts, measured = self.evaluate_own(self.own(images), noise, len(images), *measure)
        if measured is not None:
            bounds = self.bounds(len(images))
            own = [to_host(array)[: bounds[-1] - bounds[0]] for array in measured]
            measured = [np.concatenate(parts) for parts in zip(*self.world.gather(own), strict=True)]
        return terms, counts, measured

    def exchange(self, tasks):
        workers = len(self.workers)
        first, shares = self.world.rank * workers, self.world.size * workers
        return RankExchange(len(tasks), first, shares, self.world, has_examples(tasks))

    def total(self, *values):
        return self.world.total(*values)

    def agree(self, *flags):
        return tuple(map(bool, self.world.total(*map(int, flags))))

    def environment(self):
        return {**super().environment(), "ranks": str(self.world.size)}


def has_examples(tasks):
    """Do these tasks have a part of the batch?"""
    return any(part > 0 for *_, part in tasks)
