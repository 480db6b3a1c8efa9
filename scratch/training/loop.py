"""The loop over epochs and steps, which saves metrics and checkpoints. It calls a trainer (trainer.py), never a model.

A run is anything with `options`, `metrics()`, `add_metrics(line)`, `append_steps(line)` and `save(trainer, progress)`:
a folder (runs/run.py), or Unsaved, which writes nothing.
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
from scratch.options.training import FEW_EPOCHS, UPDATES_BETWEEN
from scratch.training.held_out import held_out_metrics
from scratch.training.progress import Best, Totals, gave_up, shares_of_loss

BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"  # fits 80 columns, whatever the loss


class Interrupted(Exception):
    """Training was stopped by Ctrl-C or SIGTERM, after saving all that continuing needs."""


class Unsaved:
    """A run that writes nothing. It keeps its metrics in memory."""

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
        """Nothing has to be closed."""

    def add_metrics(self, line):
        self.history.append(line)

    def save(self, trainer, progress):
        """Nothing is written."""

    def append_steps(self, line):
        """The line is not kept."""


class StopRequest:
    """Within a `with` block, Ctrl-C (and SIGTERM) sets `asked` instead of interrupting an update.

    A second one interrupts at once.
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


@unwarned()  # Totals.read raises Diverged instead
def fit(trainer, data, run, progress, *, on_epoch=lambda metrics, shares: None, bar=True):
    """Train from `progress` up to the run's number of epochs or of steps, saving after each epoch.

    Of many short epochs not each is saved: see epochs_between_saves. Every epoch has its line of metrics all the same.
    With `patience` N it stops earlier, after N epochs in which the held-out loss was not below its lowest.

    on_epoch  called with the metrics of each epoch that is saved and {term: its share of the loss} (progress.py)
    bar       show how far an epoch is, where the output is a terminal or a notebook

    If the steps end within an epoch, the epoch gets its line of metrics as well and stays open: a run continued with
    more steps goes on from there.

    Raises Diverged if a number is no longer finite; what was saved before stays. Raises Interrupted, after saving, if
    Ctrl-C or SIGTERM asked to stop.
    """
    options, between = run.options, epochs_between_saves(run.options, len(data.train))

    def is_over():
        return not steps_to_do(progress, options, len(data.train)) or gave_up(run.metrics(), options["patience"])

    with StopRequest() as stop:
        while not is_over():
            whole = train_epoch(trainer, data, run, progress, stop, bar)
            metrics = finish_epoch(trainer, data, run, progress)
            if options["keep"] == "best":
                progress.best = better(progress.best, trainer, metrics)
            if whole:
                progress.epoch, progress.step, progress.totals = progress.epoch + 1, 0, Totals()
            run.add_metrics(metrics)
            asked = trainer.agree(stop.asked)[0]
            if metrics["epoch"] % between == 0 or asked or is_over():
                run.save(trainer, progress)
                on_epoch(metrics, shares_of_loss(metrics, trainer.model))
            if asked:
                raise Interrupted


def better(best, trainer, metrics):
    """The Best after an epoch with these metrics."""
    if best and best.loss <= metrics["held_out_loss"]:
        return best
    weights = {name: value.copy() for name, value in trainer.state()[0].items()}
    return Best(metrics["epoch"], metrics["held_out_loss"], weights)


def steps_to_do(progress, options, images):
    """How many updates are left of the run's `steps`, or of its `epochs` if it has no `steps`; never below 0."""
    an_epoch = math.ceil(images / options["batch_size"])
    steps = options["steps"] or options["epochs"] * an_epoch
    return max(0, steps - (progress.epoch - 1) * an_epoch - progress.step)


def epochs_between_saves(options, images):
    """Every so many epochs a run is saved and shown. It is 1 in a run of at most 20 epochs; in a longer one as many as
    make 25 updates, so that saving takes little of the time."""
    an_epoch = math.ceil(images / options["batch_size"])
    epochs = options["epochs"] or options["steps"] / an_epoch
    return 1 if epochs <= FEW_EPOCHS else math.ceil(UPDATES_BETWEEN / an_epoch)


def log_steps(run, data, progress, read):
    """Write the lines of steps.jsonl that are complete with the values just read.

    A line also holds the squared error as its mean over elements, divided by the variance of the data.
    """
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
    """Before the first step of a new run: prepare the model with the first batches of epoch 1, if it needs any."""
    if count := trainer.prepared_from:
        first = itertools.islice(batches(len(data.train), options["batch_size"], options["seed"], 1), count)
        trainer.prepare([trainer.inputs(data.train[batch], options["dtype"]) for batch in first])


def train_epoch(trainer, data, run, progress, stop, bar=True):
    """Do the steps that are left of an epoch, or of the run if these are fewer. Returns True if the epoch is complete.
    """
    options, totals = run.options, progress.totals
    order = list(batches(len(data.train), options["batch_size"], options["seed"], progress.epoch))
    started = last_read = time.perf_counter()
    earlier = totals.seconds
    last = min(len(order), progress.step + steps_to_do(progress, options, len(data.train)))
    title = f"epoch {progress.epoch}" + (f"/{options['epochs']}" if options["epochs"] else "")
    hidden = None if bar else True  # None: where the output is a file or a pipe
    with tqdm(total=len(order), initial=progress.step, desc=title, leave=False, disable=hidden, unit="step",
              bar_format=BAR) as shown:
        while progress.step < last:
            batch = order[progress.step]
            inputs = trainer.inputs(data.train[trainer.own(batch)], options["dtype"])
            terms, counts = trainer.step(inputs, progress.epoch, progress.step, len(batch))
            progress.step += 1
            totals.add(f"in epoch {progress.epoch}, step {progress.step}", len(batch), terms, counts)
            shown.update()
            now = time.perf_counter()
            asked, due = trainer.agree(stop.asked, now - last_read > 1)
            if due or asked or progress.step == last:
                read = totals.read(trainer)  # this waits for the device, so it is done about once a second
                shown.set_postfix_str(f"loss {totals.latest['loss']:.4g}")
                log_steps(run, data, progress, read)
                totals.seconds = earlier + now - started
                last_read = now
            if asked and progress.step < last:
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
