"""A linear VAE is reverse water-filling over the principal components (Lucas et al. 2019; docs/results/collapse.md).

Its loss is quadratic in the noise. Noise ±√Z·eⱼ, each of the 2Z vectors once for every image, has the mean 0 and the
covariance I of N(0, I), so that over these the loss and its gradients are the expectations, without an error of chance.
"""

import numpy as np
import pytest

from scratch.instruments.pca import principal_components, water_filling
from tests.support.models import build

Z, SHAPE = 4, (3, 3, 1)
BETAS = {0.05: 4, 0.2: 3, 1.0: 2, 3.0: 1, 20.0: 0}  # the variances below, over β/2: how many of four are above it
DEVIATIONS = np.array([2.0, 1.0, 0.5, 0.25, 0.1, 0.1, 0.1, 0.1, 0.1])
each_beta = pytest.mark.parametrize("beta", BETAS)


@pytest.fixture(scope="module")
def images():
    """(60, 3, 3, 1) numbers whose covariance has exactly the eigenvalues DEVIATIONS²."""
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((60, 9))
    orthonormal, _ = np.linalg.qr(drawn - drawn.mean(axis=0))
    axes, _ = np.linalg.qr(rng.standard_normal((9, 9)))
    return (0.5 + np.sqrt(60) * orthonormal * DEVIATIONS @ axes.T).reshape(60, *SHAPE)


@pytest.fixture(scope="module")
def pca(images):
    return principal_components(images)


def at_the_optimum(pca, beta):
    """The VAE with y = U √(λ − β/2)₊ z + m: probabilistic PCA's decoder (Tipping & Bishop 1999) and its posterior."""
    options = {"network": "linear", "likelihood": "squared_error", "latent_dim": Z, "beta": beta, "free_bits": 0.0,
               "capacity": None}
    model = build("vae", SHAPE, options, dtype=np.float64, rng=np.random.default_rng(0))
    variances, axes = np.maximum(pca.variances[:Z], beta / 2), pca.components[:Z]
    length = np.sqrt(variances - beta / 2)
    code, decoder = model.bottleneck, model.bottleneck.expand
    code.mu.weight.value[...] = axes.T * (length / variances)
    code.mu.bias.value[...] = -pca.mean @ code.mu.weight.value
    code.logvar.weight.value[...] = 0
    code.logvar.bias.value[...] = np.log(beta / 2 / variances)
    decoder.weight.value[...] = length[:, None] * axes
    decoder.bias.value[...] = pca.mean
    return model


def expected(model, images):
    """(loss, terms) over all images, in expectation over the noise."""
    corners = np.sqrt(Z) * np.concatenate([np.eye(Z), -np.eye(Z)])
    return model.loss(np.repeat(images, len(corners), axis=0), np.tile(corners, (len(images), 1)))


@each_beta
def test_no_gradient_is_left_there(images, pca, beta):
    model = at_the_optimum(pca, beta)
    expected(model, images)
    model.backward()
    for name, gradient in model.grad_dict().items():
        np.testing.assert_allclose(gradient, 0, atol=1e-12, err_msg=name)


@each_beta
def test_rate_and_distortion_are_those_of_water_filling(images, pca, beta):
    _, terms = expected(at_the_optimum(pca, beta), images)
    rates = water_filling(pca, beta)[:Z]
    assert (rates > 0).sum() == BETAS[beta]
    assert terms["kl"] == pytest.approx(rates.sum(), rel=1e-12, abs=1e-12)
    kept, dropped = pca.variances[:Z].clip(max=beta / 2).sum(), pca.variances[Z:].sum()
    assert terms["reconstruction"] == pytest.approx(kept + dropped, rel=1e-12)


@each_beta
def test_every_step_away_from_it_costs(images, pca, beta):
    model = at_the_optimum(pca, beta)
    least, _ = expected(model, images)
    rng = np.random.default_rng(1)
    optimum = {name: part.value.copy() for name, part in model.named_parameters().items()}
    for scale in (0.01, 0.1, 1.0):
        for _ in range(20):
            for name, part in model.named_parameters().items():
                part.value[...] = optimum[name] + scale * rng.standard_normal(part.value.shape)
            loss, _ = expected(model, images)
            assert loss > least
