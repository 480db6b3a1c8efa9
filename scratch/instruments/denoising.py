"""The gain of an autoencoder in denoising: how much nearer to the clean image its output is than its input, in dB."""

import math

import numpy as np

from data_utils import batches
from scratch.losses import psnr
from scratch.models.corruption import CORRUPTIONS, read_corruption
from scratch.training.held_out import held_out_generators


def corrupted(trained, images, corruption=None):
    """Yields (images, corrupted images) of stored images as floats, batch by batch.

    The corruption is the one given, or the run's own. The noise is that of the held-out loss where the images are the
    held-out ones from the first on.
    """
    corruption, (_, rng) = corruption or trained.model.corruption, held_out_generators()
    for batch in batches(len(images), trained.options["batch_size"], 0, 0, shuffle=False):
        x = trained.prepared(images[batch])
        yield x, corruption.forward(x, corruption.draw_noise(len(x), rng))


def new_corruption(trained, text):
    """The corruption that a text such as "gaussian:0.3" names, for images of a run."""
    kind, amount = read_corruption(text)
    return CORRUPTIONS[kind](amount, trained.shape, dtype=trained.dtype)


def denoising(trained, images, corruption=None):
    """{"corrupted_psnr", "denoised_psnr", "denoising_gain"} of stored images, in dB.

    These are the PSNR of the corrupted images, the PSNR of the model's output for them, both against the clean images,
    and the difference. The corruption is the one given, or the run's own: a model that was trained without noise can be
    measured too. Where the corruption changed no image, the first is infinite and the gain is left out.

    The corrupted images are measured as the encoder sees them. Gaussian noise leads out of [0, 1]; where clipping alone
    would remove it, as on a black background, part of the gain is easy.
    """
    errors, count = np.zeros(2), 0
    for x, seen in corrupted(trained, images, corruption):
        denoised = trained.in_batches(trained.model.reconstruct, seen)  # trained.reconstruct refuses what leaves [0, 1]
        for which, other in enumerate((seen, denoised)):
            errors[which] += ((other - x).astype(np.float64) ** 2).sum()
        count += x.size
    before, after = (psnr(error / count) for error in errors)
    found = {"corrupted_psnr": before, "denoised_psnr": after}
    return {**found, "denoising_gain": after - before} if math.isfinite(before) else found
