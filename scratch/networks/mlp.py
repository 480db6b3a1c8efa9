"""Fully connected networks."""

from itertools import pairwise

from scratch.layers import Flatten, Linear, ReLU, Unflatten
from scratch.module import Sequential
from scratch.networks.network import Network, Networks, image_end
from scratch.options.option import Option, Widths


class FullyConnected(Network, name="mlp"):
    """A linear layer and a ReLU for each of the hidden `widths`.

    The decoder mirrors the encoder. Its first linear layer is the bottleneck's `expand`, so the decoder itself begins
    with a ReLU. The features are a vector, in the form of a map with a single pixel. With a width of 400 and a
    bottleneck of 20 numbers this is the usual VAE of MNIST: 784–400–20–400–784. (Kingma & Welling 2014,
    arXiv:1312.6114, appendix C)
    """

    options = (Option("widths", Widths(), [400], "widths of the hidden layers", source="arXiv:1312.6114"),)
    gives_grid = False

    @staticmethod
    def build(task, options, dtype, rng):
        (H, W, C), widths, outputs = task.image_shape, options["widths"], task.outputs
        last = widths[-1]
        down, up = [Flatten()], [ReLU(), Flatten()]
        for before, after in pairwise((H * W * C, *widths)):
            down += [Linear(before, after, dtype=dtype, rng=rng), ReLU()]
        for before, after in pairwise(widths[::-1]):
            up += [Linear(before, after, dtype=dtype, rng=rng), ReLU()]
        down.append(Unflatten(1, (last, 1, 1)))
        up += [Linear(widths[0], H * W * outputs * C, dtype=dtype, rng=rng), Unflatten(1, (outputs * C, H, W))]
        return Networks(Sequential(*down), Sequential(*up, *image_end(task.is_image)), (1, 1, last))
