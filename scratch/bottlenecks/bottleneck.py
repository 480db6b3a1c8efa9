"""The base class of the bottlenecks. A new bottleneck is a subclass; no other file has to change for it."""

from dataclasses import dataclass

from scratch.bottlenecks.vector_quantizer import of_each_codebook
from scratch.module import Module
from scratch.options.errors import InputError


def level_name(name, level):
    """The name of a term or metric of one grid of codes, such as perplexity_top. The only grid has the level ""."""
    return f"{name}_{level}" if level else name


@dataclass(frozen=True)
class Surroundings:
    """What a bottleneck needs to know about the networks around it.

    shape          (H, W, C) of the features that it receives and returns
    next_channels  the number of channels that one more halving would have
    takes_codes    True if the decoder takes code vectors directly
    """

    shape: tuple
    next_channels: int = 0
    takes_codes: bool = False


class Bottleneck(Module):
    """The part between encoder and decoder: it receives features h and returns features y for the decoder.

        forward(h, noise=None) -> (y, terms)     terms: {name: loss term}, summed per example, averaged over the batch
        backward(dy, dterms)   -> dh             dterms: {name: ∂L/∂term}, a term's weight in the loss

    Its two halves, without randomness and without gradients, are

        encode(h) -> latent          decode(latent) -> y

    A latent is an array, or a list of arrays if there are several grids of codes.
    If the code is random, there is also draw(h, noise) -> latent, a draw from q(z | h).

    A class that is defined with a system's name is that system for `build` and for the command line:

        class GaussianBottleneck(Bottleneck, system="vae"):

    A subclass that has no name of its own and defines `applies` is a variant of the system. It takes the system's place
    if `applies(options)` is true. The options of a system are those of its class and of its variants.
    """

    systems = {}  # noqa: RUF012  {name: class} of all systems that have been defined
    variants = ()  # of a system: its subclasses that may take its place

    options = ()  # of a system: its own; of a variant: those that it adds
    recommended = {}  # noqa: RUF012  {option of training: the default that this system recommends}
    ignored = ()  # names of options of the whole model that do not apply to this system

    needs_grid = False  # True if the code is a grid; the features then have to be a map
    gives_codes = False  # True if it can give the decoder code vectors directly
    halvings_inside = 0  # how many of an image's halvings the bottleneck makes itself

    indices = None  # the codes chosen by the last forward, if the bottleneck chooses codes
    codes = None  # K, the size of the codebook; None if the code is a vector of numbers
    measured = {}  # noqa: RUF012  {name: scalar} of the last forward that are not loss terms, averages over the batch
    random = False  # True if forward takes noise
    decodes_latents = True  # False if in evaluation forward returns anything else than decode(latents)
    moves = False  # True if `update` does something
    chooses = False  # True if `update` makes random choices
    prepared_from = 0  # how many of the first batches `prepare` needs; 0 if it does nothing
    posterior_kind = None  # the class of `posterior(h)`; None if the code has no prior
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
        """Of a variant: is it chosen by these options?"""
        return False

    @classmethod
    def chosen(cls, options):
        """The class for these options: the system's own or one of its variants. Raises InputError if two apply."""
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
        """Raise InputError if options exclude each other. `given` are those that were given; the rest are defaults."""

    @classmethod
    def build(cls, around, options, *, dtype, rng):
        """A bottleneck of this class with these options; `around` are its Surroundings."""
        raise NotImplementedError

    def weights(self, image_shape, options):
        """{term: weight} of the loss, "reconstruction" among them; a weight is a number or a schedule."""
        return {"reconstruction": 1.0}

    def by_level(self, codes):
        """{level: grid of codes} of a latent, or of `indices`. The only grid has the level ""."""
        return {"": codes}

    def by_codebook(self, codes):
        """{codebook: indices (N, I, J) into it} of a latent, or of `indices`: the grids by level, and of a grid with
        several groups, (N, I, J, G), each group by itself."""
        found = {}
        for level, grid in self.by_level(codes).items():
            parts = of_each_codebook(grid)
            names = [f"group_{number + 1}" for number in range(len(parts))] if len(parts) > 1 else [""]
            found |= {level_name(level, name) if level else name: part for name, part in zip(names, parts, strict=True)}
        return found

    def vectors(self, latent):
        """A latent as one vector for each image. For codes it holds the code vectors, position after position."""
        return latent

    def stages(self):
        """[(projection, quantizer or None, h ↦ z)] for each grid of codes: the layer that computes the latents z, their
        quantizer, and the function from features to latents. It may use the quantizers of earlier grids."""
        return []

    def posterior(self, h):
        """q(z | h) and the prior p(z), an object of the class `posterior_kind` (posterior.py)."""
        raise NotImplementedError

    def draw_noise(self, count, rng):
        """The noise that forward takes for `count` examples, drawn from `rng`; None if nothing is random."""
        return None

    def prepare(self, features, rng):
        """Prepare for training with the features h (N, H, W, C) of the first batches. `rng` is a NumPy generator."""

    def draw_choices(self, rng):
        """The random choices that `update` takes, drawn from `rng`; None if it makes none."""
        return None

    def update(self, choices=None):
        """After the optimiser's step: change what gradients do not change, such as averaged codes."""

    def at_step(self, step):
        """Set everything that follows a schedule to its value at this step of training."""

    def mix(self, a, b, t):
        """A latent between a (t = 0) and b (t = 1)."""
        return (1 - t) * a + t * b
