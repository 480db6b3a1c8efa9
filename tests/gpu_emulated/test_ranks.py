"""Two ranks, each with a device of its own, on the stand-in for CuPy. Threads play the ranks."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from scratch.accelerate import accelerate_on_gpu, accelerate_optimizer
from scratch.accelerate.cpu.exchange import Exchange
from scratch.accelerate.ranks.trainer import RankedTrainer
from scratch.arrays import to_host
from scratch.optim import Adam
from scratch.training import make
from scratch.training.trainer import Trainer
from scratch.training.world import World, as_given
from tests.gpu_emulated.stand_in import DeviceArray
from tests.support.closeness import assert_all_close
from tests.support.coupled import CLIPPED, COUNTS, examples_of, model_of


class ThreadWorld(World):
    """A rank that is a thread: its sums are those of an Exchange, in the same precision as MPI's.

    One rank works at a time, the one that holds the baton: the stand-in counts and fuses for a single thread.
    """

    def __init__(self, rank, size, exchange, baton):
        self.rank, self.size, self.exchange, self.baton, self.turn = rank, size, exchange, baton, 0

    def exchanged(self, values):
        self.turn += 1
        self.baton.release()
        try:
            return self.exchange.total(self.rank, self.turn, values)
        finally:
            self.baton.acquire()

    def total(self, *values):
        host = [np.asarray(value if isinstance(value, int | float) else to_host(value), np.float64) for value in values]
        sums = self.exchanged(host)
        return tuple(as_given(total, value) for total, value in zip(sums, values, strict=True))

    def begin_sum(self, array):
        (array[...],) = self.exchanged([array.copy()])

    def is_done(self, request):
        return True

    def wait(self, request):
        """It has been waited for."""

    def from_first(self, make):
        return make()


def as_ranks(count, work):
    """[work(world)] of `count` ranks, each in its thread."""
    exchange, baton = Exchange(count, 0, count), threading.Lock()

    def of_rank(rank):
        try:
            with baton:
                return work(ThreadWorld(rank, count, exchange, baton))
        except threading.BrokenBarrierError:
            raise
        except BaseException:
            exchange.close()
            raise

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(of_rank, range(count)))


def trained(name, world=None, device="gpu"):
    """(terms of each step, weights) of four steps of one process, or of a rank."""
    model = model_of(name).to(device)
    if device == "gpu":
        model = accelerate_on_gpu(model)
    optimizer = Adam(model.named_parameters(), 1e-3, clip_norm=CLIPPED.get(name))
    accelerate_optimizer(optimizer)
    trainer = (RankedTrainer(model, optimizer, 4, 1, world, device) if world else Trainer(model, optimizer, 4, device))
    if trainer.prepared_from:
        trainer.prepare([examples_of(name, 8)])
    found = []
    for step, count in enumerate(COUNTS):
        x = examples_of(name, count)
        terms, _ = trainer.step(trainer.own(x), 1, step, len(x))
        assert all(isinstance(term, DeviceArray) == (device == "gpu") for term in terms.values())
        found.append([float(to_host(term)) for term in terms.values()])
    return found, trainer.state()[0]


@pytest.mark.parametrize("name", [
    *("ae", "vae", "vqvae2", "dvae", "prior"), "vae, gaussian", "vqvae, batch norm and all cures",
    "vae, free bits between", "vae, capacity between"])
def test_ranks_with_a_device_each_learn_what_one_device_learns(cupy, name):
    terms, weights = trained(name)
    for ours, our_weights in as_ranks(2, lambda world: trained(name, world)):
        np.testing.assert_allclose(ours, terms, rtol=1e-9)
        assert_all_close(our_weights, weights, 1e-9)


def test_a_rank_takes_the_device_of_its_place_on_its_machine(cupy, monkeypatch):
    ranks = World()
    ranks.size, ranks.local_rank = 4, 1
    monkeypatch.setattr(make, "world", lambda: ranks)
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: 2)
    assert [make.own_device(name) for name in ("cpu", "gpu", "gpu:0")] == ["cpu", "gpu:1", "gpu:0"]
    ranks.local_rank = 2
    assert make.own_device("gpu") == "gpu:0"
