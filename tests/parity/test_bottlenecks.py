"""The bottlenecks against torch_ref's, and the traps of the vector quantizer."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import torch_ref.bottlenecks.vector_quantizer as torch_quantizers
from scratch import bottlenecks
from scratch.bottlenecks import vector_quantizer
from scratch.bottlenecks.vector_quantizer import nearest_codes
from tests.support.beside_torch import (
    assert_all_close,
    assert_close,
    load_into_torch,
    to_numpy,
    to_torch,
    torch_gradients,
)
from torch_ref.gradcheck import twin

drawn = settings(max_examples=25, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
feature_shapes = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))


def torch_bottleneck(name, feature_shape, *arguments, **named):
    H, W, C = feature_shape
    return twin(name)((C, H, W), *arguments, **named, dtype=torch.float64)


def check_bottleneck(ours, theirs, h, noise, rng, noise_torch=None):
    """Outputs, terms and all gradients under random upstream gradients of the output and of each term."""
    load_into_torch(theirs, ours)
    h_torch = to_torch(h)
    if noise is not None:
        noise_torch = to_torch(noise).detach()
    y_torch, terms_torch = theirs(h_torch, noise_torch)
    y, terms = ours.forward(h, noise)
    assert_close(y, to_numpy(y_torch), 1e-12, "output")
    assert_all_close(terms, {name: term.detach() for name, term in terms_torch.items()}, 1e-12)

    dy = rng.standard_normal(y.shape)
    dterms = {name: float(rng.uniform(0.5, 2)) for name in terms}
    loss = (y_torch * to_torch(dy)).sum() + sum(dterms[name] * term for name, term in terms_torch.items())
    loss.backward()
    assert_close(ours.backward(dy, dterms), to_numpy(h_torch.grad), 1e-12, "input gradient")
    assert_all_close(ours.grad_dict(), torch_gradients(theirs), 1e-12)


@drawn
@given(feature_shapes, st.integers(1, 4), st.integers(1, 6), seeds)
def test_dense(feature_shape, n, latent_dim, seed):
    rng = np.random.default_rng(seed)
    ours = bottlenecks.DenseBottleneck(feature_shape, latent_dim, dtype=np.float64, rng=rng)
    theirs = torch_bottleneck("DenseBottleneck", feature_shape, latent_dim)
    check_bottleneck(ours, theirs, rng.standard_normal((n, *feature_shape)), None, rng)


@drawn
@given(feature_shapes, st.integers(1, 4), st.integers(1, 6), seeds)
def test_gaussian(feature_shape, n, latent_dim, seed):
    rng = np.random.default_rng(seed)
    ours = bottlenecks.GaussianBottleneck(feature_shape, latent_dim, dtype=np.float64, rng=rng)
    theirs = torch_bottleneck("GaussianBottleneck", feature_shape, latent_dim)
    noise = rng.standard_normal((n, latent_dim))
    check_bottleneck(ours, theirs, rng.standard_normal((n, *feature_shape)), noise, rng)


def test_backward_uses_the_noise_that_forward_drew():
    """With fresh noise in backward, the output would be right and the gradient of logvar wrong."""
    rng = np.random.default_rng(0)
    ours = bottlenecks.GaussianBottleneck((2, 2, 3), 4, dtype=np.float64, rng=rng)
    theirs = torch_bottleneck("GaussianBottleneck", (2, 2, 3), 4)
    ours.rng = np.random.default_rng(5)
    drawn_by_ours = torch.tensor(np.random.default_rng(5).standard_normal((6, 4)))
    check_bottleneck(ours, theirs, rng.standard_normal((6, 2, 2, 3)), None, rng, noise_torch=drawn_by_ours)


@drawn
@given(feature_shapes, st.integers(1, 4), st.integers(1, 40), st.integers(1, 5), st.booleans(), seeds)
def test_vector_quantized(feature_shape, n, codes, code_dim, expand, seed):
    rng = np.random.default_rng(seed)
    arguments = (feature_shape, codes, code_dim, "normal")
    ours = bottlenecks.VectorQuantizedBottleneck(*arguments, expand=expand, dtype=np.float64, rng=rng)
    theirs = torch_bottleneck("VectorQuantizedBottleneck", *arguments, expand=expand)
    check_bottleneck(ours, theirs, rng.standard_normal((n, *feature_shape)), None, rng)
    np.testing.assert_array_equal(ours.indices, theirs.indices)


@drawn
@given(feature_shapes, st.integers(1, 4), st.integers(1, 4), st.integers(1, 40), st.integers(1, 5), seeds)
def test_two_level(feature_shape, n, top_channels, codes, code_dim, seed):
    rng = np.random.default_rng(seed)
    H, W, C = feature_shape
    arguments = ((2 * H, 2 * W, C), top_channels, codes, code_dim, "normal")
    ours = bottlenecks.TwoLevelBottleneck(*arguments, dtype=np.float64, rng=rng)
    theirs = torch_bottleneck("TwoLevelBottleneck", *arguments)
    check_bottleneck(ours, theirs, rng.standard_normal((n, 2 * H, 2 * W, C)), None, rng)
    for indices, indices_torch in zip(ours.indices, theirs.indices, strict=True):
        np.testing.assert_array_equal(indices, indices_torch)


@drawn
@given(feature_shapes, st.integers(1, 4), st.integers(1, 7), st.integers(1, 4), st.floats(0.2, 2), st.booleans(), seeds)
def test_gumbel_softmax(feature_shape, n, codes, code_dim, temperature, hard, seed):
    rng = np.random.default_rng(seed)
    arguments = feature_shape, codes, code_dim, "normal", temperature, hard
    ours = bottlenecks.GumbelSoftmaxBottleneck(*arguments, dtype=np.float64, rng=rng)
    theirs = torch_bottleneck("GumbelSoftmaxBottleneck", *arguments)
    noise = ours.draw_noise(n, rng)
    np.testing.assert_array_equal(ours.draw_noise(2, np.random.default_rng(5)),
                                  theirs.draw_noise(2, np.random.default_rng(5), np.float64))
    check_gumbel_softmax(ours, theirs, rng.standard_normal((n, *feature_shape)), noise, rng)


def check_gumbel_softmax(ours, theirs, h, noise, rng):
    """Like check_bottleneck, and also what evaluation draws with the same noise."""
    check_bottleneck(ours, theirs, h, noise, rng)
    np.testing.assert_array_equal(ours.indices, theirs.indices)
    y, _ = ours.eval().forward(h, noise)
    y_torch, _ = theirs.eval()(to_torch(h), to_torch(noise))
    assert_close(y, to_numpy(y_torch), 1e-12, "output in evaluation")
    np.testing.assert_array_equal(ours.draw(h, noise), theirs.draw(to_torch(h), to_torch(noise)))


def test_torch_draws_gumbel_noise_of_its_own():
    torch.manual_seed(0)
    theirs = torch_bottleneck("GumbelSoftmaxBottleneck", (2, 2, 3), 3, 2, "normal", 1.0, False).eval()
    with torch.no_grad():
        theirs.project.weight.zero_()
        theirs.project.bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
        theirs.codebook.weight.copy_(torch.eye(3)[:, :2])
        theirs.expand.weight.copy_(torch.eye(3)[:, :2, None, None])
        theirs.expand.bias.zero_()
        y, _ = theirs(torch.zeros(5000, 3, 2, 2, dtype=torch.float64))
    expected = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64).softmax(0)[:2]
    assert (y.mean((0, 2, 3))[:2] - expected).abs().max() < 5 * 0.5 / 20_000**0.5


def quantizers(seed, codes=20, code_dim=3, init="normal"):
    ours = bottlenecks.VectorQuantizer(codes, code_dim, init, dtype=np.float64, rng=np.random.default_rng(seed))
    theirs = torch_quantizers.VectorQuantizer(codes, code_dim, init, dtype=torch.float64)
    load_into_torch(theirs, ours)
    return ours, theirs


def quantizer_gradients(dterms, seed=0):
    """(∂L/∂z, ∂L/∂codebook) of scratch's quantizer and the same of torch's, for L = ⟨random, q⟩ + Σ dterms · terms."""
    ours, theirs = quantizers(seed)
    rng = np.random.default_rng(seed + 1)
    z, dq = rng.standard_normal((2, 4, 3, 2, 3))
    z_torch = to_torch(z)
    q_torch, terms = theirs(z_torch)
    ((q_torch * to_torch(dq)).sum() + sum(dterms[name] * term for name, term in terms.items())).backward()
    q, _ = ours.forward(z)
    np.testing.assert_array_equal(q, ours.codebook.value[ours.indices])
    assert_close(q, to_numpy(q_torch), 1e-12, "q")
    dz = ours.backward(dq, dterms)
    return (dz, ours.codebook.grad), (to_numpy(z_torch.grad), theirs.codebook.grad.numpy()), dq


def test_the_straight_through_gradient_arrives_unchanged():
    (dz, dcodebook), theirs, dq = quantizer_gradients({"codebook": 0.0, "commitment": 0.0})
    np.testing.assert_array_equal(dz, dq)
    np.testing.assert_array_equal(theirs[0], dq)
    assert not dcodebook.any() and not theirs[1].any()


def test_each_term_moves_its_own_side():
    """β scales the commitment term. The codebook's gradient does not change and is not zero."""
    found = {}
    for beta in (0.0, 0.25, 1.0):
        ours, theirs, dq = quantizer_gradients({"codebook": 1.0, "commitment": beta})
        assert_close(ours[0], theirs[0], 1e-12, "∂L/∂z")
        assert_close(ours[1], theirs[1], 1e-12, "∂L/∂codebook")
        found[beta] = ours[0] - dq, ours[1]
    assert np.abs(found[1.0][1]).max() > 0.1
    np.testing.assert_array_equal(found[0.25][1], found[1.0][1])
    assert not found[0.0][0].any()
    assert np.abs(found[1.0][0]).max() > 0.1
    assert_close(found[0.25][0], 0.25 * found[1.0][0], 1e-12, "the commitment's part of ∂L/∂z")


def test_the_reversed_straight_through_line_quantizes_nothing():
    """The article prints z_q + (z − z_q).detach(), and computes both extra losses behind it."""
    ours, theirs = quantizers(0)
    z = np.random.default_rng(1).standard_normal((4, 3, 2, 3))
    z_torch = to_torch(z)
    codes = theirs.lookup(theirs.nearest(z_torch))

    reversed_line = codes + (z_torch - codes).detach()
    assert_close(reversed_line.detach(), z_torch.detach(), 1e-15, "what the decoder sees is z itself")
    assert F.mse_loss(reversed_line.detach(), z_torch).item() < 1e-30  # commitment
    assert F.mse_loss(reversed_line, z_torch.detach()).item() < 1e-30  # codebook
    reversed_line.square().sum().backward()
    assert z_torch.grad is None, "the encoder learns nothing"

    q, terms = ours.forward(z)
    assert np.abs(q - z).max() > 0.1
    assert set(map(tuple, q.reshape(-1, 3))) <= set(map(tuple, ours.codebook.value))
    assert terms["codebook"] > 0.1 and terms["commitment"] > 0.1
    q_torch, _ = theirs(z_torch)
    assert_close(q, to_numpy(q_torch), 1e-12, "q")
    q_torch.square().sum().backward()
    assert z_torch.grad.abs().max() > 0.1


def check_search(z, codebook, rounding, held=vector_quantizer.HELD):
    """Compare distances first, then the indices wherever no other code is as near up to rounding."""
    exact = ((z[:, None].astype(np.longdouble) - codebook[None]) ** 2).sum(-1)
    quantizer = torch_quantizers.VectorQuantizer(*codebook.shape, "normal", dtype=torch.from_numpy(codebook).dtype)
    quantizer.codebook.data = torch.from_numpy(codebook)
    sides = nearest_codes(z, codebook, held), quantizer.nearest(torch.from_numpy(z)).numpy()
    nearest, second = np.sort(exact, axis=1)[:, :2].T
    scale = (z.astype(np.longdouble) ** 2).sum(1) + (codebook.astype(np.longdouble) ** 2).sum(1).max()
    clear = second - nearest > rounding * scale
    for indices in sides:
        chosen = np.take_along_axis(exact, indices[:, None], 1)[:, 0]
        assert (chosen - nearest <= rounding * scale).all()
        np.testing.assert_array_equal(indices[clear], exact.argmin(1)[clear])
    assert clear.mean() > 0.9, "a search among ties alone proves little"


@pytest.mark.parametrize("dtype, rounding", [(np.float64, 1e-13), (np.float32, 1e-5)])
@drawn
@given(rows=st.integers(1, 60), codes=st.integers(2, 50), dim=st.integers(1, 8), seed=seeds)
def test_search(dtype, rounding, rows, codes, dim, seed):
    rng = np.random.default_rng(seed)
    z, codebook = rng.standard_normal((rows, dim)).astype(dtype), rng.standard_normal((codes, dim)).astype(dtype)
    # far more codes than a short line can tell apart in float32 would be near-ties: keep the codes at a distance
    codebook += 3 * np.arange(codes)[:, None].astype(dtype)
    z += 3 * rng.integers(0, codes, (rows, 1)).astype(dtype)
    check_search(z, codebook, rounding)


@pytest.mark.parametrize("block", [1, 40, 41 * 7, 2**21])
def test_search_in_blocks(monkeypatch, block):
    """The size of the blocks makes no difference on either side."""
    rng = np.random.default_rng(0)
    z, codebook = rng.standard_normal((100, 4)), rng.standard_normal((41, 4))
    monkeypatch.setattr(torch_quantizers, "SEARCH_ROWS", max(1, block // 41))
    check_search(z, codebook, 1e-13, held=block)


def test_search_of_a_code_itself_and_of_an_exact_tie():
    """Distances of zero, which rounding of the expanded square can make negative, and equal codes: the first counts."""
    rng = np.random.default_rng(0)
    codebook = rng.integers(-8, 8, (30, 6)).astype(float)  # small integers: every distance is exact
    codebook[20:] = codebook[:10]
    z = np.concatenate([codebook, codebook + 0.25])
    exact = ((z[:, None] - codebook) ** 2).sum(-1)
    assert (exact.argmin(1) < 20).all()
    np.testing.assert_array_equal(nearest_codes(z, codebook), exact.argmin(1))


@pytest.mark.parametrize(
    "init, deviation", [
        ("uniform", 2 / 50 / 12**0.5), ("normal", 1.0), ("xavier", (2 / 250) ** 0.5),
        ("variance_scaling", (1 / 200) ** 0.5)])
def test_initial_codebooks_have_one_distribution_on_both_sides(init, deviation):
    torch.manual_seed(0)
    for codebook in (
        vector_quantizer.initial_codebook(init, 50, 200, np.float32, np.random.default_rng(0)),
        torch_quantizers.VectorQuantizer(50, 200, init, torch.float32).codebook.numpy(force=True),
    ):
        assert codebook.dtype == np.float32
        assert codebook.std() == pytest.approx(deviation, rel=0.04)
        assert abs(codebook.mean()) < 4 * deviation / 100
        kurtosis = ((codebook / codebook.std()) ** 4).mean()
        assert kurtosis == pytest.approx(3.0 if init in ("normal", "xavier") else 1.8, rel=0.1)
        if bound := {"uniform": 1 / 50, "variance_scaling": (3 / 200) ** 0.5}.get(init):
            assert 0.99 * bound < np.abs(codebook).max() <= np.float32(bound)
