"""The processes that MPI has started together, and their sums.

    mpiexec -n 4 python -m scratch train ...

Each process is a rank. All run the same program, and come to the same exchanges in the same order. MPI adds up in an
order that follows from the number of ranks and of values alone, so a run repeats bit for bit.
"""

import functools
import os
import threading
import time
from contextlib import contextmanager

import numpy as np

from scratch.arrays import array_module, to_host
from scratch.options.errors import InputError

LAUNCHERS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_WORLD_SIZE")  # in them mpiexec says how many it has started
PACKAGES = "pip install mpi4py mpich"
PATIENT = 50  # how often a wait only yields the core, before it sleeps
NAP = 5e-5  # seconds
MOMENT = 0.3  # seconds in which mpiexec passes on what was printed; an end leaves it no time
ALONE = []  # not empty within `alone`


class World:
    """One process alone."""

    rank, size = 0, 1
    local_rank, local_size = 0, 1  # among the ranks of this machine

    def total(self, *values):
        """For each value, a number or an array, its sum over the ranks."""
        return values

    def from_first(self, make):
        """What `make` returned at rank 0, where alone it is called."""
        return make()

    def gather(self, value):
        """[the value of each rank], in their order, at every rank."""
        return [value]

    def end(self, status):
        """End all ranks at once, where one has failed."""


class Ranks(World):
    """The ranks of MPI's world. `MPI` is the module mpi4py.MPI.

    Threads may call it at the same time: one call at a time goes to MPI, and none waits inside it. A wait asks again
    and again, and sleeps in between, because MPI's own waiting would take a core from the workers.
    """

    def __init__(self, MPI):
        self.sum, self.comm, self.lock = MPI.SUM, MPI.COMM_WORLD, threading.Lock()
        self.in_place = MPI.IN_PLACE
        self.of_gradients = self.comm.Dup()  # their sums are under way while others begin and end
        machine = self.comm.Split_type(MPI.COMM_TYPE_SHARED)
        self.rank, self.size = self.comm.rank, self.comm.size
        self.local_rank, self.local_size = machine.rank, machine.size

    def total(self, *values):
        arrays = [np.asarray(value if isinstance(value, int | float) else to_host(value)) for value in values]
        packed = np.concatenate([array.ravel() for array in arrays], dtype=np.float64, casting="unsafe")
        with self.lock:
            request = self.comm.Iallreduce(self.in_place, packed, self.sum)
        self.wait(request)
        ends = np.cumsum([array.size for array in arrays])
        return tuple(as_given(part.reshape(array.shape), value)
                     for part, array, value in zip(np.split(packed, ends[:-1]), arrays, values, strict=True))

    def begin_sum(self, array):
        """Begin to add up an array over the ranks, in place; the request that `is_done` and `wait` take."""
        with self.lock:
            return self.of_gradients.Iallreduce(self.in_place, array, self.sum)

    def is_done(self, request):
        """Has a sum arrived? Asking also lets MPI go on with it."""
        with self.lock:
            return request.Test()

    def wait(self, request):
        for asked in range(10**12):
            if self.is_done(request):
                return
            time.sleep(0 if asked < PATIENT else NAP)

    def from_first(self, make):
        return self.comm.bcast(make() if self.rank == 0 else None)

    def gather(self, value):
        self.total(0)  # MPI's own waiting would take a core from those that still work
        return self.comm.allgather(value)

    def end(self, status):
        time.sleep(MOMENT)
        self.comm.Abort(status)


def as_given(total, value):
    """A sum in float64 as the kind of number or array that was given, on its device."""
    if isinstance(value, int | float):
        return type(value)(total)
    return array_module(value).asarray(total.astype(value.dtype))[()]


def world():
    """The World of this process. Raises InputError where mpiexec has started several and MPI is not to be had."""
    return ALONE[-1] if ALONE else started()


@contextmanager
def alone():
    """Within a `with` block this process works by itself, beside the others of its machine: `world` knows no ranks."""
    own = World()
    own.local_size = started().local_size
    ALONE.append(own)
    try:
        yield
    finally:
        ALONE.pop()


@functools.cache
def started():
    """The World as it was started."""
    size = max((int(os.environ[name]) for name in LAUNCHERS if os.environ.get(name, "").isdigit()), default=1)
    if size == 1:
        return World()
    os.environ.setdefault("MPIR_CVAR_SUPPRESS_ABORT_MESSAGE", "1")  # what has failed says so itself
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the second where it finds no library of MPI
        raise InputError(f"{size} processes were started together, and mpi4py cannot be used ({error}): {PACKAGES}, or "
                         f"start one process.") from None
    if MPI.COMM_WORLD.size != size:
        raise InputError(f"{size} processes were started together, and mpi4py knows of {MPI.COMM_WORLD.size}: start "
                         f"them with the mpiexec that came with its MPI.")
    return Ranks(MPI)
