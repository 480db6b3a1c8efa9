"""What training, runs and instruments ask of a model. Every model has these methods; the autoencoder is one."""

import math
from contextlib import contextmanager

from scratch.module import Module


class Model(Module):
    """A model that can be trained: examples in, a loss out.

        loss(x, noise=None) -> (loss, terms)    scalars that stay on the device; terms: {name: scalar}
        backward(scale=1.0)                     adds scale · ∂loss/∂parameter for the loss last computed

    x is a batch of examples, an array whose first axis counts them: images (N, H, W, C), or tokens (N, T).
    Everything else here has a default that fits a model without noise, without codes and without a state of its own.
    """

    random = False  # True where `loss` takes noise
    moves = False  # True where `update` does something
    chooses = False  # True where `update` makes random choices
    prepared_from = 0  # how many of the first batches `prepare` wants to see; 0 where it does nothing
    ready = False  # True once `prepare` was called or weights were loaded: there is nothing left to prepare
    has_images = False  # True where an example is an image and the model can reconstruct it

    def inputs(self, stored, dtype):
        """What `loss` takes of stored examples: here the examples themselves."""
        return stored

    def draw_noise(self, count, rng, other_rng=None):
        """The noise that `loss` takes for `count` examples, from `rng`: an array or a list of arrays whose first axis
        counts the examples; None where nothing is random."""
        return None

    def at_step(self, step):
        """Give all that follows a schedule its value for one step of training, counted from 0 over the whole run."""

    def observed(self):
        """({name: scalar}, {level: code counts}) of the last `loss`: what else there is to report; both may be empty.
        """
        return {}, {}

    def prepare(self, batches, rng):
        """Make ready for training from the first batches of examples; rng is NumPy's."""

    def load_state_dict(self, state):
        """As a Module's. The weights that are loaded stay as they are: training on them prepares nothing."""
        super().load_state_dict(state)
        self.ready = True

    def draw_choices(self, rng):
        """The random choices that `update` takes, from `rng`; None where it makes none."""
        return None

    def update(self, choices=None):
        """Change what no gradient changes, once the optimiser has made its step from the last loss."""

    def squared_errors(self, x):
        """(N,): the squared error of each image's deterministic reconstruction; None of a model without images."""
        return None

    @contextmanager
    def evaluating(self):
        """Evaluation mode for the duration of a `with` block, in which every schedule is at its end. Each part is then
        put back into the mode it was in."""
        modes, step = [(part, part.training) for part in self.modules()], getattr(self, "step", 0)
        self.eval()
        self.at_step(math.inf)
        try:
            yield
        finally:
            self.at_step(step)
            for part, mode in modes:
                part.training = mode
