"""The loop: batches in, steps, epochs, metrics and checkpoints out. It knows a trainer (trainer.py) and no model.

A run is anything with `options`, `save(trainer, progress, metrics=None)` and `append_steps(line)`: a folder
(runs/run.py), or nothing that is written (Unsaved).
"""

import itertools
import math
import signal
import threading
import time
from contextlib import nullcontext

from tqdm.auto import tqdm

from data_utils import batches
from scratch.arrays import unwarned
from scratch.training.held_out import held_out_metrics
from scratch.training.progress import Totals


class Interrupted(Exception):
    """Training was asked to stop, and has saved all that continuing needs."""


class Unsaved:
    """A run that writes nothing; it keeps its metrics."""

    folder = "this run"

    def __init__(self, config):
        self.config, self.history = config, []

    @property
    def options(self):
        return self.config["options"]

    def metrics(self):
        return self.history

    def closed_on_error(self):
        return nullcontext()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        """There is nothing to close."""

    def save(self, trainer, progress, metrics=None):
        if metrics is not None:
            self.history.append(metrics)

    def append_steps(self, line):
        """Nobody reads it."""


class StopRequest:
    """Within a `with` block, Ctrl-C (and SIGTERM) sets `asked` instead of striking in the middle of an update.

    A second one strikes at once.
    """

    def __enter__(self):
        self.asked = False
        self.previous = {}
        if threading.current_thread() is threading.main_thread():
            self.previous = {s: signal.signal(s, self.ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def ask(self, number, frame):
        self.asked = True
        self.restore()

    def restore(self):
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def __exit__(self, *exception):
        self.restore()


@unwarned()  # what is not finite raises Diverged
def fit(trainer, data, run, progress, *, on_epoch=lambda metrics: None):
    """Train from `progress` up to the run's number of epochs or of steps, saving after each epoch.

    An epoch in which the steps end has its line of metrics too, and stays open: with more steps it goes on from there.
    Raises Diverged, with what was saved before kept; or, after saving, Interrupted.
    """
    options = run.options
    with StopRequest() as stop:
        while steps_to_do(progress, options, len(data.train)):
            whole = train_epoch(trainer, data, run, progress, stop)
            metrics = finish_epoch(trainer, data, run, progress)
            if whole:
                progress.epoch, progress.step, progress.totals = progress.epoch + 1, 0, Totals()
            run.save(trainer, progress, metrics)
            on_epoch(metrics)
            if stop.asked:
                raise Interrupted


def steps_to_do(progress, options, images):
    """How many updates are left of --steps, or else of --epochs; none where more than that are done."""
    an_epoch = math.ceil(images / options["batch_size"])
    steps = options["steps"] or options["epochs"] * an_epoch
    return max(0, steps - (progress.epoch - 1) * an_epoch - progress.step)


def log_steps(run, data, progress, read):
    """Write the lines of steps.jsonl that the values just read complete. A squared error also comes as its mean over
    elements, divided by the variance of the data."""
    options = run.options
    if not (every := options["log_steps"]):
        return
    for values in read:
        if line := progress.step_means.add(values, every):
            if options.get("likelihood") == "squared_error":
                scale = math.prod(data.train.shape[1:]) * options.get("data_variance", 1.0)
                line["normalized_squared_error"] = line["reconstruction"] / scale
            run.append_steps(line)


def prepare(trainer, data, options):
    """Before the first step of a new run: give the model the first batches of epoch 1, if it wants to see some."""
    if count := trainer.prepared_from:
        first = itertools.islice(batches(len(data.train), options["batch_size"], options["seed"], 1), count)
        trainer.prepare([trainer.inputs(data.train[batch], options["dtype"]) for batch in first])


def train_epoch(trainer, data, run, progress, stop):
    """The steps of an epoch that are still to do, or as many as are left. Is the epoch then whole?"""
    options, totals = run.options, progress.totals
    order = list(batches(len(data.train), options["batch_size"], options["seed"], progress.epoch))
    started = last_read = time.perf_counter()
    earlier = totals.seconds
    last = min(len(order), progress.step + steps_to_do(progress, options, len(data.train)))
    title = f"epoch {progress.epoch}" + (f"/{options['epochs']}" if options["epochs"] else "")
    with tqdm(total=len(order), initial=progress.step, desc=title, leave=False, disable=None, unit="step") as bar:
        while progress.step < last:
            batch = order[progress.step]
            inputs = trainer.inputs(data.train[batch], options["dtype"])
            terms, counts = trainer.step(inputs, progress.epoch, progress.step)
            progress.step += 1
            totals.add(f"in epoch {progress.epoch}, step {progress.step}", len(batch), terms, counts)
            bar.update()
            now = time.perf_counter()
            if now - last_read > 1 or stop.asked or progress.step == last:
                read = totals.read(trainer)  # waits for the device, so only about once a second
                bar.set_postfix({name: f"{value:.4g}" for name, value in totals.latest.items()})
                log_steps(run, data, progress, read)
                totals.seconds = earlier + now - started
                last_read = now
            if stop.asked and progress.step < last:
                run.save(trainer, progress)
                raise Interrupted
    return last == len(order)


def finish_epoch(trainer, data, run, progress):
    """The epoch's line of metrics: averages over its examples, the held-out images, the speed."""
    totals, options = progress.totals, run.options
    when = f"after epoch {progress.epoch}, step {progress.step}"
    held_out = held_out_metrics(trainer, data.held_out, options["batch_size"], options["dtype"], when)
    speed = {"seconds": totals.seconds, "images_per_second": totals.examples / totals.seconds}
    return {"epoch": progress.epoch, **totals.means(), **held_out, **speed}
