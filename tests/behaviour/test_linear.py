"""A linear autoencoder is principal component analysis (Baldi & Hornik 1989), and training finds it."""

import numpy as np
import pytest

from scratch.layers import Linear
from scratch.losses import SquaredError
from scratch.module import Sequential
from scratch.optim import SGD

DEVIATIONS = np.array([3.0, 2.5, 2.0, 0.5, 0.4, 0.3])  # the gap: from 2 to ½, in variance a factor of 16
KEPT = 3


@pytest.fixture(scope="module")
def data():
    """Centred data (200, 6) whose covariance XᵀX/N has exactly the eigenvalues DEVIATIONS²; and its eigenvectors."""
    rng = np.random.default_rng(0)
    independent = rng.standard_normal((200, 6))
    orthonormal, _ = np.linalg.qr(independent - independent.mean(axis=0))
    axes, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    return np.sqrt(200) * orthonormal * DEVIATIONS @ axes.T, axes


@pytest.fixture(scope="module")
def trained(data):
    x, _ = data
    rng = np.random.default_rng(1)
    encoder = Linear(6, KEPT, bias=False, dtype=np.float64, rng=rng)
    decoder = Linear(KEPT, 6, bias=False, dtype=np.float64, rng=rng)
    model, loss = Sequential(encoder, decoder), SquaredError()
    optimizer = SGD(model.named_parameters(), lr=1e-2, momentum=0.9)
    for _ in range(2000):
        model.zero_grad()
        error = loss.loss(model.forward(x), x)
        model.backward(loss.backward())
        optimizer.step()
    return error, encoder, decoder, max(np.abs(gradient).max() for gradient in model.grad_dict().values())


def test_the_data_have_the_stated_spectrum(data):
    x, axes = data
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(x.T @ x / len(x), axes * DEVIATIONS**2 @ axes.T, atol=1e-12)


def test_training_came_to_rest(trained):
    assert trained[3] < 1e-11


def test_its_error_is_the_sum_of_the_discarded_eigenvalues(trained):
    assert trained[0] == pytest.approx((DEVIATIONS[KEPT:] ** 2).sum(), rel=1e-9)


def test_it_spans_the_subspace_of_the_principal_components(data, trained):
    """The cosines of the principal angles between two subspaces are the singular values of Q₁ᵀ Q₂."""
    _, axes = data
    _, encoder, decoder, _ = trained
    for weights in (encoder.weight.value, decoder.weight.value.T):
        basis, _ = np.linalg.qr(weights)
        cosines = np.linalg.svd(axes[:, :KEPT].T @ basis, compute_uv=False)
        assert np.arccos(np.clip(cosines, -1, 1)).max() < 1e-6
