"""The metrics of held-out examples."""

import numpy as np

from data_utils import batches
from scratch.arrays import generator, unwarned
from scratch.losses import psnr
from scratch.training.progress import Totals

HELD_OUT_SEED = 20140416  # the noise of held-out example i is the i-th draw from this seed, for any batch size


def held_out_generators():
    """(generator of the bottleneck's noise, generator of the corruption's), from which all examples draw in turn."""
    return generator(np, HELD_OUT_SEED), generator(np, HELD_OUT_SEED, 1)


@unwarned()  # Totals.read raises Diverged instead
def held_out_metrics(trainer, examples, batch_size, dtype, when=""):
    """{held_out_…: value} over stored examples: every loss term, the use of codes if there are any, the PSNR of images.

    The loss draws z, and a corruption if the model has one, with noise fixed by the number of the example. The PSNR in
    dB is −10 log₁₀ of the mean squared error per element over the whole set. It compares the images, which are not
    corrupted, with their deterministic reconstructions.
    """
    totals, squared_error, generators = Totals(), 0.0, held_out_generators()
    for batch in batches(len(examples), batch_size, 0, 0, shuffle=False):
        x = trainer.inputs(examples[batch], dtype)
        terms, counts, errors = trainer.evaluate(x, trainer.draw_noise(len(x), *generators))
        totals.add(f"on the held-out examples {when}".rstrip(), len(x), terms, counts)
        totals.read(trainer)
        if errors is not None:
            squared_error += float(trainer.read_array(errors).sum(dtype=np.float64))
    means = totals.means()
    if errors is not None:
        means["psnr"] = psnr(squared_error / examples.size)
    return {f"held_out_{name}": value for name, value in means.items()}
