"""Principal component analysis, the best linear code of its size, beside what an autoencoder makes of the same size.

With the mean m of the training images and the eigenvectors u₁, u₂, … of their covariance by falling eigenvalue, the
k-component reconstruction of an image x is m + Σ_{j≤k} ⟨x − m, uⱼ⟩ uⱼ; no linear map through k numbers has a smaller
squared error over the training images (Eckart & Young 1936). What a reconstruction x̂ explains is

    1 − Σ ‖x − x̂‖² / Σ ‖x − m‖²

Here it is taken over held-out images, of which PCA has seen as little as the model.
"""

from dataclasses import dataclass

import numpy as np

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
    """The PCA of images, from their covariance (D, D): for many images smaller than the images themselves."""
    mean = sum(block.sum(axis=0) for block in rows(images)) / len(images)
    covariance = sum((block - mean).T @ (block - mean) for block in rows(images)) / len(images)
    variances, vectors = np.linalg.eigh(covariance)
    return PCA(mean, vectors.T[::-1], variances[::-1].clip(0))


def explained_by_components(pca, images):
    """(D,): the share of the images' variance about the training mean that the first 1, 2, … D components explain."""
    energy = sum((((block - pca.mean) @ pca.components.T) ** 2).sum(axis=0) for block in rows(images))
    return energy.cumsum() / energy.sum()


def explained_by_reconstruction(pca, images, reconstructed):
    """The share of the images' variance about the training mean that their reconstructions explain."""
    pairs = zip(rows(images), rows(reconstructed), strict=True)
    error = sum(((block - other) ** 2).sum() for block, other in pairs)
    return float(1 - error / sum(((block - pca.mean) ** 2).sum() for block in rows(images)))


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

    {"numbers": Z, "explained", "pca_explained"}, and of a linear model "angles" as well: the principal angles between
    what its decoder and what the first Z components span. `shares` is explained_by_components of the same images.
    """
    Z = trained.options["latent_dim"]
    explained = explained_by_reconstruction(pca, images, trained.reconstruct(images))
    found = {"numbers": Z, "explained": explained, "pca_explained": float(shares[min(Z, len(shares)) - 1])}
    if is_linear(trained.options) and Z <= len(shares):
        found["angles"] = principal_angles(decoder_directions(trained), pca.components[:Z]).tolist()
    return found
