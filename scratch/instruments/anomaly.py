"""Anomaly detection: does a model give images of another kind a higher score than held-out images of its own?

    reconstruction_error    ‖x − y‖², of the deterministic reconstruction
    negative_elbo           rate + distortion, in nats (elbo.py)
    rate                    KL(q(z | x) ‖ p(z)) alone, in nats
    code_length             −Σ log₂ p of its codes by their frequency on training images, in bits (bits.py)
    pixel_variance          the variance of the image's own numbers, without a model: the score to beat

AUROC, the area under the ROC curve, measures how well a score tells the two apart. It is the probability that of one
image from inside and one from outside the latter has the higher score:

    AUROC = P(outside > inside) + ½ P(outside = inside) = (ranks − N (N + 1)/2) / (N M)

`ranks` is the sum of the ranks of the N outside images among all N + M; equal scores share their mean rank. This is
Mann & Whitney's U over N M (Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747). 0.5 is chance. Below 0.5 the
outside images score as more typical than the model's own, which happens with likelihoods (Nalisnick et al. 2019,
arXiv:1810.09136).
"""

import numpy as np

from data_utils import to_float
from scratch.instruments.bits import code_bits
from scratch.instruments.elbo import rate_distortion
from scratch.instruments.library import scipy_module
from scratch.instruments.posteriors import posterior_kind


def auroc(inside, outside):
    """P(outside > inside) + ½ P(outside = inside) of scores inside (M,) and outside (N,).

    Raises InputError without SciPy.
    """
    ranks = scipy_module("stats", "AUROC").rankdata(np.concatenate([inside, outside]))
    N, M = len(outside), len(inside)
    return float((ranks[M:].sum() - N * (N + 1) / 2) / (N * M))


def squared_errors(trained, images):
    """‖x − y‖² of each stored image, (N,)."""

    def of_batch(x):
        error = trained.model.reconstruct(x) - x
        return (error * error).reshape(len(x), -1).sum(axis=1)

    return trained.in_batches(of_batch, images)


def pixel_variances(images):
    """The variance of the numbers of each stored image, as floats in [0, 1], (N,)."""
    return to_float(images, np.float64).reshape(len(images), -1).var(axis=1)


def scores(trained, images, frequencies=None):
    """{score: (N,)} of stored images: every score that the model has. `frequencies` are those of code_frequencies."""
    found = {"reconstruction_error": squared_errors(trained, images)}
    kind = posterior_kind(trained.model)
    if kind is not None:
        terms = rate_distortion(trained, images)
        found["negative_elbo"] = -terms.elbo
        if kind.varies:
            found["rate"] = terms.rate
    if frequencies:
        indices = trained.model.bottleneck.by_codebook(trained.encode(images))
        lengths = [bits[indices[name]].reshape(len(images), -1).sum(axis=1) for name, bits in frequencies.items()]
        found["code_length"] = sum(lengths)
    return found | {"pixel_variance": pixel_variances(images)}


def code_frequencies(trained, images):
    """{codebook: bits of each code (K,)} by the use of the codes on training images; None of a model without codes."""
    if not trained.codes:
        return None
    indices = trained.model.bottleneck.by_codebook(trained.encode(images))
    return {name: code_bits(grid, trained.codes) for name, grid in indices.items()}


def anomaly(trained, data, outside):
    """({score: (of the held-out images of `data`, of those of `outside`)}, {score: AUROC}).

    Raises InputError for a model without images, and without SciPy.
    """
    trained.needs_images("anomaly")
    frequencies = code_frequencies(trained, data.train)
    inner, outer = (scores(trained, images, frequencies) for images in (data.held_out, outside.held_out))
    pairs = {name: (inner[name], outer[name]) for name in inner}
    return pairs, {name: auroc(*pair) for name, pair in pairs.items()}
