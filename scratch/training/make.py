"""From options to a model in its fastest form, and to its trainer."""

import numpy as np

from scratch.accelerate import accelerate, accelerate_on_gpu, accelerate_optimizer, back_to_plain
from scratch.accelerate.cpu.memory import retain_freed_memory
from scratch.accelerate.cpu.threads import Threads
from scratch.accelerate.cpu.workers import ParallelTrainer, sensible_workers
from scratch.accelerate.gpu.check import choose_form
from scratch.arrays import device_module
from scratch.models.build import build_resolved
from scratch.optim import make_optimizer
from scratch.options.errors import InputError
from scratch.training.trainer import Trainer


def make_model(options, shape, rng=None, model=None):
    """The model that the options of a run describe, or the one given, for examples of this shape, on the run's device.

    Raises InputError if the model cannot take such examples, or if the device does not exist.
    """
    device = options["device"]
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
    workers = number_of_workers(options, model)
    if workers > 1:
        trainer = ParallelTrainer(model, optimizer, options["seed"], workers)
    else:
        trainer = Trainer(model, optimizer, options["seed"], options["device"])
    trainer.notes = notes
    return trainer, model.parameter_count()


def make_evaluator(options, model, device):
    """A trainer without an optimiser, which can only evaluate, on the device where the model is."""
    workers = number_of_workers(options, model) if device == options["device"] == "cpu" else 1
    seed = options["seed"]
    return ParallelTrainer(model, None, seed, workers) if workers > 1 else Trainer(model, None, seed, device)


def make_threads(options, device):
    """The Threads that share out the batches of a finished run: as many as it was trained with on a CPU, or else one
    for each core, and a single one for plain forms or a GPU."""
    return Threads(1 if options["plain"] or device != "cpu" else options["workers"])


def by(shape):
    """(32, 32, 3) as "32×32×3"."""
    return "×".join(map(str, shape))


def number_of_workers(options, model):
    """The option `workers`, or a sensible number if it is None. Raises InputError if more than one is not possible."""
    device, workers = options["device"], options["workers"]
    if workers is None:
        coupled = any(part.couples_examples for part in model.modules())
        return 1 if options["plain"] or device != "cpu" or coupled else sensible_workers(options["batch_size"])
    if workers > 1 and (options["plain"] or device != "cpu"):
        where = "with the plain forms" if options["plain"] else f"on {device}"
        raise InputError(f"{workers} means threads that share a batch on the CPU, which is not possible {where}: "
                         f"leave one of them out.", "workers")
    return workers
