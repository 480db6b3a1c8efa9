"""How much of the noise a denoising autoencoder takes away, in dB."""

import numpy as np

from data_utils import batches
from scratch.bits import psnr
from scratch.training import held_out_generators


def corrupted(trained, images):
    """(images, what the encoder sees of them) as floats, batch by batch. Held-out images, given from the first on, are
    corrupted as the held-out loss corrupts them."""
    corruption, (_, rng) = trained.model.corruption, held_out_generators()
    for batch in batches(len(images), trained.options["batch_size"], 0, 0, shuffle=False):
        x = trained.prepared(images[batch])
        yield x, corruption.forward(x, corruption.draw_noise(len(x), rng))


def denoising(trained, images):
    """PSNR in dB of corrupted images against the clean ones, of what the model makes of them, and the difference.

    Of what the encoder sees, as it is: Gaussian noise leads out of [0, 1], and where it would only have to be clipped
    (a black background) part of the gain is easily had.
    """
    errors, count = np.zeros(2), 0
    for x, seen in corrupted(trained, images):
        for which, other in enumerate((seen, trained.reconstruct(seen))):
            errors[which] += ((other - x) ** 2).sum(dtype=np.float64)
        count += x.size
    before, after = (psnr(error / count) for error in errors)
    return {"corrupted_psnr": before, "denoised_psnr": after, "denoising_gain": after - before}
