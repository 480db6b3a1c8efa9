"""Images as vectors: what a probe or a search for neighbours is given of them.

    an AE's z, a VAE's mean μ          (N, Z)
    the code vectors of a grid         (N, h·w·D), position after position; of several levels one after the other
    the pixels                         (N, H·W·C) in [0, 1]
    PCA's first Z components of them   (N, Z), of the training images' principal components

The last two are what the code has to beat: pixels hold all there is, PCA as few numbers as the code. Code vectors and
not indices, since the number of a code means nothing; in their places, since the decoder reads them there.
"""

from dataclasses import dataclass

import numpy as np

from scratch.instruments.pca import principal_components, rows
from scratch.options.errors import InputError

TRAINING = 10_000  # training images, the first, that probes and searches are given


@dataclass(frozen=True)
class Vectors:
    """Vectors of training images (N, D) and of held-out images (M, D), float64 on the host, and what they are."""

    label: str
    train: np.ndarray
    held_out: np.ndarray

    @property
    def numbers(self):
        """D."""
        return self.train.shape[1]


def of_both(label, function, data):
    """Vectors of function(images), which are rows of any shape."""
    both = (function(images).reshape(len(images), -1) for images in (data.train[:TRAINING], data.held_out))
    return Vectors(label, *(vectors.astype(np.float64) for vectors in both))


def of_latents(trained, data, label="latents"):
    """The Vectors of a run."""
    trained.needs_images("a probe")
    return of_both(label, lambda images: trained.in_batches(lambda x: latent_vectors(trained.model, x), images), data)


def latent_vectors(model, x):
    """The latents of images x as vectors (N, D), on the device of x."""
    with model.evaluating():
        return model.bottleneck.vectors(model.encode(x))


def of_pixels(data):
    """The images themselves, their pixels in one row."""
    return of_both("pixels", lambda images: np.concatenate(list(rows(images))), data)


def of_components(data, numbers):
    """Of as many principal components of the training images; None where there are no more pixels than that."""
    if numbers >= data.train[0].size:
        return None
    pca = principal_components(data.train[:TRAINING])

    def projected(images):
        return np.concatenate([(block - pca.mean) @ pca.components[:numbers].T for block in rows(images)])

    return of_both("PCA", projected, data)


def labels(data):
    """{factor: (of the training images that Vectors have, of the held-out images)} of all factors that are classes.

    Raises InputError where there is none.
    """
    found = {name: (values[:TRAINING], data.held_out_factors[name]) for name, values in data.factors.items()
             if np.issubdtype(values.dtype, np.integer) and len(np.unique(values)) > 1}
    if not found:
        raise InputError(f"the images of {data.name} have no labels to tell apart: choose other images.")
    return found
