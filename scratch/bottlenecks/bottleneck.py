"""What every bottleneck offers. A new one is a subclass; nothing else has to know of it."""

from dataclasses import dataclass

from scratch.module import Module
from scratch.options.errors import InputError


def level_name(name, level):
    """The name of what is counted or weighed for one grid of codes: perplexity_top, or plain where it is the only grid.
    """
    return f"{name}_{level}" if level else name


@dataclass(frozen=True)
class Surroundings:
    """What a bottleneck is told of the networks around it.

    shape          (H, W, C) of the features that come and go
    next_channels  the channels that one more halving would have
    takes_codes    does the decoder take code vectors as they are?
    """

    shape: tuple
    next_channels: int = 0
    takes_codes: bool = False


class Bottleneck(Module):
    """Stands between encoder and decoder: features h in, features for the decoder out, of the same shape.

        forward(h, noise=None) -> (y, terms)     terms: {name: loss term}, summed per example, averaged over the batch
        backward(dy, dterms)   -> dh             dterms: {name: ∂L/∂term}, a term's weight in the loss

    and, without randomness and without gradients, the two halves on either side of the code itself:

        encode(h) -> latent          decode(latent) -> y

    A latent is an array, or a list of arrays where there are several grids of codes.
    Where the code is random there is draw(h, noise) -> latent, a draw from q(z | h), as well.

    A class becomes a system that `build` and the command line know by being defined with its name:

        class GaussianBottleneck(Bottleneck, system="vae"):

    A subclass of a system's class without a name of its own is a variant of it, which takes the system's place where
    `applies(options)` says so. The options of a system are those of its class and of its variants.
    """

    systems = {}  # noqa: RUF012  {name: class} of all systems that have been defined
    variants = ()  # of a system: its subclasses that may take its place

    options = ()  # declared here; a variant declares those that it adds
    recommended = {}  # noqa: RUF012  {option of training: the default that this system wants}
    ignored = ()  # names of options of the whole model that this system has no use for

    needs_grid = False  # True where the code is a grid, for which the features have to be a map
    gives_codes = False  # True where the decoder may be given code vectors as they are
    halvings_inside = 0  # how many of an image's halvings the bottleneck makes itself

    indices = None  # the codes chosen by the last forward, where a bottleneck chooses codes
    codes = None  # K, the size of the codebook; None where the code is a vector of numbers
    measured = {}  # noqa: RUF012  what else the last forward reports: {name: scalar}, averages over the batch, no terms
    random = False  # True where forward takes noise
    moves = False  # True where `update` does something
    chooses = False  # True where it makes random choices
    prepared_from = 0  # how many of the first batches `prepare` wants to see; 0 where it does nothing
    posterior_kind = None  # the class of `posterior(h)`; None where the code is no random variable with a prior
    priors = ()  # names of the simple priors that new latents may come from (models/priors.py)

    def __init_subclass__(cls, system=None, **keywords):
        super().__init_subclass__(**keywords)
        if system:
            cls.system, cls.variants = system, ()
            Bottleneck.systems[system] = cls
        elif "applies" in vars(cls):
            owner = next(parent for parent in cls.__mro__ if "system" in vars(parent))
            owner.variants += (cls,)

    @classmethod
    def applies(cls, options):
        """Of a variant: do these options ask for it?"""
        return False

    @classmethod
    def chosen(cls, options):
        """The class that these options ask for: the system's own or one of its variants. Raises InputError for two."""
        asked = [variant for variant in cls.variants if variant.applies(options)]
        if len(asked) > 1:
            first, second = (variant.options[0].name for variant in asked[:2])
            raise InputError(f"{first} and {second} exclude each other: leave one of them out.")
        return asked[0] if asked else cls

    @classmethod
    def all_options(cls):
        """The options of a system: its own and those of its variants."""
        return (*cls.options, *(option for variant in cls.variants for option in vars(variant).get("options", ())))

    @classmethod
    def check(cls, options, given):
        """Raises InputError where the options, of which those in `given` were chosen, do not go together."""

    @classmethod
    def build(cls, around, options, *, dtype, rng):
        """The bottleneck that the options ask for, in these Surroundings."""
        raise NotImplementedError

    def weights(self, image_shape, options):
        """{term: weight} of the loss, "reconstruction" among them; a weight is a number or a schedule."""
        return {"reconstruction": 1.0}

    def by_level(self, codes):
        """{level: grid} of a latent of codes, or of `indices`; a grid that is the only one has the name ""."""
        return {"": codes}

    def vectors(self, latent):
        """A latent as one vector for each image, (N, D); of codes the code vectors, position after position."""
        return latent

    def stages(self):
        """[(projection, quantizer or None, h ↦ z)] of each grid of codes: the layer that makes the latents z, what
        quantizes them, and the way from the features to them. Each way may go through the quantizers before it."""
        return []

    def posterior(self, h):
        """q(z | h) beside the prior p(z), a `posterior_kind` (posterior.py)."""
        raise NotImplementedError

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
