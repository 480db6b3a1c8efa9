"""What every family of networks offers: a pair of an encoder and a decoder, for any bottleneck between them."""

from dataclasses import dataclass

from scratch.layers import Sigmoid
from scratch.module import Sequential
from scratch.options.errors import InputError


@dataclass
class Networks:
    """An encoder, a decoder that mirrors it, and what lies between them: a map of features (H, W, C).

    next_channels  the channels that one more halving would have, for a bottleneck that makes one
    """

    encoder: Sequential
    decoder: Sequential
    shape: tuple
    next_channels: int = 0


@dataclass(frozen=True)
class Task:
    """What networks are built for.

    image_shape      (H, W, C)
    outputs          channels of the output for each channel of an image
    is_image         True where the output is the image itself, in [0, 1]
    halvings_inside  how many of an image's halvings the bottleneck makes
    code_dim         the channels of the code vectors that the bottleneck can give the decoder; None: it gives features
    """

    image_shape: tuple
    outputs: int
    is_image: bool
    halvings_inside: int = 0
    code_dim: int | None = None


class Network:
    """A family of networks. A subclass is known by its name from the moment it is defined:

        class Convolutions(Network, name="convolution"):

    `build(task, options, dtype, rng)` gives Networks, and raises InputError for images that it cannot take.
    """

    families = {}  # noqa: RUF012  {name: class} of all families that have been defined
    options = ()  # those that count only with this family
    gives_grid = True  # False where the features are a vector, which counts as a map of a single pixel
    takes_codes = False  # True where the decoder takes the code vectors themselves, if the bottleneck has some
    only_one_output = False  # True where the output has no room for more than one number for each of the image's

    def __init_subclass__(cls, name=None, **keywords):
        super().__init_subclass__(**keywords)
        if name:
            cls.name = name
            Network.families[name] = cls


def halvings(height, width, at_most):
    """How often both sides of an image can be halved exactly, up to `at_most` times."""
    count = 0
    while count < at_most and height % 2 ** (count + 1) == 0 and width % 2 ** (count + 1) == 0:
        count += 1
    if count == 0:
        raise InputError(f"images of {height}×{width} cannot be halved: both sides have to be even. Choose another "
                         f"image size.")
    return count


def outer_channels(task, channels):
    """Those of `channels` that stay for the encoder and the decoder: one for each halving outside of the bottleneck.
    Raises InputError where none stays."""
    H, W, _ = task.image_shape
    inside, depth = task.halvings_inside, halvings(H, W, len(channels))
    if depth <= inside:
        raise InputError(f"the model halves an image at least {inside + 1} times, and images of {H}×{W} with "
                         f"{len(channels)} channel count(s) can be halved {depth} time(s). Choose another image size.")
    return channels[: depth - inside]


def last_channels(task, channels):
    """The channels of the last of all halvings, those inside of the bottleneck included."""
    H, W, _ = task.image_shape
    return channels[halvings(H, W, len(channels)) - 1]


def image_end(is_image):
    """What ends a decoder: a sigmoid where its output is the image."""
    return [Sigmoid()] if is_image else []
