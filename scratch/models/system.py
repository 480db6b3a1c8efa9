"""The kinds of models that `train` and `build` know by name.

Each bottleneck that is defined with a name gives a system: the autoencoder around it. For a model that is not an
autoencoder, define a subclass of System with a name:

    class Words(System, name="words"):
"""

from data_utils import load
from scratch.bottlenecks.bottleneck import Bottleneck
from scratch.models.assemble import SHARED, build_autoencoder, check_autoencoder
from scratch.options.errors import InputError
from scratch.options.option import nearest
from scratch.options.training import IMAGES


class System:
    """A kind of model: its options, how it is built, and the examples that it learns from.

    options      those of the model
    data_options those that choose the examples
    axes         how many axes an example has; None: any number
    recommended  {option of training: the default that this system recommends}
    made_up      (options, count, rng) -> so many examples of random content in the sizes that the options say, on which
                 times can be measured; None: examples are loaded for that too
    """

    known = {}  # noqa: RUF012  {name: System} of those that are not autoencoders

    name = None
    options = ()
    data_options = IMAGES
    axes = None
    recommended = {}  # noqa: RUF012
    made_up = None

    def __init_subclass__(cls, name=None, **keywords):
        super().__init_subclass__(**keywords)
        if name:
            cls.name = name
            System.known[name] = cls()

    def check(self, options, given):
        """Raise InputError if options exclude each other. `given` are those that were given; the rest are defaults."""

    def build(self, shape, options, *, dtype, rng):
        """The Model for examples of this shape, from a value for each option."""
        raise NotImplementedError

    def check_shape(self, shape):
        """Raises InputError where the examples of a model have another number of axes."""
        if self.axes not in (None, len(shape)):
            raise InputError(f"{self.name} takes examples with {self.axes} axes, got the shape {tuple(shape)}.")

    def load_data(self, options, download=False, runs=None):
        """The examples that the options choose: an object with `name`, with `train` and `held_out`, arrays of examples,
        with `factors` and `held_out_factors`, and with `describe()`.

        runs   {option: (finished run, the examples it was trained on)} of the `references`, where there are any
        """
        return load(options["data"], root=options["data_root"], download=download, limit=options["limit"],
                    image_size=options["image_size"], channels=options.get("image_channels"), seed=options["seed"],
                    drawn=options["drawn"], without=options["without"], skip_unreadable=options["skip_unreadable"])

    def references(self, options):
        """{option: folder} of the finished runs that these options refer to. A run's config keeps their fingerprints
        (runs/references.py)."""
        return {}


class AutoencoderSystem(System):
    """The autoencoder around a bottleneck. Its examples are images (H, W, C)."""

    axes = 3

    def __init__(self, name, bottleneck):
        self.name, self.bottleneck = name, bottleneck
        shared = tuple(option for option in SHARED if option.name not in bottleneck.ignored)
        self.options, self.recommended = (*bottleneck.all_options(), *shared), bottleneck.recommended

    def check_shape(self, shape):
        """Raises InputError where the shape is not that of an image."""
        if len(shape) != self.axes:
            raise InputError(f"expected the shape (H, W, C) of an image, such as (32, 32, 3), got {tuple(shape)}.",
                             "shape")

    def check(self, options, given):
        check_autoencoder(self.name, self.bottleneck, options, given)

    def build(self, shape, options, *, dtype, rng):
        return build_autoencoder(self.bottleneck, shape, options, dtype=dtype, rng=rng)


def systems():
    """{name: System} of all that have been defined."""
    found = {name: AutoencoderSystem(name, bottleneck) for name, bottleneck in Bottleneck.systems.items()}
    return {**found, **System.known}


def find_system(name):
    """The System of this name. Raises InputError, with the nearest name, if there is none."""
    known = systems()
    if not isinstance(name, str) or name not in known:
        raise InputError(f"unknown model {name!r}{nearest(name, known)}")
    return known[name]
