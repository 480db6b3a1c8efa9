"""Models that train in a second: 16×16 shapes, two halvings, and the simplest possible loop."""

import numpy as np

from data_utils import shapes, to_float
from data_utils.core import batches
from scratch.losses import LIKELIHOODS
from scratch.optim import Adam
from tests.support.models import build

OPTIONS = dict(
    channels=(16, 32), latent_dim=32, beta=1.0, codes=64, code_dim=8, codebook_init="uniform", commitment=0.25,
    temperature=1.0, hard=False, kl_weight=0.1, likelihood="squared_error",
)
RESIDUAL = dict(
    network="residual", hidden=16, residual_blocks=2, residual_channels=8, halvings=2, data_variance=0.06)
NETWORKS = {  # beside OPTIONS' plain convolutions and RESIDUAL; an mlp is for the ae and the vae
    "pooling": dict(network="pooling"),
    "group norm": dict(norm="group"),
    "batch norm": dict(norm="batch"),
    "residual, batch norm": RESIDUAL | dict(norm="batch"),
    "transformer": dict(network="transformer", patch=4, width=12, heads=3, blocks=2),
    "mlp": dict(network="mlp", widths=(40, 30)),
}
MODELS = ("ae", "vae", "vqvae", "vqvae2", "dvae")


def with_likelihoods(*models):
    """(model, likelihood) of all models and likelihoods. Only the vae has the categorical one, whose 256 outputs for
    each number take their time, and which no model treats in a way of its own."""
    return [(model, likelihood) for model in models for likelihood in LIKELIHOODS
            if likelihood != "categorical" or model == "vae"]


def images(count, stream=0):
    """(count, 16, 16, 3) float32; stream 0 to train on, stream 1 held out."""
    return to_float(shapes(count, size=16, seed=0, stream=stream)[0], np.float32)


def new_model(name, seed=0, dtype=np.float32, **options):
    return build(name, (16, 16, 3), {**OPTIONS, **options}, dtype=dtype, rng=np.random.default_rng(seed))


def train(model, x, epochs, batch_size=32, lr=3e-3):
    optimizer = Adam(model.named_parameters(), lr)
    for epoch in range(epochs):
        for chosen in batches(len(x), batch_size, seed=0, epoch=epoch):
            model.zero_grad()
            model.loss(x[chosen])
            model.backward()
            optimizer.step()
    return model


def reconstruction_error(model, x):
    """Squared error of the deterministic reconstruction, summed over an image, averaged over images."""
    return float(((model.reconstruct(x) - x) ** 2).sum() / len(x))
