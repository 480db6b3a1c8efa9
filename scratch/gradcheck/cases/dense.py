"""The plain and the sparse autoencoder's bottlenecks."""

from scratch import bottlenecks
from scratch.gradcheck.cases.case import add, away_from_zero, bottleneck, of_bottleneck, of_forward


def l1(case, rng):
    """l1 = L1(z), where no number is near 0."""
    z = away_from_zero(case.shape, rng)
    return of_forward(bottlenecks.L1(), {"z": z}, "l1")


def sparse_bottleneck(case, rng):
    """y, terms = SparseBottleneck(h), where no input of its ReLU is near 0."""
    return of_bottleneck(
        case, rng, lambda module, h: abs(module.reduce.forward(module.flatten.forward(h))).min() >= 1e-3)


add(bottleneck, "DenseBottleneck", (3, 2, 2, 4), dict(feature_shape=(2, 2, 4), latent_dim=5))
add(l1, "L1", (4, 3))
add(sparse_bottleneck, "SparseBottleneck", (3, 2, 2, 4), dict(feature_shape=(2, 2, 4), latent_dim=5))
