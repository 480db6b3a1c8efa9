"""Principal component analysis, the best linear code of its size, beside what an autoencoder makes of the same size.

With the mean m of the training images and the eigenvectors u₁, u₂, … of their covariance by falling eigenvalue, the
k-component reconstruction of an image x is m + Σ_{j≤k} ⟨x − m, uⱼ⟩ uⱼ; no linear map through k numbers has a smaller
squared error over the training images (Eckart & Young 1936). What a reconstruction x̂ explains is

    1 − Σ ‖x − x̂‖² / Σ ‖x − m‖²

Here it is taken over held-out images, of which PCA has seen as little as the model.

The linear VAE gives its numbers to the same components, each as many nats as the variance along it asks for
(`water_filling`).
"""

import math
from dataclasses import dataclass

import numpy as np

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
    """Images (M, H, W, C), uint8 or floats in [0, 1], as blocks of float64 rows (B, D) in [0, 1]."""
    scale = 255 if images.dtype == np.uint8 else 1
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK]
        yield block.reshape(len(block), -1) / np.float64(scale)


def principal_components(images):
    """The PCA of images, from their covariance (D, D): for many images smaller than the images themselves.

    Raises InputError where all images are alike.
    """
    if (images == images[0]).all():
        raise InputError("all training images are alike: they have no variance that components could explain. Choose "
                         "other images.")
    mean = sum(block.sum(axis=0) for block in rows(images)) / len(images)
    covariance = sum((block - mean).T @ (block - mean) for block in rows(images)) / len(images)
    variances, vectors = np.linalg.eigh(covariance)
    return PCA(mean, vectors.T[::-1], variances[::-1].clip(0))


def explained_by_components(pca, images):
    """(D,): the share of the images' variance about the training mean that the first 1, 2, … D components explain."""
    if (images == images[0]).all() and np.allclose(next(rows(images[:1])), pca.mean, rtol=0, atol=1e-12):
        raise InputError("all held-out images are the mean of the training images: they have no variance to explain. "
                         "Choose other images.")
    energy = sum((((block - pca.mean) @ pca.components.T) ** 2).sum(axis=0) for block in rows(images))
    return energy.cumsum() / energy.sum()


def explained_by_reconstruction(pca, images, reconstructed):
    """The share of the images' variance about the training mean that their reconstructions explain."""
    pairs = zip(rows(images), rows(reconstructed), strict=True)
    error = sum(((block - other) ** 2).sum() for block, other in pairs)
    return float(1 - error / sum(((block - pca.mean) ** 2).sum() for block in rows(images)))


def water_filling(pca, beta):
    """(D,): the rate in nats along each component at the least loss that a linear VAE has, squared error + β · rate:

        rate_j = ½ log( λ_j / ½β )   where λ_j > ½β,   else 0

    since ½ is the variance of the Gaussian whose loss the squared error is. The distortion along the component is the
    smaller of λ_j and ½β: reverse water-filling. (Lucas et al. 2019, arXiv:1911.02469; docs/collapse.md)
    """
    level = 0.5 * beta
    with np.errstate(divide="ignore"):
        return 0.5 * np.log(pca.variances / level).clip(0)


def principal_angles(a, b):
    """The angles in degrees, the smallest first, between the spaces that the rows of a (k, D) and of b (k, D) span.

    cos θ are the singular values of QₐᵀQ_b, with orthonormal bases Q. (Björck & Golub 1973,
    doi:10.1090/S0025-5718-1973-0348991-3) Below 1e-6 degrees rounding is left of them.
    """
    bases = [np.linalg.qr(np.asarray(rows, np.float64).T)[0] for rows in (a, b)]
    cosines = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    return np.degrees(np.arccos(cosines.clip(0, 1)))


def is_linear(options):
    """Is a run's output a linear function of its code, and the code one of the image?"""
    return (options.get("network") == "linear" and options["likelihood"] == "squared_error"
            and not options.get("sparsity"))


def decoder_directions(trained):
    """(Z, D): what each number of a linear model's code adds to the image."""
    Z = trained.options["latent_dim"]
    codes = np.concatenate([np.zeros((1, Z)), np.eye(Z)]).astype(trained.dtype)
    origin, *images = trained.decode(codes).reshape(Z + 1, -1)
    return np.stack(images) - origin


def beside_pca(trained, pca, shares, images):
    """What a run's reconstructions of held-out images explain, beside PCA with as many components.

    {"numbers": Z, "explained", "pca_explained"}, and of a linear AE "angles" as well: the principal angles between what
    its decoder and what the first Z components span; of a linear VAE, whose decoder need not use all of its dimensions,
    what `beside_water_filling` says. `shares` is explained_by_components of the same images.
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
    """Is a linear VAE's loss squared error + β · rate, with β above 0, when training ends?"""
    others = any(options.get(name) for name in ("free_bits", "corruption")) or options.get("capacity") is not None
    return not others and Schedule(options["beta"])(math.inf) > 0


def beside_water_filling(trained, pca, images):
    """{"rate", "active_units"} of a linear VAE on held-out images, and what they come to at the least loss on the
    training images, by the first Z components: "water_filling_rate", "water_filling_units"."""
    rates = water_filling(pca, Schedule(trained.options["beta"])(math.inf))[: trained.options["latent_dim"]]
    return {
        "rate": float(rate_distortion(trained, images).rate.mean()),
        "water_filling_rate": float(rates.sum()),
        "active_units": int(active_units(trained.encode(images)).sum()),
        "water_filling_units": int((rates > 0).sum()),
    }
