"""The base class of the families of networks: a pair of an encoder and a decoder, for any bottleneck between them."""

from dataclasses import dataclass

from scratch.layers import Sigmoid
from scratch.module import Sequential
from scratch.options.errors import InputError


@dataclass
class Networks:
    """An encoder and a decoder that mirrors it.

    shape          (H, W, C) of the map of features between them
    next_channels  the number of channels that one more halving would have, for a bottleneck that makes one
    """

    encoder: Sequential
    decoder: Sequential
    shape: tuple
    next_channels: int = 0


@dataclass(frozen=True)
class Task:
    """The images and the output that networks are built for.

    image_shape      (H, W, C)
    outputs          channels of the output for each channel of an image
    is_image         True if the output is the image itself, in [0, 1]
    halvings_inside  how many of an image's halvings the bottleneck makes
    code_dim         the channels of the code vectors that the decoder receives; None if it receives features
    """

    image_shape: tuple
    outputs: int
    is_image: bool
    halvings_inside: int = 0
    code_dim: int | None = None


class Network:
    """A family of networks. A subclass that is defined with a name is a choice of the option network:

        class Convolutions(Network, name="convolution"):

    `build(task, options, dtype, rng)` returns Networks, and raises InputError for images that they cannot take.
    """

    families = {}  # noqa: RUF012  {name: class} of all families that have been defined
    options = ()  # those that count only with this family
    gives_grid = True  # False if the features are a vector, in the form of a map with a single pixel
    takes_codes = False  # True if the decoder takes code vectors directly when the bottleneck has some
    only_one_output = False  # True if the output has exactly one number for each number of the image

    def __init_subclass__(cls, name=None, **keywords):
        super().__init_subclass__(**keywords)
        if name:
            cls.name = name
            Network.families[name] = cls


def halvings(height, width, at_most):
    """How often both sides of an image can be halved exactly, up to `at_most` times. Raises InputError for 0 times."""
    count = 0
    while count < at_most and height % 2 ** (count + 1) == 0 and width % 2 ** (count + 1) == 0:
        count += 1
    if count == 0:
        raise InputError(f"images of {height}×{width} cannot be halved: both sides have to be even. Choose another "
                         f"image size.")
    return count


def outer_channels(task, channels):
    """The entries of `channels` for the encoder and the decoder: one for each halving outside of the bottleneck.

    Raises InputError if there is no such halving.
    """
    H, W, _ = task.image_shape
    inside, depth = task.halvings_inside, halvings(H, W, len(channels))
    if depth <= inside:
        raise InputError(f"the model halves an image at least {inside + 1} times, but images of {H}×{W} with "
                         f"{len(channels)} channel count(s) can be halved {depth} time(s). Choose another image size.")
    return channels[: depth - inside]


def last_channels(task, channels):
    """The number of channels after the last halving, which may be inside of the bottleneck."""
    H, W, _ = task.image_shape
    return channels[halvings(H, W, len(channels)) - 1]


def image_end(is_image):
    """The layers that end a decoder: a sigmoid if its output is the image."""
    return [Sigmoid()] if is_image else []
