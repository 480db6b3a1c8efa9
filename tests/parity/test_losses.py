"""The loss terms against PyTorch's own functions and distributions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, Normal, kl_divergence
from torch.nn import functional as F

from scratch.bottlenecks import CategoricalKL, GaussianKL, Reparameterize
from scratch.bottlenecks.vector_quantizer import code_counts, perplexity
from scratch.losses import LIKELIHOODS, BernoulliFromLogits, DiscretizedLogistic, LogitLaplace
from tests.support.beside_torch import (
    assert_all_close,
    assert_close,
    discretized_logistic_log_prob,
    to_numpy,
    to_torch,
    torch_gradients,
)
from torch_ref import losses as torch_losses

drawn = settings(max_examples=30, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(1, 5), min_size=2, max_size=2) | st.lists(st.integers(1, 5), min_size=4, max_size=4)

def logit_laplace_nll(output, x):
    """The paper's density with a lower bound for its scale; the mean over elements."""
    mu, s = output.chunk(2, dim=-1)
    b, phi = s.exp() + 1.6 / 255, 0.8 * x + 0.1
    return ((torch.logit(phi) - mu).abs() / b + (2 * b * phi * (1 - phi)).log()).mean()


def gaussian_nll(output, x):
    """At the initial σ; PyTorch takes σ². The mean over elements."""
    return F.gaussian_nll_loss(output, x, torch.full_like(x, (1 + math.exp(-6)) ** 2), full=True)


def discretized_logistic_nll(output, x):
    """The mean over elements."""
    return -discretized_logistic_log_prob(output, x).mean()


def categorical_nll(output, x):
    """The mean over elements."""
    return -Categorical(logits=output.unflatten(-1, (x.shape[-1], 256))).log_prob(torch.round(255 * x)).mean()


PYTORCHS = {
    "squared_error": F.mse_loss, "gaussian": gaussian_nll, "bernoulli": F.binary_cross_entropy_with_logits,
    "logit_laplace": logit_laplace_nll, "discretized_logistic": discretized_logistic_nll,
    "categorical": categorical_nll,
}


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("dtype, bound", [(np.float64, 1e-12), (np.float32, 1e-4)])
@drawn
@given(shape=shapes, seed=seeds)
def test_reconstruction(name, dtype, bound, shape, seed):
    rng = np.random.default_rng(seed)
    ours, theirs = LIKELIHOODS[name](dtype), torch_losses.LIKELIHOODS[name](getattr(torch, np.dtype(dtype).name))
    assert ours.outputs == theirs.outputs
    output = (2 * rng.standard_normal((*shape[:-1], ours.outputs * shape[-1]))).astype(dtype)
    x = rng.uniform(size=shape).astype(dtype)
    upstream = float(rng.uniform(0.5, 2))

    output_torch = to_torch(output)
    loss_torch = theirs(output_torch, to_torch(x))
    loss = ours.loss(output, x)
    assert_close(loss, loss_torch.detach(), bound, "loss")
    # and both are PyTorch's mean over elements, times the elements of an example
    mean = PYTORCHS[name](torch.tensor(output), torch.tensor(x)).item()
    assert float(loss) == pytest.approx(mean * x[0].size, rel=bound)

    (upstream * loss_torch).backward()
    assert_close(ours.backward(upstream), to_numpy(output_torch.grad), bound, "gradient")
    assert_all_close(ours.grad_dict(), torch_gradients(theirs), bound)
    assert_close(ours.mean(output), to_numpy(theirs.mean(output_torch)), bound, "mean")
    metrics = {name: value.detach() for name, value in theirs.measured.items()}
    assert_all_close(ours.measured, metrics, bound)


def test_cross_entropy_far_out():
    """Computed from clipped probabilities, the loss would be NaN or capped, and the gradient zero."""
    logits = np.array([[-1e4, -800.0, -40.0, -0.0, 0.0, 40.0, 800.0, 1e4]])
    for target in (0.0, 0.25, 1.0):
        x = np.full_like(logits, target)
        ours, logits_torch = BernoulliFromLogits(), to_torch(logits)
        loss_torch = F.binary_cross_entropy_with_logits(logits_torch, to_torch(x), reduction="sum")
        loss_torch.backward()
        assert_close(ours.loss(logits, x), loss_torch.detach(), 1e-12, "loss")
        gradient = ours.backward(1.0)
        assert_close(gradient, logits_torch.grad, 1e-12, "gradient")
        if target == 0:
            assert_close(gradient[0, -3:], np.ones(3), 1e-12, "gradient of a confident mistake")
    logit = torch.tensor([40.0], dtype=torch.float64, requires_grad=True)
    clipped = F.binary_cross_entropy(torch.sigmoid(logit).clamp(1e-7, 1 - 1e-7), torch.zeros_like(logit))
    clipped.backward()
    assert clipped.item() < 17 and logit.grad.item() == 0, "the trap itself: a loss of 40 with a gradient of 1"


def test_logit_laplace_far_out():
    """Tiny scales and predictions far away: the values are those of PyTorch's distribution, and finite."""
    x = np.array([[0.0, 1.0, 0.5, 0.5, 0.0, 1.0]])
    output = np.array([[-30.0, 30.0, 0.0, 20.0, 5.0, -5.0, -50.0, -50.0, -800.0, -800.0, 50.0, 300.0]])
    ours, output_torch = LogitLaplace(), to_torch(output)
    loss_torch = torch_losses.LogitLaplace()(output_torch, to_torch(x))
    loss_torch.backward()
    assert_close(ours.loss(output, x), loss_torch.detach(), 1e-12, "loss")
    assert_close(ours.backward(1.0), output_torch.grad.numpy(), 1e-12, "gradient")


@pytest.mark.parametrize("dtype, bound", [(np.float64, 1e-12), (np.float32, 1e-5)])
@pytest.mark.parametrize("s", [-50.0, -7.7, -5.5, -3.0, 0.0, 10.0, 50.0])
def test_discretized_logistic_far_out(s, dtype, bound):
    """All bins, with locations inside, beside and far outside of them. Both sides stay finite, though differently."""
    x, mu = np.meshgrid(np.arange(256) / 255, [-100.0, -1.0, -0.001, 0.0, 0.35, 0.5, 1.0, 1.002, 3.0, 100.0])
    output = np.concatenate([mu, np.full_like(mu, s)], axis=1).astype(dtype)
    ours, output_torch = DiscretizedLogistic(), to_torch(output)
    loss_torch = torch_losses.DiscretizedLogistic()(output_torch, to_torch(x.astype(dtype)))
    loss_torch.backward()
    assert np.isfinite(loss_torch.item())
    assert_close(ours.loss(output, x.astype(dtype)), loss_torch.detach(), bound, "loss")
    dmu, ds = np.split(ours.backward(1.0), 2, axis=1)
    dmu_torch, ds_torch = np.split(output_torch.grad.numpy(), 2, axis=1)
    for row in range(len(mu)):
        assert_close(dmu[row], dmu_torch[row], 100 * bound, "∂L/∂μ")
        assert_close(ds[row], ds_torch[row], 100 * bound, "∂L/∂s")


@drawn
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 6), seeds)
def test_categorical_kl(n, positions, codes, seed):
    """Both sides against torch.distributions."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((n, positions, 1, codes))
    upstream, logits_torch = float(rng.uniform(0.5, 2)), torch.tensor(logits, requires_grad=True)
    uniform = Categorical(probs=torch.full_like(logits_torch, 1 / codes).detach())
    expected = kl_divergence(Categorical(logits=logits_torch), uniform).sum((1, 2)).mean()
    (upstream * expected).backward()

    kl = CategoricalKL()
    scale = positions * max(1.0, np.log(codes))  # the uniform distribution's is a difference of equals
    assert abs(kl.forward(logits) - expected.item()) <= 1e-12 * scale
    assert np.abs(kl.backward(upstream) - logits_torch.grad.numpy()).max() <= 1e-12
    assert abs(torch_losses.kl_to_uniform(to_torch(logits)).item() - expected.item()) <= 1e-12 * scale


@drawn
@given(st.integers(1, 6), st.integers(1, 6), seeds)
def test_gaussian_kl(n, size, seed):
    """Both sides against torch.distributions, which takes σ, not log σ²."""
    rng = np.random.default_rng(seed)
    mu, logvar = rng.standard_normal((2, n, size))
    upstream = float(rng.uniform(0.5, 2))
    mu_torch, logvar_torch = to_torch(mu), to_torch(logvar)
    posterior = Normal(mu_torch, logvar_torch.mul(0.5).exp())
    expected = kl_divergence(posterior, Normal(0.0, 1.0)).sum(1).mean()
    (upstream * expected).backward()

    kl = GaussianKL()
    assert_close(kl.forward(mu, logvar), expected.detach(), 1e-12, "kl")
    dmu, dlogvar = kl.backward(upstream)
    assert_close(dmu, mu_torch.grad, 1e-12, "∂kl/∂mu")
    assert_close(dlogvar, logvar_torch.grad, 1e-12, "∂kl/∂logvar")
    assert_close(torch_losses.gaussian_kl(mu_torch, logvar_torch).detach(), expected.detach(), 1e-12, "torch_ref")


@drawn
@given(st.integers(1, 6), st.integers(1, 6), seeds)
def test_reparameterize(n, size, seed):
    rng = np.random.default_rng(seed)
    mu, logvar, eps, dz = rng.standard_normal((4, n, size))
    mu_torch, logvar_torch = to_torch(mu), to_torch(logvar)
    z_torch = mu_torch + logvar_torch.mul(0.5).exp() * torch.tensor(eps)
    z_torch.backward(torch.tensor(dz))
    reparameterize = Reparameterize()
    assert_close(reparameterize.forward(mu, logvar, eps), z_torch.detach(), 1e-12, "z")
    dmu, dlogvar = reparameterize.backward(dz)
    assert_close(dmu, mu_torch.grad, 1e-12, "∂L/∂mu")
    assert_close(dlogvar, logvar_torch.grad, 1e-12, "∂L/∂logvar")


def test_the_samples_have_the_mean_and_the_variance_asked_for():
    """With σ = exp(logvar) gradients still agree with autograd, and only the variance is wrong."""
    draws = 200_000
    mu, logvar = np.array([-1.0, 0.0, 3.0]), np.array([-2.0, 0.0, 1.5])
    eps = np.random.default_rng(0).standard_normal((draws, 3))
    z = Reparameterize().forward(np.tile(mu, (draws, 1)), np.tile(logvar, (draws, 1)), eps)
    variance = np.exp(logvar)
    np.testing.assert_array_less(np.abs(z.mean(0) - mu), 4 * np.sqrt(variance / draws))
    np.testing.assert_array_less(np.abs(z.var(0) - variance), 4 * variance * np.sqrt(2 / draws))


@drawn
@given(st.lists(st.integers(0, 6), min_size=1, max_size=40))
def test_perplexity_of_counts_with_unused_codes(indices):
    """0 log 0 is 0, not NaN."""
    counts = code_counts(np.array(indices), 9)
    assert counts.tolist() == [indices.count(code) for code in range(9)]
    entropy = torch.distributions.Categorical(torch.tensor(counts) / len(indices)).entropy()
    theirs = torch_losses.perplexity(torch.tensor(counts)).item()
    assert float(perplexity(counts)) == pytest.approx(theirs, rel=1e-12)
    assert theirs == pytest.approx(entropy.exp().item(), rel=1e-5)  # Categorical clamps in float32
