"""What every bottleneck offers."""

from scratch.module import Module


class Bottleneck(Module):
    """Stands between encoder and decoder: features h in, features for the decoder out, of the same shape.

        forward(h, noise=None) -> (y, terms)     terms: {name: loss term}, summed per example, averaged over the batch
        backward(dy, dterms)   -> dh             dterms: {name: ∂L/∂term}, a term's weight in the loss

    and, without randomness and without gradients, the two halves on either side of the code itself:

        encode(h) -> latent          decode(latent) -> y

    Where the code is random there is draw(h, noise) -> latent, a draw from q(z | h), as well.
    """

    indices = None  # the codes chosen by the last forward, where a bottleneck chooses codes
    random = False  # True where forward takes noise
    moves = False  # True where `update` does something

    def draw_noise(self, count, rng):
        """The noise that forward takes for `count` examples, from `rng`; None where nothing is random."""
        return None

    def draw_choices(self, rng):
        """The random choices that `update` takes, from `rng`; None where it makes none."""
        return None

    def update(self, choices=None):
        """Change what no gradient changes, once the optimiser has made its step from the last forward."""

    def at_step(self, step):
        """Give all that follows a schedule its value for one step of training."""

    def mix(self, a, b, t):
        """A latent on the way from a (t = 0) to b (t = 1)."""
        return (1 - t) * a + t * b
