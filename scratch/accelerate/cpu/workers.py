"""Several threads, each with its share of a batch: data parallelism on the CPU.

NumPy releases Python's lock while it computes, so the threads run in parallel. They share all of a step's work; the
threads of a BLAS share only its matrix products.
"""

import contextvars
import copy
import os
from concurrent.futures import ThreadPoolExecutor
from threading import BrokenBarrierError

import numpy as np
from threadpoolctl import ThreadpoolController

from scratch.accelerate.cpu import blockwise_optim
from scratch.accelerate.cpu.exchange import Exchange, Share
from scratch.arrays import each
from scratch.training.progress import perplexities
from scratch.training.trainer import Trainer

LEAST_SHARE = 16  # images; with shares of 8 the VQ-VAE gained a little, but the AE with its many weights was slower


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    of n/N times its own mean loss, and the gradients are added in the workers' order, so a run repeats bit for bit.
    Sums over the batch, such as those of BatchNorm2d, are taken over all workers (exchange.py). The optimiser gets its
    blockwise form, whose blocks the workers share.
    """

    def __init__(self, model, optimizer, seed, workers):
        super().__init__(model, optimizer, seed)
        optimizer.__class__ = blockwise_optim.FORMS.get(type(optimizer), type(optimizer))
        self.workers = [Trainer(replica(model), None, seed) for _ in range(workers)]
        self.pool = ThreadPoolExecutor(workers)
        self.blas = ThreadpoolController()

    def step(self, images, epoch, step):
        noise = self.noise_of_step(len(images), epoch, step)
        for worker in self.workers:
            worker.model.zero_grad()
            worker.model.at_step(self.optimizer.steps)
        answers = self.share_out(lambda worker, x, noise, share: worker.add_gradients(x, noise, share), images, noise)
        self.update()
        if self.model.moves:
            self.together(lambda worker: worker.model.update(worker.choices_of_step(epoch, step)), self.at_work)
        return self.put_together(answers)

    def update(self):
        """The optimiser's step, from the sum of the workers' gradients."""
        self.optimizer.steps += 1
        shares = self.shares_of_blocks()
        if self.optimizer.clip_norm is not None:
            self.in_threads(lambda share: [add(parts) for _, _, parts in share], shares)
            shares = [[(name, block, parts[:1]) for name, block, parts in share] for share in shares]
            self.optimizer.clip([parts[0] for share in shares for _, _, parts in share])  # the length is that of all
        self.in_threads(self.update_share, shares)

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

    def evaluate(self, images, noise):
        answers = self.share_out(lambda worker, x, noise, share: worker.evaluate(x, noise), images, noise)
        terms, counts = self.put_together([(share, answer[:2]) for share, answer in answers])
        errors = [errors for _, (_, _, errors) in answers]
        return terms, counts, None if errors[0] is None else np.concatenate(errors)

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
        self.at_work = [task[:1] for task in tasks]
        return [(share, answer) for (*_, share), answer in zip(tasks, self.together(work, tasks), strict=True)]

    def together(self, work, tasks):
        """[work(*task)] of tasks (worker, ...), each in a thread, whose models take sums over each other's shares."""
        exchange, errors = Exchange(len(tasks)), []

        def run(numbered):
            number, (worker, *rest) = numbered
            share = Share(exchange, number)
            for part in worker.model.modules():
                part.batch = share
            try:
                return work(worker, *rest)
            except BrokenBarrierError:
                raise
            except BaseException as error:
                errors.append(error)
                exchange.close()
                raise

        try:
            return self.in_threads(run, list(enumerate(tasks)))
        except BrokenBarrierError:  # a thread waited for one that had ended with an error
            raise errors[0] from None

    def in_threads(self, function, inputs):
        """[function(input)], each in a thread of its own, with one BLAS thread and the caller's np.errstate in each."""
        tasks = [(contextvars.copy_context(), given) for given in inputs]
        with self.blas.limit(limits=1, user_api="blas"):
            return list(self.pool.map(lambda task: task[0].run(function, task[1]), tasks))

    @staticmethod
    def put_together(answers):
        """(terms, {level: code counts}) of the whole batch from those of its parts."""
        _, (names, levels) = answers[0]
        terms = {name: sum(share * terms[name] for share, (terms, _) in answers) for name in names}
        counts = {level: sum(counts[level] for _, (_, counts) in answers) for level in levels}
        return terms | perplexities(counts), counts

    def environment(self):
        return {**super().environment(), "workers": str(len(self.workers))}
