"""One step of training. torch_ref has a trainer with the same methods; the loop (loop.py) calls no others."""

import copy

import numpy as np
from threadpoolctl import threadpool_info

from scratch.arrays import device_module, each, generator, to_device, to_host
from scratch.training.progress import perplexities


class Trainer:
    """One training step of a Model, and what the loop needs to know about it. Examples are NumPy arrays.

    Shapes: a batch (N, ...), such as images (N, H, W, C). Terms are scalars that stay on the device.
    """

    notes = ()  # sentences for the user about how it was made

    def __init__(self, model, optimizer, seed, device="cpu"):
        self.model, self.optimizer = model, optimizer
        self.seed, self.device = seed, device
        self.xp = device_module(device)

    def inputs(self, stored, dtype):
        """Stored examples in the form that `step` takes."""
        return self.model.inputs(stored, dtype)

    def own(self, batch):
        """Those of the examples of a batch that this process works on: here all."""
        return batch

    def agree(self, *flags):
        """For each flag, is it set in any of the processes that train together? Here there is one."""
        return flags

    def step(self, examples, epoch, step, count=None):
        """Forward, backward, update; returns (terms, {level: code counts}), which stay on the device.

        The examples are those of `own`, of the `count` of the batch.
        """
        x = to_device(examples, self.device)
        noise = self.noise_of_step(len(x), epoch, step)
        self.model.zero_grad()
        self.model.at_step(self.optimizer.steps)
        observed = self.add_gradients(x, noise)
        self.optimizer.step()
        if self.model.moves:
            self.model.update(self.choices_of_step(epoch, step))
        return observed

    @property
    def prepared_from(self):
        """How many of the first batches `prepare` needs."""
        return self.model.prepared_from

    def prepare(self, batches):
        """Prepare a new model with the first batches of examples."""
        self.model.prepare([to_device(examples, self.device) for examples in batches], generator(np, self.seed, 0, 0))

    def try_one(self, examples):
        """A forward in training mode, on a copy of the model. Raises what the model raises."""
        copy.deepcopy(self.model).train().loss(to_device(examples, self.device))

    def add_gradients(self, x, noise, scale=1.0):
        """Forward and backward, of scale · loss; returns (terms, {level: code counts}) of the loss itself."""
        self.model.train()
        observed = self.observe(*self.model.loss(x, noise))
        self.model.backward(scale)
        return observed

    def evaluate(self, examples, noise, *measure):
        """(terms, {level: code counts}, measured) of the model in evaluation mode. The terms are those of the corrupted
        image, if the model has a corruption.

        Of images `measured` is a list of arrays (N, …), which a `measure` returns, if one is given (see
        Autoencoder.evaluate): by default the squared error of each image's deterministic reconstruction, alone. It is
        None of other examples.
        """
        x = to_device(examples, self.device)
        noise = None if noise is None else each(lambda part: to_device(part, self.device), noise)
        with self.model.evaluating():
            loss, terms, measured = self.model.evaluate(x, noise, *measure)
            return *self.observe(loss, terms), measured

    def observe(self, loss, terms):
        """({name: scalar} of the loss, its terms, the model's other reports and perplexities; {level: code counts})."""
        measured, counts = self.model.observed()
        return {"loss": loss, **terms, **measured, **perplexities(counts)}, counts

    def draw_noise(self, count, rng, corruption_rng=None):
        return self.model.draw_noise(count, rng, corruption_rng)

    def noise_of_step(self, count, epoch, step):
        """The noise of a step, which follows from (seed, epoch, step). None if nothing is random.

        Then no generator is made either, because a new one of CuPy's first fills a state for each of its many threads.
        """
        return self.draw_noise(count, generator(self.xp, self.seed, epoch, step)) if self.model.random else None

    def choices_of_step(self, epoch, step):
        """The random choices of the model's update, from a stream of their own; None if it makes none."""
        if self.model.chooses:
            return self.model.draw_choices(generator(self.xp, self.seed, epoch, step, 0))

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
        """Load what `state` gives. Raises InputError, before anything is written, if a part does not fit."""
        self.optimizer.ready_to_load(moments, steps)
        self.model.load_state_dict(weights)
        self.optimizer.load_state_dict(moments, steps)
