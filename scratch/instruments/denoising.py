"""The gain of an autoencoder in denoising: how much nearer to the clean image its output is than its input, in dB."""

import math

import numpy as np

from scratch.losses import psnr
from scratch.models.corruption import CORRUPTIONS, read_corruption
from scratch.training.held_out import held_out_generators


def of_corrupted(trained, images, read, corruption=None):
    """read(images, corrupted images), an array (N, ...) or a list of them, of stored images, on the host.

    The corruption is the one given, or the run's own. The noise is that of the held-out loss where the images are the
    held-out ones from the first on.
    """
    corruption, (_, rng) = corruption or trained.model.corruption, held_out_generators()

    def of_batch(x, noise):
        return read(x, corruption.forward(x, noise))

    return trained.in_batches(of_batch, images, lambda count: corruption.draw_noise(count, rng))


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
    def squared_errors(x, seen):
        return [((other - x) ** 2).reshape(len(x), -1).sum(axis=1, dtype=np.float64)
                for other in (seen, trained.model.reconstruct(seen))]

    numbers = math.prod(images.shape)
    errors = of_corrupted(trained, images, squared_errors, corruption)
    before, after = (psnr(part.sum() / numbers) for part in errors)
    found = {"corrupted_psnr": before, "denoised_psnr": after}
    return {**found, "denoising_gain": after - before} if math.isfinite(before) else found
