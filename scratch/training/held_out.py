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


def held_out_metrics(trainer, examples, batch_size, dtype, when=""):
    """{held_out_…: value} over stored examples: every loss term, the use of codes if there are any, the PSNR of images.

    The loss draws z, and a corruption if the model has one, with noise fixed by the number of the example. The PSNR in
    dB is −10 log₁₀ of the mean squared error per element over the whole set. It compares the images, which are not
    corrupted, with their deterministic reconstructions.
    """
    return held_out(trainer, examples, batch_size, dtype, when)[0]


@unwarned()  # Totals.read raises Diverged instead
def held_out(trainer, examples, batch_size, dtype, when="", *measure):
    """(held_out_metrics, measured): beside the metrics, of images, the arrays (N, …) that a `measure` finds in the same
    passes (see Trainer.evaluate). The first of them holds the squared errors."""
    totals, generators, batches_measured = Totals(), held_out_generators(), []
    for batch in batches(len(examples), batch_size, 0, 0, shuffle=False):
        x = trainer.inputs(examples[batch], dtype)
        terms, counts, measured = trainer.evaluate(x, trainer.draw_noise(len(x), *generators), *measure)
        totals.add(f"on the held-out examples {when}".rstrip(), len(x), terms, counts)
        totals.read(trainer)
        if measured is not None:
            batches_measured.append([trainer.read_array(array) for array in measured])
    means, measured = totals.means(), [np.concatenate(parts) for parts in zip(*batches_measured, strict=True)]
    if measured:
        means["psnr"] = psnr(measured[0].sum(dtype=np.float64) / examples.size)
    return {f"held_out_{name}": value for name, value in means.items()}, measured
