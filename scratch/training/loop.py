"""The loop: batches in, gradients back, optimiser, metrics out.

`Trainer` knows how one step of a hand-written model goes. `fit` knows how steps become epochs, metrics and
checkpoints, and asks a trainer only for what `Trainer` shows here; torch_ref has a trainer with the same methods.
"""

import itertools
import math
import signal
import threading
import time
from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_info
from tqdm import tqdm

from data_utils import batches, to_float
from scratch.arrays import device_module, each, generator, to_device, to_host
from scratch.bottlenecks.bottleneck import level_name
from scratch.bottlenecks.vector_quantizer import code_counts, perplexity
from scratch.commands.shortages import memory_for
from scratch.losses import psnr
from scratch.optim import SGD, Adam

HELD_OUT_SEED = 20140416  # the noise of held-out example i is the i-th draw from this seed, whatever the batch size


def held_out_generators():
    """(the bottleneck's, the corruption's): two streams, each of which holds one draw after the other."""
    return generator(np, HELD_OUT_SEED), generator(np, HELD_OUT_SEED, 1)


class Diverged(Exception):
    """A loss or a weight is no longer a finite number."""


class Interrupted(Exception):
    """Training was asked to stop, and has saved all that continuing needs."""


def make_optimizer(parameters, options):
    """The optimiser that the options name, over {name: Parameter}."""
    if options["optimizer"] == "sgd":
        return SGD(parameters, options["lr"], options["momentum"])
    return Adam(parameters, options["lr"], weight_decay=options["weight_decay"])


class Trainer:
    """One training step of a model, and what the loop wants to know of it. Images come as NumPy arrays (N, H, W, C)."""

    def __init__(self, model, optimizer, seed, device="cpu"):
        self.model, self.optimizer = model, optimizer
        self.seed, self.device = seed, device
        self.xp = device_module(device)

    def step(self, images, epoch, step):
        """Forward, backward, update; returns (terms, {level: code counts}), which stay on the device."""
        x = to_device(images, self.device)
        noise = self.noise_of_step(len(x), epoch, step)
        self.model.zero_grad()
        self.model.at_step(self.optimizer.steps)
        observed = self.add_gradients(x, noise)
        self.optimizer.step()
        if self.model.bottleneck.moves:
            self.model.bottleneck.update(self.choices_of_step(epoch, step))
        return observed

    def prepare(self, batches):
        """Show the bottleneck of a new model the first batches of images, from which some begin.

        Their features are those that training sees: a norm's running statistics know no image yet.
        """
        features = [self.model.train().encoder.forward(to_device(images, self.device)) for images in batches]
        with self.model.evaluating():
            self.model.bottleneck.prepare(features, generator(np, self.seed, 0, 0))

    def add_gradients(self, x, noise, scale=1.0):
        """Forward and backward, of scale · loss; returns (terms, {level: code counts}) of the loss itself."""
        self.model.train()
        observed = self.observe(*self.model.loss(x, noise))
        self.model.backward(scale)
        return observed

    def evaluate(self, images, noise):
        """(terms, {level: code counts}, squared error of each image's deterministic reconstruction).

        A corruption is in the terms; the reconstruction is that of the image itself.
        """
        x = to_device(images, self.device)
        noise = None if noise is None else each(lambda part: to_device(part, self.device), noise)
        with self.model.evaluating():
            terms, counts = self.observe(*self.model.loss(x, noise))
        error = self.model.reconstruct(x) - x
        return terms, counts, (error * error).reshape(len(x), -1).sum(axis=1)

    def observe(self, loss, terms):
        """(loss, terms, the likelihood's own metrics, perplexities; {level: code counts}, empty without codes)."""
        bottleneck = self.model.bottleneck
        grids = {} if bottleneck.indices is None else bottleneck.by_level(bottleneck.indices)
        counts = {level: code_counts(indices, bottleneck.codes) for level, indices in grids.items()}
        measured = {**bottleneck.measured, **self.model.reconstruction.measured}
        return {"loss": loss, **terms, **measured, **perplexities(counts)}, counts

    def draw_noise(self, count, rng, corruption_rng=None):
        return self.model.draw_noise(count, rng, corruption_rng)

    def noise_of_step(self, count, epoch, step):
        """What a step draws: all of it follows from (seed, epoch, step). None where nothing is random.

        Then no generator is made either: CuPy's has a state for each of its many threads, which a new one fills.
        """
        return self.draw_noise(count, generator(self.xp, self.seed, epoch, step)) if self.model.random else None

    def choices_of_step(self, epoch, step):
        """The random choices of the bottleneck's update, None where it makes none, from a stream below the noise's."""
        if self.model.bottleneck.chooses:
            return self.model.bottleneck.draw_choices(generator(self.xp, self.seed, epoch, step, 0))

    def read(self, scalars):
        """Scalars of the device as a list of floats, in one transfer."""
        return to_host(self.xp.stack([self.xp.asarray(s) for s in scalars])).tolist() if scalars else []

    def read_array(self, array):
        return to_host(array)

    def environment(self):
        """What a bitwise repetition on the CPU depends on: NumPy's BLAS, the kernels it chose, and its threads."""
        blas = [
            f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}, {pool['num_threads']} thread(s)"
            for pool in threadpool_info()
            if pool["user_api"] == "blas"
        ]
        return {"device": self.device, "BLAS": ", ".join(blas) or "unknown to threadpoolctl", "workers": "1"}

    def state(self):
        """(weights, moments, steps): named NumPy arrays in PyTorch's layouts, and the number of updates made."""
        return self.model.state_dict(), self.optimizer.state_dict(), self.optimizer.steps

    def load(self, weights, moments, steps):
        self.model.load_state_dict(weights)
        self.optimizer.load_state_dict(moments, steps)


def perplexities(counts):
    """{metric: perplexity} of {level: code counts}."""
    return {level_name("perplexity", level): perplexity(used) for level, used in counts.items()}


@dataclass
class Totals:
    """Running sums over the examples of an epoch, fed with scalars that may still be on the device."""

    sums: dict = field(default_factory=dict)
    examples: int = 0
    counts: dict = field(default_factory=dict)  # {level: how often each code was used}
    seconds: float = 0.0
    pending: list = field(default_factory=list)  # (where, examples, terms, counts) not yet read
    latest: dict = field(default_factory=dict)

    def add(self, where, examples, terms, counts):
        self.pending.append((where, examples, terms, counts))

    def read(self, trainer):
        """Fetch what is pending: [{name: value}], step by step.

        Raises Diverged, with place and term, at the first value that is not finite.
        """
        read = []
        values = iter(trainer.read([value for _, _, terms, _ in self.pending for value in terms.values()]))
        for where, examples, terms, counts in self.pending:
            self.latest = {name: next(values) for name in terms}
            read.append(self.latest)
            for name, value in self.latest.items():
                if not math.isfinite(value):
                    raise Diverged(f"{name} became {value} {where}")
                self.sums[name] = self.sums.get(name, 0.0) + examples * value
            self.examples += examples
            for level, used in counts.items():
                self.counts[level] = self.counts.get(level, 0) + trainer.read_array(used).astype(np.int64)
        self.pending.clear()
        return read

    def means(self):
        """Averages over examples; of each level the number of different codes used and the perplexity of them all."""
        means = {name: total / self.examples for name, total in self.sums.items()}
        for level, counts in self.counts.items():
            means[level_name("codes_used", level)] = int((counts > 0).sum())
            means[level_name("epoch_perplexity", level)] = float(perplexity(counts))
        return means


@dataclass
class StepMeans:
    """Means over every so many updates, whatever the epochs: the lines of steps.jsonl. A step counts as one, whether
    its batch is whole or not."""

    step: int = 0  # updates seen, of the whole run
    sums: dict = field(default_factory=dict)  # since the last line

    def add(self, values, every):
        """Take the values of one update in; {"step": …, name: mean} where it is one of those that end a line."""
        self.step += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if self.step % every:
            return None
        means = {name: total / every for name, total in self.sums.items()}
        self.sums = {}
        return {"step": self.step, **means}


@dataclass
class Progress:
    """How far training is: `step` batches of epoch `epoch` (from 1) are done, with these totals."""

    epoch: int = 1
    step: int = 0
    totals: Totals = field(default_factory=Totals)
    step_means: StepMeans = field(default_factory=StepMeans)


def held_out_metrics(trainer, images, batch_size, dtype, when="now"):
    """{held_out_…: value} over images (uint8): every loss term, the PSNR, and of a VQ-VAE its codes.

    The loss draws z, and what corrupts the image where the model has a corruption, from a seed fixed by the example.
    The PSNR in dB is −10 log₁₀ of the mean squared error per element over the whole set, of the deterministic
    reconstruction of the image as it is.
    """
    totals, squared_error, generators = Totals(), 0.0, held_out_generators()
    for batch in batches(len(images), batch_size, 0, 0, shuffle=False):
        x = to_float(images[batch], dtype)
        terms, counts, errors = trainer.evaluate(x, trainer.draw_noise(len(x), *generators))
        totals.add(f"on the held-out images {when}", len(x), terms, counts)
        totals.read(trainer)
        squared_error += float(trainer.read_array(errors).sum(dtype=np.float64))
    mse = squared_error / images.size
    return {f"held_out_{name}": value for name, value in {**totals.means(), "psnr": psnr(mse)}.items()}


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


def fit(trainer, data, run, progress, *, on_epoch=lambda metrics: None):
    """Train from `progress` up to the run's number of epochs or of steps, saving after each epoch.

    An epoch in which the steps end has its line of metrics too, and stays open: with more steps it goes on from there.
    Raises Diverged, or InputError where memory does not suffice, with what was saved before kept; or, after saving,
    Interrupted.
    """
    options, where = run.options, " in a new run; what this one has saved is kept"
    with StopRequest() as stop, memory_for(options["batch_size"], options["device"], where):
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
    steps = options.get("steps") or options["epochs"] * an_epoch
    return max(0, steps - (progress.epoch - 1) * an_epoch - progress.step)


def log_steps(run, data, progress, read):
    """Write the lines of steps.jsonl that the values just read complete. A squared error also comes as its mean over
    elements, divided by the variance of the data."""
    options = run.options
    if not (every := options.get("log_steps")):
        return
    for values in read:
        if line := progress.step_means.add(values, every):
            if options["likelihood"] == "squared_error":
                scale = math.prod(data.train.shape[1:]) * options.get("data_variance", 1.0)
                line["normalized_squared_error"] = line["reconstruction"] / scale
            run.append_steps(line)


def prepare(trainer, data, options):
    """Before the first step of a new run: give the model the first batches of epoch 1, if it wants to see some."""
    if count := trainer.model.bottleneck.prepared_from:
        first = itertools.islice(batches(len(data.train), options["batch_size"], options["seed"], 1), count)
        trainer.prepare([to_float(data.train[batch], options["dtype"]) for batch in first])


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
            terms, counts = trainer.step(to_float(data.train[batch], options["dtype"]), progress.epoch, progress.step)
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

