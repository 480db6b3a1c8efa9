"""Several threads, each with its share of a batch: data parallelism on the CPU.

The threads (threads.py) share all of a step's work; the threads of a BLAS share only its matrix products.
"""

import copy

import numpy as np

from scratch.accelerate.cpu import blockwise_optim
from scratch.accelerate.cpu.threads import Threads, cores
from scratch.arrays import each
from scratch.options.errors import InputError
from scratch.training.progress import perplexities
from scratch.training.trainer import Trainer

LEAST_SHARE = 16  # images; with shares of 8 the VQ-VAE gained a little, but the AE with its many weights was slower


def sensible_workers(batch_size):
    """One worker for each core, but only as many as have LEAST_SHARE images of a batch each."""
    return max(1, min(cores(), batch_size // LEAST_SHARE))


def replica(model):
    """A model that shares the other's arrays of weights; gradients and saved values are its own."""
    shared = [part.value for part in model.named_state().values()]
    return copy.deepcopy(model, {id(array): array for array in shared})


def share_values(model, replica):
    """Let a replica share the model's present arrays, because its parameters may have been assigned new ones."""
    for part, copied in zip(model.named_state().values(), replica.named_state().values(), strict=True):
        copied.value = part.value


def add(parts):
    """The sum of the arrays, in the first of them."""
    total, *others = parts
    for other in others:
        total += other
    return total


class ParallelTrainer(Trainer):
    """A Trainer on the CPU whose steps are shared out among `workers` threads.

    The noise of a step is drawn for the whole batch and then split. With n of N images a worker computes the gradient
    of n/N times its own mean loss, and the gradients are added in the workers' order, so a run repeats bit for bit. The
    optimiser gets its blockwise form, whose blocks the workers share.
    Raises InputError if a part of the model couples the examples of a batch.
    """

    def __init__(self, model, optimizer, seed, workers):
        super().__init__(model, optimizer, seed)
        if optimizer is not None:  # without one it can only evaluate
            optimizer.__class__ = blockwise_optim.FORMS.get(type(optimizer), type(optimizer))
        if coupling := {type(part).__name__ for part in model.modules() if part.couples_examples}:
            names = ", ".join(sorted(coupling))
            raise InputError(f"{workers} would split the examples of a batch, which {names} couples: use 1.", "workers")
        self.workers = [Trainer(replica(model), None, seed) for _ in range(workers)]
        self.threads = Threads(workers)

    def step(self, images, epoch, step):
        noise = self.noise_of_step(len(images), epoch, step)
        for worker in self.workers:
            worker.model.zero_grad()
            worker.model.at_step(self.optimizer.steps)
        answers = self.share_out(lambda worker, x, noise, share: worker.add_gradients(x, noise, share), images, noise)
        self.update()
        return self.put_together(answers)

    def update(self):
        """The optimiser's step, from the sum of the workers' gradients."""
        self.optimizer.steps += 1
        shares = self.shares_of_blocks()
        if self.optimizer.clip_norm is not None:
            self.threads.map(lambda share: [add(parts) for _, _, parts in share], shares)
            shares = [[(name, block, parts[:1]) for name, block, parts in share] for share in shares]
            self.optimizer.clip([parts[0] for share in shares for _, _, parts in share])  # the length is that of all
        self.threads.map(self.update_share, shares)

    def update_share(self, share):
        """One worker's share of the update."""
        for name, block, parts in share:
            self.optimizer.update_block(name, block, add(parts))

    def shares_of_blocks(self):
        """For each worker a list of (name, block of a parameter, that block of all workers' gradients). The shares are
        about equal in size."""
        found = []
        every = [worker.model.named_parameters() for worker in self.workers]
        for name in self.optimizer.parameters:
            own = [parameters[name] for parameters in every]
            parts = [part.grad for part in own if part.grad is not None] or [own[0].gradient()]
            found += [(name, block, [part.reshape(-1)[block] for part in parts])
                      for block in self.optimizer.blocks(name)]
        shares, before = [[] for _ in self.workers], 0
        total = sum(parts[0].size for _, _, parts in found)
        for entry in found:
            shares[len(shares) * before // total].append(entry)
            before += entry[2][0].size
        return shares

    def evaluate(self, images, noise, *measure):
        answers = self.share_out(lambda worker, x, noise, share: worker.evaluate(x, noise, *measure), images, noise)
        terms, counts = self.put_together([(share, answer[:2]) for share, answer in answers])
        measured = [measured for _, (_, _, measured) in answers]
        return terms, counts, None if measured[0] is None else each(lambda *parts: np.concatenate(parts), *measured)

    def share_out(self, work, images, noise):
        """[(share of the batch, what `work` returned)] for every worker that has images."""
        for worker in self.workers:
            share_values(self.model, worker.model)
        bounds = [len(images) * i // len(self.workers) for i in range(len(self.workers) + 1)]
        tasks = [
            (worker, images[a:b], noise if noise is None else each(lambda part, share=slice(a, b): part[share], noise),
             (b - a) / len(images))
            for worker, a, b in zip(self.workers, bounds, bounds[1:], strict=False)
            if a < b
        ]
        answers = self.threads.map(lambda task: work(*task), tasks)
        return [(share, answer) for (*_, share), answer in zip(tasks, answers, strict=True)]

    @staticmethod
    def put_together(answers):
        """(terms, {level: code counts}) of the whole batch from those of its parts."""
        _, (names, levels) = answers[0]
        terms = {name: sum(share * terms[name] for share, (terms, _) in answers) for name in names}
        counts = {level: sum(counts[level] for _, (_, counts) in answers) for level in levels}
        return terms | perplexities(counts), counts

    def environment(self):
        return {**super().environment(), "workers": str(len(self.workers))}
