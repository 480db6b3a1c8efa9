"""The base class of models: the methods that training, runs and instruments call. An Autoencoder is a Model."""

import math
from contextlib import contextmanager

from scratch.module import Module


class Model(Module):
    """A model that can be trained: examples in, a loss out.

        loss(x, noise=None) -> (loss, terms)    scalars that stay on the device; terms: {name: scalar}
        backward(scale=1.0)                     adds scale · ∂loss/∂parameter for the loss last computed

    x is a batch of examples, an array whose first axis counts them: images (N, H, W, C), or tokens (N, T).
    The other methods have defaults that fit a model without noise, without codes and without a state of its own.
    """

    random = False  # True if `loss` takes noise
    moves = False  # True if `update` does something
    chooses = False  # True if `update` makes random choices
    prepared_from = 0  # how many of the first batches `prepare` needs; 0 if it does nothing
    ready = False  # True once `prepare` was called or weights were loaded: there is nothing left to prepare
    writes_codes = False  # True if it writes the codes of images, which the run that it refers to as `of` decodes
    has_images = False  # True if an example is an image and the model can reconstruct it

    def inputs(self, stored, dtype):
        """Stored examples in the form that `loss` takes: here the examples themselves."""
        return stored

    def draw_noise(self, count, rng, other_rng=None):
        """The noise that `loss` takes for `count` examples, drawn from `rng`: an array or a list of arrays whose first
        axis counts the examples; None if nothing is random."""
        return None

    def at_step(self, step):
        """Set everything that follows a schedule to its value at this step, counted from 0 over the whole run."""

    def observed(self):
        """({name: scalar}, {level: code counts}) of the last `loss`, reported beside its terms; both may be empty."""
        return {}, {}

    def prepare(self, batches, rng):
        """Prepare for training with the first batches of examples. `rng` is a NumPy generator."""

    def load_state_dict(self, state):
        """As a Module's. The weights that are loaded stay as they are: training on them prepares nothing."""
        super().load_state_dict(state)
        self.ready = True

    def draw_choices(self, rng):
        """The random choices that `update` takes, drawn from `rng`; None if it makes none."""
        return None

    def update(self, choices=None):
        """After the optimiser's step: change what gradients do not change, such as averaged codes."""

    def evaluate(self, x, noise=None, measure=None):
        """(loss, terms, measured) of examples, of a model in evaluation mode. `measured` is None unless examples are
        images; see Autoencoder.evaluate."""
        return *self.loss(x, noise), None

    @contextmanager
    def evaluating(self):
        """Evaluation mode within a `with` block, with every schedule at its end. Afterwards each part is in the mode
        that it was in before."""
        modes, step = [(part, part.training) for part in self.modules()], getattr(self, "step", 0)
        self.eval()
        self.at_step(math.inf)
        try:
            yield
        finally:
            self.at_step(step)
            for part, mode in modes:
                part.training = mode
