"""What training asks of a model. The autoencoder is one; a model that is no autoencoder is a subclass with a name."""

from contextlib import contextmanager

import torch
from torch import nn


class Model(nn.Module):
    """loss(x, noise=None) -> (loss, {name: term}), tensors of no dimension.

    `class Words(Model, system="words")` makes a system: `build("words", ...)` finds it in `Model.systems`. It declares
    its options. Everything below has a default that fits a model without images, noise, codes and schedules.
    """

    systems = {}  # {name: class} of the models that are no autoencoders
    options = {}  # {name: Option}
    has_images = False  # True where an example is an image
    prepared_from = 0  # how many of the first batches `prepare` wants to see

    def __init_subclass__(cls, system=None, **more):
        super().__init_subclass__(**more)
        if system is not None:
            Model.systems[system] = cls

    @classmethod
    def from_options(cls, shape, options, dtype):
        """The model for examples of this shape; every option has a value. By default the constructor's arguments are
        the shape, and the options by name."""
        return cls(shape, **options, dtype=dtype)

    def at_step(self, step):
        """Give all that follows a schedule its value for one step of training, counted from 0 over the whole run."""

    @contextmanager
    def evaluating(self):
        """Evaluation mode and no graph for the duration of a `with` block. Afterwards every part has the mode that it
        had."""
        training = {part: part.training for part in self.modules()}
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for part, was_training in training.items():
                part.training = was_training

    def draw_noise(self, count, rng, other_rng=None):
        """The noise of `count` examples from NumPy generators; None where nothing is random."""
        return None

    def observed(self):
        """({name: tensor of no dimension}, {level: code counts}) of the last loss: what else there is to report."""
        return {}, {}

    def prepare(self, batches, rng):
        """Make ready for training from the first batches of examples; rng is a NumPy generator."""

    def draw_choices(self, rng):
        """The random choices that `update` takes, from a NumPy generator; None where it makes none."""
        return None

    def update(self, choices=None):
        """Change what no gradient changes, once the optimiser has made its step from the last loss."""

    def squared_errors(self, x):
        """(N,): the squared error of each image's deterministic reconstruction; None of a model without images."""
        return None
