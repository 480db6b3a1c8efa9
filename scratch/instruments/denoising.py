"""How much of the noise in images an autoencoder takes away, in dB."""

import numpy as np

from data_utils import batches
from scratch.losses import psnr
from scratch.models.corruption import CORRUPTIONS, read_corruption
from scratch.training.held_out import held_out_generators


def corrupted(trained, images, corruption=None):
    """(images, what the encoder sees of them) as floats, batch by batch. Held-out images, given from the first on, are
    corrupted as the held-out loss corrupts them, or by another corruption than the run's own."""
    corruption, (_, rng) = corruption or trained.model.corruption, held_out_generators()
    for batch in batches(len(images), trained.options["batch_size"], 0, 0, shuffle=False):
        x = trained.prepared(images[batch])
        yield x, corruption.forward(x, corruption.draw_noise(len(x), rng))


def new_corruption(trained, text):
    """The corruption that a text such as "gaussian:0.3" stands for, for a run's images."""
    kind, amount = read_corruption(text)
    return CORRUPTIONS[kind](amount, trained.shape, dtype=trained.dtype)


def denoising(trained, images, corruption=None):
    """PSNR in dB of corrupted images against the clean ones, of what the model makes of them, and the difference.

    By the run's own corruption or, of any run, by the one given: a model that was never shown noise is measured too.

    Of what the encoder sees, as it is: Gaussian noise leads out of [0, 1], and where it would only have to be clipped
    (a black background) part of the gain is easily had.
    """
    errors, count = np.zeros(2), 0
    for x, seen in corrupted(trained, images, corruption):
        denoised = trained.in_batches(trained.model.reconstruct, seen)  # noise may lead out of [0, 1]
        for which, other in enumerate((seen, denoised)):
            errors[which] += ((other - x) ** 2).sum(dtype=np.float64)
        count += x.size
    before, after = (psnr(error / count) for error in errors)
    return {"corrupted_psnr": before, "denoised_psnr": after, "denoising_gain": after - before}
