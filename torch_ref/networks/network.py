"""What a network offers and what it gives."""

from collections.abc import Callable
from typing import NamedTuple

from torch import nn


class Ends(NamedTuple):
    """The two ends of a network. Between them stands a bottleneck for features of `feature_shape` (C, H, W).

    next_channels    the width that a further halving by the bottleneck would have
    takes_codes      True where the decoder takes the code vectors as they are
    """

    encoder: nn.Module
    decoder: nn.Module
    feature_shape: tuple
    next_channels: int | None = None
    takes_codes: bool = False


class Network(NamedTuple):
    """build      (image_shape, reconstruction, bottleneck, options, dtype) -> Ends; `reconstruction` is a class of
               torch_ref.losses and `bottleneck` one of torch_ref.bottlenecks; both say what they need
    options    {name: Option} that it reads
    has_grid   True where its features lie on a grid of more than one place
    """

    build: Callable
    options: dict
    has_grid: bool = True


NETWORKS = {}  # {name: Network}


def network(name, options, has_grid=True):
    """A decorator that makes a function the network of this name."""

    def register(build):
        NETWORKS[name] = Network(build, options, has_grid)
        return build

    return register
