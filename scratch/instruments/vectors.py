"""Images as vectors, for a probe or a search for neighbours.

    an AE's z, a VAE's mean μ          (N, Z)
    the code vectors of a grid         (N, I·J·D), position after position; of several levels one after the other
    the pixels                         (N, H·W·C) in [0, 1]
    PCA's first Z components           (N, Z), of the training images' pixels

The code has to beat the last two: the pixels hold all information, and PCA has as few numbers as the code. A grid gives
its code vectors, since the index of a code has no meaning, in the order of their positions, as the decoder reads them.
"""

from dataclasses import dataclass

import numpy as np

from data_utils import printable
from scratch.instruments.pca import principal_components, rows
from scratch.options.errors import InputError

TRAINING = 10_000  # probes and searches receive the first so many training images


@dataclass(frozen=True)
class Vectors:
    """Vectors of training images (N, D) and of held-out images (M, D), float64 on the host; `label` says which."""

    label: str
    train: np.ndarray
    held_out: np.ndarray

    @property
    def numbers(self):
        """D."""
        return self.train.shape[1]


def of_both(label, function, data):
    """Vectors of function(stored images), an array of any shape whose first axis counts the images."""
    both = (function(images).reshape(len(images), -1) for images in (data.train[:TRAINING], data.held_out))
    return Vectors(label, *(vectors.astype(np.float64) for vectors in both))


def of_latents(trained, data, label="latents"):
    """The Vectors of a run's latents. Raises InputError for a model without images."""
    trained.needs_images("a probe")

    def of_batch(x):
        return latent_vectors(trained.model, x, trained.encode_batch)

    return of_both(label, lambda images: trained.in_batches(of_batch, images), data)


def latent_vectors(model, x, encode=None):
    """The latents of images x as vectors (N, D), on the device of x; `encode` is model.encode or does the same."""
    with model.evaluating():
        return model.bottleneck.vectors((encode or model.encode)(x))


def of_pixels(data):
    """The Vectors of pixels: each image as one row."""
    return of_both("pixels", lambda images: np.concatenate(list(rows(images))), data)


def of_components(data, numbers):
    """The Vectors of so many principal components of the training images; None where an image has no more numbers."""
    if numbers >= data.train[0].size:
        return None
    pca = principal_components(data.train[:TRAINING])

    def projected(images):
        return np.concatenate([(block - pca.mean) @ pca.components[:numbers].T for block in rows(images)])

    return of_both("PCA", projected, data)


def labels(data):
    """{factor: (labels of the training images that Vectors have, labels of the held-out images)}.

    A factor counts where it is a class and the training images have two or more. Raises InputError where none does.
    """
    found = {name: (values[:TRAINING], data.held_out_factors[name]) for name, values in data.factors.items()
             if np.issubdtype(values.dtype, np.integer) and len(np.unique(values[:TRAINING])) > 1}
    if not found:
        raise InputError(f"the images of {printable(data.name)} have no labels to tell apart: choose other images, or "
                         f"more.")
    return found
