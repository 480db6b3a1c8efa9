"""Principal component analysis, the best linear code of its size, beside an autoencoder with a code of that size.

The components are the eigenvectors of the training images' covariance, by falling eigenvalue λ₁ ≥ λ₂ ≥ …, the variance
along each. With the mean μ of the training images, PCA with Z components keeps the projection of x − μ onto the first Z
of them. No linear map through Z numbers has a smaller squared error over the training images (Eckart & Young 1936). The
share of variance that a reconstruction y explains is

    1 − Σ ‖x − y‖² / Σ ‖x − μ‖²

The sums run over held-out images, which neither PCA nor the model has seen.

A linear VAE codes the same components, in any order, each with either sign, and mixed where variances are equal. The
variance along each says how many nats it gets (`water_filling`).
"""

import math
from dataclasses import dataclass

import numpy as np

from data_utils import to_float
from scratch.instruments.elbo import active_units, rate_distortion
from scratch.instruments.posteriors import is_gaussian
from scratch.options.errors import InputError
from scratch.schedules import Schedule

BLOCK = 4096  # images that are float64 at a time


@dataclass(frozen=True)
class PCA:
    """mean (D,), components (D, D), a row each, and variances (D,) along them, the largest first."""

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray


def rows(images):
    """Yields stored images (M, H, W, C) as blocks of float64 rows (B, D) in [0, 1]."""
    for start in range(0, len(images), BLOCK):
        block = to_float(images[start : start + BLOCK], np.float64)
        yield block.reshape(len(block), -1)


def principal_components(images):
    """The PCA of stored images, from their covariance (D, D), which is smaller than many images are.

    Raises InputError where all images are the same.
    """
    if (images == images[0]).all():
        count = "all of them are the same" if len(images) > 1 else "this set has one"
        raise InputError(f"PCA needs training images that differ, and {count}: choose other images, or more.")
    mean = sum(block.sum(axis=0) for block in rows(images)) / len(images)
    covariance = sum((block - mean).T @ (block - mean) for block in rows(images)) / len(images)
    variances, vectors = np.linalg.eigh(covariance)
    return PCA(mean, vectors.T[::-1], variances[::-1].clip(0))


def explained_by_components(pca, images):
    """(D,): the share of the images' variance about the training mean that the first 1, 2, … D components explain.

    Raises InputError where all images are the training mean.
    """
    if (images == images[0]).all() and np.allclose(next(rows(images[:1])), pca.mean, rtol=0, atol=1e-12):
        raise InputError("PCA needs held-out images with a variance, and all of them are the mean of the training "
                         "images: choose other images.")
    energy = sum((((block - pca.mean) @ pca.components.T) ** 2).sum(axis=0) for block in rows(images))
    return energy.cumsum() / energy.sum()


def explained_by_reconstruction(pca, images, reconstructed):
    """The share of the images' variance about the training mean that their reconstructions explain."""
    pairs = zip(rows(images), rows(reconstructed), strict=True)
    error = sum(((block - other) ** 2).sum() for block, other in pairs)
    return float(1 - error / sum(((block - pca.mean) ** 2).sum() for block in rows(images)))


def water_filling(pca, beta):
    """(D,): the rate in nats along each component where a linear VAE's loss, squared error + β · rate, is least:

        klⱼ = ½ log( λⱼ / (½β) )   where λⱼ > ½β,   else 0

    λⱼ is the variance along component j. The ½ in ½β is the variance of the Gaussian whose loss is the squared error.
    The squared error left along the component is the smaller of λⱼ and ½β: reverse water-filling. (Lucas et al. 2019,
    arXiv:1911.02469; docs/results/collapse.md)
    """
    level = 0.5 * beta
    with np.errstate(divide="ignore"):
        return 0.5 * np.log(pca.variances / level).clip(0)


def principal_angles(a, b):
    """The angles in degrees, the smallest first, between the spaces that the rows of a (Z, D) and of b (Z, D) span.

    Their cosines are the singular values of QₐᵀQ_b, with orthonormal bases Q. (Björck & Golub 1973,
    doi:10.1090/S0025-5718-1973-0348991-3) Angles below 1e-6 degrees are rounding errors.
    """
    bases = [np.linalg.qr(np.asarray(rows, np.float64).T)[0] for rows in (a, b)]
    cosines = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    return np.degrees(np.arccos(cosines.clip(0, 1)))


def is_linear(options):
    """Is a run's output a linear function of its code, and its code a linear function of the image?"""
    return (options.get("network") == "linear" and options["likelihood"] == "squared_error"
            and not options.get("sparsity"))


def decoder_directions(trained):
    """(Z, D): the image that each number of a linear model's code adds, for a code of 1."""
    Z = trained.options["latent_dim"]
    codes = np.concatenate([np.zeros((1, Z)), np.eye(Z)]).astype(trained.dtype)
    origin, *images = trained.decode(codes).reshape(Z + 1, -1)
    return np.stack(images) - origin


def beside_pca(trained, pca, shares, images):
    """The share of held-out images' variance that a run's reconstructions explain, beside PCA with as many components.

    {"numbers": Z, "explained", "pca_explained"}. Of a linear AE also "angles": the principal angles between the span of
    its decoder and that of the first Z components. A linear VAE's decoder may leave dimensions unused; it has the
    entries of `beside_water_filling` instead. `shares` is explained_by_components of the same images.
    """
    Z = trained.options["latent_dim"]
    explained = explained_by_reconstruction(pca, images, trained.reconstruct(images))
    found = {"numbers": Z, "explained": explained, "pca_explained": float(shares[min(Z, len(shares)) - 1])}
    if is_linear(trained.options) and Z <= len(shares):
        if not is_gaussian(trained.model):
            found["angles"] = principal_angles(decoder_directions(trained), pca.components[:Z]).tolist()
        elif asks_for_water_filling(trained.options):
            found |= beside_water_filling(trained, pca, images)
    return found


def asks_for_water_filling(options):
    """Is a linear VAE's loss squared error + β · rate with β > 0 at the end of training?"""
    others = any(options.get(name) for name in ("free_bits", "corruption")) or options.get("capacity") is not None
    return not others and Schedule(options["beta"])(math.inf) > 0


def beside_water_filling(trained, pca, images):
    """{"rate", "active_units"} of a linear VAE on held-out images, beside their values where the loss on the training
    images is least, from the first Z components: "water_filling_rate", "water_filling_units"."""
    rates = water_filling(pca, Schedule(trained.options["beta"])(math.inf))[: trained.options["latent_dim"]]
    return {
        "rate": float(rate_distortion(trained, images).rate.mean()),
        "water_filling_rate": float(rates.sum()),
        "active_units": int(active_units(trained.encode(images)).sum()),
        "water_filling_units": int((rates > 0).sum()),
    }
