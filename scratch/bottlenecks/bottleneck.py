"""What every bottleneck offers."""

from scratch.module import Module


def level_name(name, level):
    """The name of what is counted or weighed for one grid of codes: perplexity_top, or plain where it is the only grid.
    """
    return f"{name}_{level}" if level else name


class Bottleneck(Module):
    """Stands between encoder and decoder: features h in, features for the decoder out, of the same shape.

        forward(h, noise=None) -> (y, terms)     terms: {name: loss term}, summed per example, averaged over the batch
        backward(dy, dterms)   -> dh             dterms: {name: ∂L/∂term}, a term's weight in the loss

    and, without randomness and without gradients, the two halves on either side of the code itself:

        encode(h) -> latent          decode(latent) -> y

    A latent is an array, or a list of arrays where there are several grids of codes.
    Where the code is random there is draw(h, noise) -> latent, a draw from q(z | h), as well.
    """

    indices = None  # the codes chosen by the last forward, where a bottleneck chooses codes
    measured = {}  # noqa: RUF012  what else the last forward reports: {name: scalar}, averages over the batch, no terms
    random = False  # True where forward takes noise
    moves = False  # True where `update` does something
    chooses = False  # True where it makes random choices
    prepared_from = 0  # how many of the first batches `prepare` wants to see; 0 where it does nothing

    def by_level(self, codes):
        """{level: grid} of a latent of codes, or of `indices`; a grid that is the only one has the name ""."""
        return {"": codes}

    def draw_noise(self, count, rng):
        """The noise that forward takes for `count` examples, from `rng`; None where nothing is random."""
        return None

    def prepare(self, features, rng):
        """Make ready for training from the features h of the first batches, each (N, H, W, C); rng is NumPy's."""

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
