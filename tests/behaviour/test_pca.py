"""PCA against the singular value decomposition, and the linear autoencoder against PCA."""

from types import SimpleNamespace

import numpy as np
import pytest

from scratch.instruments import pca
from scratch.instruments.pca import (
    decoder_directions,
    explained_by_components,
    explained_by_reconstruction,
    is_linear,
    principal_angles,
    principal_components,
)
from scratch.optim import Adam
from tests.support.models import build


def drawn(count, rng, scales=(3, 2, 1, 0.5, 0.1)):
    """(count, 4, 4, 2) numbers as images, most of whose variance lies in one direction for each of the scales."""
    directions = np.linalg.qr(np.random.default_rng(0).standard_normal((32, len(scales))))[0].T
    codes = rng.standard_normal((count, len(scales))) * np.array(scales)
    return (0.5 + codes @ directions + 1e-2 * rng.standard_normal((count, 32))).reshape(count, 4, 4, 2)


def test_components_and_variances_are_those_of_the_singular_value_decomposition(monkeypatch):
    """The block size does not divide the number of images."""
    monkeypatch.setattr(pca, "BLOCK", 7)
    x = drawn(60, np.random.default_rng(1))
    found = principal_components(x)
    rows = x.reshape(60, -1)
    _, singular, vectors = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.variances, singular**2 / 60, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(abs((found.components[:5] * vectors[:5]).sum(axis=1)), 1, rtol=1e-9)


def test_bytes_are_read_as_numbers_from_0_to_1():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 2, 3, 1), np.uint8)
    ours, expected = principal_components(pixels), principal_components(pixels / 255)
    np.testing.assert_allclose(ours.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(ours.variances, expected.variances, rtol=1e-9, atol=1e-15)


def test_explained_shares_agree_with_reconstructions_written_out():
    rng = np.random.default_rng(2)
    found, held_out = principal_components(drawn(80, rng)), drawn(30, rng)
    shares = explained_by_components(found, held_out)
    assert shares[-1] == pytest.approx(1) and (np.diff(shares) >= 0).all()
    rows = held_out.reshape(30, -1) - found.mean
    for k in (1, 3, 5):
        basis = found.components[:k]
        back = (found.mean + rows @ basis.T @ basis).reshape(held_out.shape)
        assert explained_by_reconstruction(found, held_out, back) == pytest.approx(shares[k - 1], rel=1e-12)
    mean = np.broadcast_to(found.mean.reshape(4, 4, 2), held_out.shape)
    assert explained_by_reconstruction(found, held_out, mean) == pytest.approx(0, abs=1e-12)
    assert explained_by_reconstruction(found, held_out, 0 * held_out) < 0, "worse than the mean image"


def test_principal_angles():
    e = np.eye(5)
    assert principal_angles(e[:2], 7 * e[1::-1]) == pytest.approx([0, 0], abs=1e-5)
    assert principal_angles(e[:2], e[1:3]) == pytest.approx([0, 90], abs=1e-5)
    turned = np.stack([e[0], np.cos(0.3) * e[1] + np.sin(0.3) * e[2]])
    assert principal_angles(e[:2], turned) == pytest.approx([0, np.degrees(0.3)], abs=1e-5)
    assert principal_angles(e[:2], [[1, 1, 0, 0, 0], [1, -1, 0, 0, 0]]) == pytest.approx([0, 0], abs=1e-5)


def test_a_linear_autoencoder_comes_to_pca_s_error_and_space():
    """Bourlard & Kamp 1988; Baldi & Hornik 1989. Trained in full batches."""
    x = drawn(200, np.random.default_rng(1))
    options = {"network": "linear", "likelihood": "squared_error", "latent_dim": 3}
    model = build("ae", (4, 4, 2), options, dtype=np.float64, rng=np.random.default_rng(0))
    adam = Adam(model.named_parameters(), "cosine:3e-2:1e-5:1500")
    for _ in range(1500):
        model.zero_grad()
        model.loss(x)
        model.backward()
        adam.step()
    found = principal_components(x)
    shares = explained_by_components(found, x)
    explained = explained_by_reconstruction(found, x, model.reconstruct(x))
    assert explained <= shares[2] + 1e-12, "no linear map through three numbers explains more"
    assert explained == pytest.approx(shares[2], abs=1e-4)
    trained = SimpleNamespace(options=options, dtype=np.dtype(np.float64), decode=model.decode)
    directions = decoder_directions(trained)
    assert principal_angles(directions, found.components[:3]).max() < 0.1
    assert principal_angles(directions, found.components[1:4]).max() > 80
    overlap = abs(directions @ found.components[:3].T) / np.linalg.norm(directions, axis=1, keepdims=True)
    assert overlap.max() < 0.999, "the rows span the space and need not be the components"


def test_what_is_linear():
    linear = {"network": "linear", "likelihood": "squared_error"}
    assert is_linear(linear) and is_linear({**linear, "sparsity": 0.0})
    assert not is_linear({**linear, "sparsity": 1.0}) and not is_linear({**linear, "likelihood": "bernoulli"})
    assert not is_linear({"network": "convolution", "likelihood": "squared_error"})
    assert not is_linear({"likelihood": "squared_error"}), "a run that is older than the option"


def test_a_linear_network_takes_images_that_cannot_be_halved():
    options = {"network": "linear", "likelihood": "squared_error", "latent_dim": 3}
    model = build("ae", (5, 7, 1), options, rng=np.random.default_rng(0))
    assert model.parameter_count() == 3 * (2 * 35 + 1) + 35
    x = np.random.default_rng(0).random((2, 5, 7, 1), np.float32)
    before = x.copy()
    model.loss(x)
    model.backward()
    assert model.reconstruct(x).shape == x.shape
    np.testing.assert_array_equal(x, before)
