"""Several threads, each with its share of a batch: data parallelism on the CPU.

The threads (threads.py) share all of a step's work; the threads of a BLAS share only its matrix products.
"""

import copy
from threading import BrokenBarrierError

import numpy as np

from scratch.accelerate.cpu import blockwise_optim
from scratch.accelerate.cpu.exchange import Exchange, Share
from scratch.accelerate.cpu.factors import gradient_of, joined, keep_factors
from scratch.accelerate.cpu.threads import Threads, cores
from scratch.arrays import each, to_device
from scratch.training.progress import perplexities
from scratch.training.trainer import Trainer

LEAST_SHARE = 16  # images; with shares of 8 the VQ-VAE gained a little, but the AE with its many weights was slower


def sensible_workers(batch_size, processes=1):
    """One worker for each core, but only as many as have LEAST_SHARE images of a batch each.

    So many processes share the cores, each with a batch of its own.
    """
    return max(1, min(cores() // processes, batch_size // LEAST_SHARE))


def replica(model):
    """A model that shares the other's arrays of weights; gradients and saved values are its own."""
    shared = [part.value for part in model.named_state().values()]
    return copy.deepcopy(model, {id(array): array for array in shared})


def twins(model, replica):
    """[(a parameter or buffer of the model, the replica's own)]."""
    return list(zip(model.named_state().values(), replica.named_state().values(), strict=True))


class ParallelTrainer(Trainer):
    """A Trainer on the CPU whose steps are shared out among `workers` threads.

    The noise of a step is drawn for the whole batch and then split. With n of N images a worker computes the gradient
    of n/N times its own mean loss, and the gradients are added in the workers' order, so a run repeats bit for bit. Of
    large dense layers a worker leaves the factors of its gradient (factors.py), and the update multiplies them.
    Sums over the batch, such as those of BatchNorm2d, are taken over all workers (exchange.py). The optimiser gets its
    blockwise form, whose blocks the workers share.
    """

    factors = True  # may a worker leave the factors of a gradient?

    def __init__(self, model, optimizer, seed, workers, device="cpu"):
        super().__init__(model, optimizer, seed, device)
        if device == "cpu" and optimizer is not None:  # without one it can only evaluate
            optimizer.__class__ = blockwise_optim.FORMS.get(type(optimizer), type(optimizer))
            optimizer.share_among(workers)
        self.workers = [Trainer(replica(model), None, seed, device) for _ in range(workers)]
        if self.factors:
            for worker in self.workers:
                keep_factors(worker.model)
        # Looked up once: a small model's step would spend a fiftieth of its time on it.
        self.twins = [pair for worker in self.workers for pair in twins(model, worker.model)]
        self.parameters = [worker.model.named_parameters() for worker in self.workers]
        self.threads = Threads(workers)

    def step(self, images, epoch, step, count=None):
        count = count or len(images)
        tasks = self.tasks(images, self.noise_of_step(count, epoch, step), count)
        for worker, parameters in zip(self.workers, self.parameters, strict=True):
            for parameter in parameters.values():
                parameter.grad = None
            worker.model.at_step(self.optimizer.steps)
        answers = self.forward_and_backward(tasks)
        self.update()
        if self.model.moves:
            self.share_values()  # the optimiser may have moved the weights into another array
            self.together(lambda worker, *_: worker.model.update(worker.choices_of_step(epoch, step)), tasks)
        return self.put_together(answers)

    def forward_and_backward(self, tasks):
        """[(part of the batch, what the worker observed)]; each worker has its gradients afterwards."""
        def of_worker(worker, x, noise, part):
            return worker.add_gradients(to_device(x, worker.device), noise, part)

        return self.share_out(of_worker, tasks)

    def update(self):
        """The optimiser's step, from the sum of the workers' gradients."""
        self.optimizer.steps += 1
        gradients = {name: joined(parts) for name, parts in self.gradients().items()}
        shares = self.shares_of_blocks()
        # Each is computed when the update comes to its block, if no clipping needs the length of all before.
        found = [(gradient_of(block.pieces, gradients) for block in share) for share in shares]
        if self.optimizer.clip_norm is not None:
            found = self.threads.map(list, found)
            self.optimizer.clip([gradient for share in found for gradient in share])
        self.threads.map(self.update_share, zip(shares, found, strict=True))

    def update_share(self, share):
        """One worker's share of the update: (its blocks, their gradients)."""
        for block, gradient in zip(*share, strict=True):
            self.optimizer.update_block(block, gradient)

    def shares_of_blocks(self):
        """For each worker its share of the optimiser's blocks. The shares are about equal in size."""
        blocks, shares, before = self.optimizer.blocks(), [[] for _ in self.workers], 0
        total = sum(block.arrays[0].size for block in blocks)
        for block in blocks:
            shares[len(shares) * before // total].append(block)
            before += block.arrays[0].size
        return shares

    def gradients(self):
        """{name of a parameter: the gradients of the workers, whose sum is that of the batch}."""
        found = {}
        for name in self.optimizer.parameters:
            own = [parameters[name] for parameters in self.parameters]
            found[name] = [part.grad for part in own if part.grad is not None] or [own[0].gradient()]
        return found

    def evaluate(self, images, noise, *measure):
        return self.evaluate_own(images, noise, len(images), *measure)

    def evaluate_own(self, images, noise, count, *measure):
        """What `evaluate` returns of this trainer's images of a batch of `count`, whose noise is that of all."""
        answers = self.share_out(lambda worker, x, noise, part: worker.evaluate(x, noise, *measure),
                                 self.tasks(images, noise, count))
        terms, counts = self.put_together([(part, answer[:2]) for part, answer in answers])
        measured = [measured for _, (_, _, measured) in answers]
        return terms, counts, None if measured[0] is None else each(lambda *parts: np.concatenate(parts), *measured)

    def bounds(self, count):
        """Where the share of each worker begins in a batch of `count` examples, and where that of the last one ends."""
        return [count * i // len(self.workers) for i in range(len(self.workers) + 1)]

    def tasks(self, images, noise, count):
        """For each worker that has a share of the batch: (worker, its images, its noise, its part of the whole).

        `images` are those of this trainer's workers, `noise` is that of all `count` examples of the batch.
        """
        bounds = self.bounds(count)
        return [self.task(worker, images, noise, slice(a, b), bounds[0], (b - a) / count)
                for worker, a, b in zip(self.workers, bounds, bounds[1:], strict=False) if a < b]

    @staticmethod
    def task(worker, images, noise, share, first, part):
        """A worker's task: its `share` is a slice of the batch, whose image number `first` is the first of `images`."""
        noise = noise if noise is None else each(lambda part: part[share], noise)
        return worker, images[share.start - first : share.stop - first], noise, part

    def share_values(self):
        """Let the workers' parameters and buffers have the model's arrays."""
        for own, copied in self.twins:
            copied.value = own.value

    def share_out(self, work, tasks):
        """[(part of the batch, what `work` returned)] of the tasks."""
        self.share_values()  # the model's parameters may have been assigned new arrays
        return [(part, answer) for (*_, part), answer in zip(tasks, self.together(work, tasks), strict=True)]

    def together(self, work, tasks):
        """[work(*task)] of tasks (worker, ...), each in a thread, whose models take sums over each other's shares."""
        exchange, errors = self.exchange(tasks), []

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
            return self.threads.map(run, enumerate(tasks))
        except BrokenBarrierError:  # a thread waited for one that had ended with an error
            raise errors[0] from None

    def exchange(self, tasks):
        """Where the workers of these tasks leave values for each other."""
        return Exchange(len(tasks), 0, len(tasks))

    def put_together(self, answers):
        """(terms, {level: code counts}) of the whole batch from those of its parts."""
        _, (names, levels) = answers[0]
        terms = [sum(part * terms[name] for part, (terms, _) in answers) for name in names]
        counts = [sum(counts[level] * (part > 0) for part, (_, counts) in answers) for level in levels]
        found = self.total(*terms, *counts)
        terms, counts = (dict(zip(keys, values, strict=True)) for keys, values in
                         ((names, found[: len(names)]), (levels, found[len(names) :])))
        return terms | perplexities(counts), counts

    def total(self, *values):
        """For each value its sum over everybody who has a share of the batch, beside this trainer's workers."""
        return values

    def environment(self):
        return {**super().environment(), "workers": str(len(self.workers))}
