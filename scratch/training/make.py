"""From options to a model in its fastest form, and to its trainer."""

import numpy as np

from scratch.accelerate import accelerate, accelerate_on_gpu, accelerate_optimizer, back_to_plain
from scratch.accelerate.cpu.memory import retain_freed_memory
from scratch.accelerate.cpu.threads import Threads
from scratch.accelerate.cpu.workers import ParallelTrainer, sensible_workers
from scratch.accelerate.gpu.check import choose_form
from scratch.accelerate.ranks.trainer import RankedTrainer
from scratch.arrays import device_module
from scratch.models.build import build_resolved
from scratch.optim import make_optimizer
from scratch.options.errors import InputError
from scratch.training.trainer import Trainer
from scratch.training.world import world


def make_model(options, shape, rng=None, model=None):
    """The model that the options of a run describe, or the one given, for examples of this shape, on the run's device.

    Raises InputError if the model cannot take such examples, or if the device does not exist.
    """
    device = own_device(options["device"])
    device_module(device)  # raises InputError before anything is built
    if model is None:
        model = build_resolved(options, shape, dtype=options["dtype"], rng=rng)
    elif model.shape != tuple(shape):
        raise InputError(f"the model was built for examples of {by(model.shape)}, but these are {by(shape)}.")
    model = back_to_plain(model).to(device)
    if options["plain"]:
        return model
    if device != "cpu":
        return accelerate_on_gpu(model)
    retain_freed_memory()
    return accelerate(model)


def make_trainer(options, shape, model=None):
    """(trainer, number of parameters) for a new run, with a new model or with the one given."""
    on_gpu, notes = options["device"] != "cpu", []
    plain_first = {**options, "plain": options["plain"] or on_gpu}
    model = make_model(plain_first, shape, np.random.default_rng(options["seed"]), model)
    optimizer = make_optimizer(model.named_parameters(), options)
    if not options["plain"] and not on_gpu:
        accelerate_optimizer(optimizer)
    elif not options["plain"] and (problem := choose_form(model, optimizer, shape)):
        notes.append(problem)
    workers, ranks = number_of_workers(options), world()
    if ranks.size > 1:
        trainer = RankedTrainer(model, optimizer, options["seed"], workers, ranks, own_device(options["device"]))
    elif workers > 1:
        trainer = ParallelTrainer(model, optimizer, options["seed"], workers)
    else:
        trainer = Trainer(model, optimizer, options["seed"], options["device"])
    trainer.notes = notes
    return trainer, model.parameter_count()


def own_device(device):
    """The device of this process: of several ranks on a machine with GPUs each takes its own for "gpu"."""
    ranks = world()
    if ranks.size == 1 or device != "gpu":
        return device
    return f"gpu:{ranks.local_rank % device_module(device).cuda.runtime.getDeviceCount()}"


def make_evaluator(options, model, device, ranks):
    """A trainer without an optimiser, which can only evaluate, on the device where the model is. Of several `ranks`
    each takes its share."""
    workers, seed = number_of_workers(options) if device == options["device"] == "cpu" else 1, options["seed"]
    if ranks.size > 1:
        return RankedTrainer(model, None, seed, workers, ranks, device)
    return ParallelTrainer(model, None, seed, workers) if workers > 1 else Trainer(model, None, seed, device)


def make_threads(options, device):
    """The Threads that share out the batches of a finished run: as many as it was trained with on a CPU, or else one
    for each core, and a single one for plain forms or a GPU."""
    return Threads(1 if options["plain"] or device != "cpu" else options["workers"])


def by(shape):
    """(32, 32, 3) as "32×32×3"."""
    return "×".join(map(str, shape))


def number_of_workers(options):
    """The option `workers`, or a sensible number if it is None; with several ranks, in each of them. Raises InputError
    if it is not possible."""
    device, workers, ranks = options["device"], options["workers"], world()
    if workers is None:
        own = options["batch_size"] // ranks.size
        return 1 if options["plain"] or device != "cpu" else sensible_workers(own, ranks.local_size)
    if workers > 1 and (options["plain"] or device != "cpu"):
        where = "with the plain forms" if options["plain"] else f"on {device}"
        raise InputError(f"{workers} means threads that share a batch on the CPU, which is not possible {where}: "
                         f"leave one of them out.", "workers")
    return workers
