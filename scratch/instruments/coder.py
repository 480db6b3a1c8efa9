"""Images as files of the length that a model promises: the codes by a learned prior, then the pixels by the decoder.

A model gives each symbol a probability p. An arithmetic coder writes a row of symbols in −Σ log₂ p bits, and a few more
for its end (Rissanen 1976; a range coder: Martin 1979; the library: constriction). Sender and receiver compute every p
themselves, in the same order, from what both know at that point:

    code t      by the prior, from the codes before it
    pixels      by the likelihood of the decoder's output, from all codes

Both have to come to the same numbers, bit for bit. So both write token after token, with the keys and values kept: the
sender does not use the faster pass over a whole row, because it rounds otherwise.
"""

import math

import numpy as np

from scratch.arrays import array_module, unwarned
from scratch.layers.softmax import softmax
from scratch.options.errors import InputError

LEVELS = 256  # grey levels of a pixel


def range_coder():
    """The library's module. Raises InputError, which says how to install it, where it is missing."""
    try:
        import constriction
    except ImportError as error:
        raise InputError(f"an arithmetic coder needs the library constriction ({error}): pip install constriction"
                         ) from None
    return constriction.stream


def grey_level_probabilities(reconstruction, output):
    """(N, H, W, C, 256): the probability of each 8-bit value at each pixel and channel, for a decoder's output."""
    xp = array_module(output)
    shape = (*output.shape[:-1], output.shape[-1] // reconstruction.outputs)
    nats = [reconstruction.elements(output, xp.full(shape, v / (LEVELS - 1), output.dtype)) for v in range(LEVELS)]
    return xp.exp(-xp.stack(nats, axis=-1))


class Channel:
    """One end of the coder: writes symbols, or reads them. `bits` sums −log₂ p over them.

    words   what was written, for the end that reads; None for the end that writes
    """

    def __init__(self, words=None):
        stream = range_coder()
        self.family = stream.model.Categorical(perfect=False)
        self.coder = stream.queue.RangeEncoder() if words is None else stream.queue.RangeDecoder(words)
        self.reads, self.bits = words is not None, 0.0

    def symbols(self, p, known=None):
        """Symbols (M,) of probabilities p (M, K): those read, or `known`, which are written."""
        p = np.ascontiguousarray(p, np.float32)
        if self.reads:
            found = self.coder.decode(self.family, p)
        else:
            found = np.ascontiguousarray(known, np.int32)
            self.coder.encode(found, self.family, p)
        with np.errstate(divide="ignore"):
            self.bits -= np.log2(p[np.arange(len(p)), found].astype(np.float64)).sum()
        return found


def pass_through(channel, trained, prior, row, image=None):
    """Send an image through a channel, or receive one: (H, W, C) uint8.

    trained   a run with a codebook, whose likelihood gives probabilities of 8-bit values
    prior     a run of a prior over its codes
    row       (1 + S + T,) as the prior's examples: label and caption, which both ends know, and at the end that sends
              the codes of the image
    image     (H, W, C) uint8, at the end that sends

    Raises InputError where a model's numbers overflow.
    """
    model, known_places = prior.model, prior.model.text_length
    xp = array_module(model.start.weight.value)

    def choose(logits, place):
        code = channel.symbols(prior.finite(softmax(logits)), None if channel.reads else row[1 + place : 2 + place])
        return xp.asarray(code.astype(np.int64))

    known = xp.asarray(row[None, 1 : 1 + known_places])
    with unwarned():  # `finite` says it once
        tokens = model.write(xp.asarray(row[:1]), choose, known)
    codes = model.as_grids(tokens[:, known_places:])
    autoencoder = trained.model
    with autoencoder.evaluating(), unwarned():
        output = autoencoder.decoder.forward(autoencoder.bottleneck.decode(codes))
        p = trained.finite(grey_level_probabilities(autoencoder.reconstruction, output))
    pixels = channel.symbols(p.reshape(-1, LEVELS), None if image is None else image.reshape(-1))
    return pixels.astype(np.uint8).reshape(trained.shape)


def coded(trained, prior, rows, images):
    """{"bits": length of the file, "bound": −Σ log₂ p}, averages over images (N, H, W, C) that were written and read
    again. Raises InputError where an image did not come back bit for bit.

    rows   (N, 1 + S + T), those of the prior's examples that belong to the images
    """
    lengths, bounds = [], []
    for row, image in zip(rows, images, strict=True):
        sender = Channel()
        pass_through(sender, trained, prior, row, image)
        words = sender.coder.get_compressed()
        received = pass_through(Channel(words), trained, prior, row[: 1 + prior.model.text_length])
        if not np.array_equal(received, image):
            raise InputError("an image did not come back as it was sent: sender and receiver computed other numbers.")
        lengths.append(32 * len(words))
        bounds.append(sender.bits)
    return {"images": len(lengths), "bits": float(np.mean(lengths)), "bound": float(np.mean(bounds))}


def pixel_bits(trained, images, latents):
    """(N,): −log₂ p(x | codes), what the 8-bit pixels of images cost once their codes are known.

    latents   those of the images, as `encode` gives them
    """
    def of_batch(parts):
        x, *codes = parts
        with trained.model.evaluating():
            features = trained.model.bottleneck.decode(codes if len(codes) > 1 else codes[0])
            output = trained.model.decoder.forward(features)
            return trained.model.reconstruction.negative_log_likelihood(output, x)

    grids = latents if isinstance(latents, list) else [latents]
    return trained.in_batches(of_batch, [images, *grids]).astype(np.float64) / math.log(2)
