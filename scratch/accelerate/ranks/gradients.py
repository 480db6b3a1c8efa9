"""The gradients of all ranks, added up while backward goes on."""

import threading
from functools import partial

import numpy as np

from scratch.arrays import to_host
from scratch.module import Parameter

LEAST = 2**20  # numbers that are sent together, so that sending takes longer than beginning to send


class WatchedParameter(Parameter):
    """A parameter that says when a gradient was added to it."""

    def accumulate(self, gradient):
        super().accumulate(gradient)
        self.arrived()


class GradientSums:
    """For each parameter the sum of its gradients over the workers of this process and over all ranks.

    Backward begins at the loss, so the last parameters have their gradients first. The parameters are taken in this
    order and put together in parcels of at least `LEAST` numbers. Once every worker has the gradients of a parcel, they
    are added up, in the workers' order, and the sum over the ranks begins. Meanwhile backward goes on. The parcels of
    all ranks begin in one order.

    In the first step nothing is sent before backward ends. It counts how many gradients each parameter receives: a tied
    weight has several.
    """

    def __init__(self, world, models):
        self.world, self.lock = world, threading.Lock()
        self.parameters = [model.named_parameters() for model in models]
        self.parcels = parcels_of(self.parameters[0])
        self.parcel_of = {name: number for number, (_, views) in enumerate(self.parcels) for name in views}
        self.expected = None
        for parameters in self.parameters:
            for name, parameter in parameters.items():
                parameter.__class__ = WatchedParameter
                parameter.arrived = partial(self.arrived, name)

    def begin(self, workers, counts):
        """Before the backwards of the workers with these numbers. If not `counts`, this process has no examples, and
        its gradients count as zeros."""
        self.workers, self.counts, self.requests = workers, counts, []
        self.seen = dict.fromkeys(self.parcel_of, 0)
        self.missing = [set(views) for _, views in self.parcels]

    def arrived(self, name):
        """A worker has added a gradient to the parameter of this name."""
        with self.lock:
            self.seen[name] += 1
            if self.expected is None:
                return
            expected = self.expected[name] * len(self.workers)
            if self.seen[name] > expected:
                raise RuntimeError(f"{name} received more gradients than in the first step, after its sum had begun")
            if self.seen[name] == expected:
                self.missing[self.parcel_of[name]].discard(name)
                while len(self.requests) < len(self.parcels) and not self.missing[len(self.requests)]:
                    self.send()
            for request in self.requests[-1:]:
                self.world.is_done(request)

    def send(self):
        """Add up the workers' gradients of the next parcel, and begin their sum over the ranks."""
        whole, views = self.parcels[len(self.requests)]
        for name, view in views.items():
            own = [self.parameters[worker][name] for worker in self.workers]
            gradients = [part.grad for part in own if part.grad is not None and self.counts]
            view[...] = to_host(gradients[0]) if gradients else 0
            for gradient in gradients[1:]:
                view += gradient
        self.requests.append(self.world.begin_sum(whole))

    def finish(self):
        """{name: its gradient of the whole batch}, after the backwards of all workers."""
        with self.lock:
            if self.expected is None:
                self.expected = {name: seen // len(self.workers) for name, seen in self.seen.items()}
            while len(self.requests) < len(self.parcels):
                self.send()
        for request in self.requests:
            self.world.wait(request)
        return {name: view for _, views in self.parcels for name, view in views.items()}


def parcels_of(parameters):
    """[(an array, {name: the view of it that holds the parameter's gradient})], the last parameters first."""
    groups, size = [[]], 0
    for name, parameter in reversed(parameters.items()):
        if size >= LEAST:
            groups.append([])
            size = 0
        groups[-1].append((name, parameter.value))
        size += parameter.value.size
    return [parcel(group) for group in groups]


def parcel(group):
    """(an array, {name: a view of it in the shape of the value}) of [(name, value)]."""
    ends = np.cumsum([0, *(value.size for _, value in group)])
    whole = np.empty(ends[-1], group[0][1].dtype)
    return whole, {name: whole[start:end].reshape(value.shape)
                   for (name, value), start, end in zip(group, ends, ends[1:], strict=False)}
