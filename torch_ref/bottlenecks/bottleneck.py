"""What every bottleneck offers, and the systems by name."""

import inspect

import torch
from torch import nn

from torch_ref.options import Declared


class Bottleneck(Declared, nn.Module):
    """forward(h, noise=None) -> (features for the decoder, {name: loss term}); encode and decode are its two halves.

    `class GaussianBottleneck(Bottleneck, system="vae")` makes a system: `build("vae", ...)` finds it in
    `Bottleneck.systems`. It declares its options; `from_options` and `weights` say what they mean.
    """

    systems = {}  # {name: class}
    halvings_inside = 0  # those of an image's halvings that it makes itself
    needs_grid = False  # True where each place of a grid of features gets a code
    has_codes = False  # True where a latent is a grid of code indices
    own_weight_init = False  # True where its first weights are its own affair
    indices = None  # the codes chosen by the last forward, where a bottleneck chooses codes
    measured = {}  # what else the last forward reports: {name: tensor of no dimension}
    prepared_from = 0  # how many of the first batches `prepare` wants to see

    def __init_subclass__(cls, system=None, **more):
        super().__init_subclass__(**more)
        if system is not None:
            Bottleneck.systems[system] = cls

    @classmethod
    def from_options(cls, options, ends, dtype):
        """The bottleneck between the two ends of a network (torch_ref.networks.network.Ends); every option has a value.

        By default the constructor's arguments have the names of their options.
        """
        arguments = {name: options[name] for name in inspect.signature(cls).parameters if name in options}
        return cls(ends.feature_shape, **arguments, dtype=dtype)

    @classmethod
    def code_channels(cls, options):
        """The channels of the codes that a decoder can take as they are, None where there are none."""
        return None

    def weights(self, options, image_shape):
        """{term: its weight in the loss, a number or a schedule}."""
        return {"reconstruction": 1.0}

    def by_level(self, codes):
        """{level: grid} of a latent of codes, or of `indices`; a grid that is the only one has the name ""."""
        return {"": codes}

    def by_codebook(self, codes):
        """{codebook: grid (N, H, W)}: as `by_level`, and each group of a grid (N, H, W, groups) by itself."""
        found = {}
        for level, grid in self.by_level(codes).items():
            groups = [("", grid)] if grid.ndim == 3 else [
                (f"group_{number}", part) for number, part in enumerate(grid.unbind(-1), start=1)]
            found.update(("_".join(filter(None, (level, name))), part) for name, part in groups)
        return found

    def draw_noise(self, count, rng, dtype):
        """The noise that forward takes for `count` images, from a NumPy generator; None where nothing is random.

        Where it is a map of features it has NumPy's layout, (N, H, W, C).
        """
        return None

    def prepare(self, features, rng):
        """Make ready for training from the features of the first batches; rng is a NumPy generator."""

    def draw_choices(self, rng):
        """The random choices that `update` takes, from a NumPy generator; None where it makes none."""
        return None

    def update(self, choices=None):
        """Change what no gradient changes, once the optimiser has made its step from the last forward."""

    def at_step(self, step):
        """Give all that follows a schedule its value for one step of training."""

    def mix(self, a, b, t):
        """A latent on the way from a (t = 0) to b (t = 1)."""
        return torch.lerp(a, b, t)
