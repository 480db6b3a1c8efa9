"""Tiny models of every kind that threads and processes train together, and their examples.

Each takes its options beside TINY's. Some of them take sums over the batch: the cures of codebooks, rates, batch norm.
"""

import numpy as np

from data_utils import load, to_float
from tests.support.cures import CURES
from tests.support.models import build
from tests.support.networks import NETWORKS, TINY
from tests.support.rates import RATES

MODELS = ("ae", "vae", "vqvae", "vqvae2", "dvae")
COUPLED = {
    **{f"vqvae, {name}": ("vqvae", cure) for name, cure in CURES.items()},
    "vqvae, two groups": ("vqvae", CURES["kmeans, ema, restart"] | {"code_groups": 2}),
    "vqvae2, all cures": ("vqvae2", CURES["all"]),
    **{f"vae, {name}": ("vae", rate) for name, rate in RATES.items()},
    # in the first batch the KL of one half lies above these, that of the other below
    "vae, free bits between": ("vae", {"free_bits": 0.0051}),
    "vae, capacity between": ("vae", {"capacity": 0.0233}),
    **{f"{model}, batch norm": (model, NETWORKS["batch norm"]) for model in MODELS},
    "ae, residual, batch norm": ("ae", NETWORKS["residual, batch norm"]),
    "vqvae, batch norm and all cures": ("vqvae", NETWORKS["batch norm"] | CURES["all"]),
}
SYSTEMS = {
    **{model: (model, {}) for model in MODELS},
    # σ has gradients from every share
    "vae, gaussian": ("vae", {"likelihood": "gaussian"}), "vqvae, gaussian": ("vqvae", {"likelihood": "gaussian"}),
    "vae, corrupted": ("vae", {"corruption": "gaussian:0.1"}),
    # their dense layers have more weights than a share has numbers
    "ae, wide": ("ae", {"latent_dim": 20}), "vae, wide and clipped": ("vae", {"latent_dim": 20}),
    "prior": ("prior", dict(grids="2x3", codes=5, width=8, heads=2, blocks=2, labels=0)),  # with dropout
    **COUPLED,
}
# A gradient of theirs is shortened at every step.
CLIPPED = {"vae, gaussian": 0.1, "vae, wide and clipped": 0.1, "prior": 0.1}
COUNTS = (8, 7, 2, 1)  # examples of successive batches: shares differ in size, and some are empty


def model_of(name, dtype=np.float64):
    """A new model, whose weights follow from its options."""
    model, changes = SYSTEMS[name]
    options = {"likelihood": "squared_error", **changes}
    shape = (7,) if model == "prior" else (16, 16, 3)
    return build(model, shape, options if model == "prior" else TINY | options, dtype=dtype,
                 rng=np.random.default_rng(0))


def examples_of(name, count, dtype=np.float64):
    """The first examples: images, or rows of codes after a start token."""
    if SYSTEMS[name][0] == "prior":
        codes = np.random.default_rng(count).integers(0, 5, (count, 6))
        return np.concatenate([np.zeros((count, 1), np.int64), codes], axis=1)
    return to_float(load("shapes", limit=count, image_size=16).train, dtype)
