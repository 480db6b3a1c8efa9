"""The vector quantizer: nearest codes, straight-through, and what each term moves."""

import math
import tracemalloc

import numpy as np
import pytest

from scratch.bottlenecks import VectorQuantizedBottleneck, VectorQuantizer
from scratch.bottlenecks.vector_quantizer import code_counts, initial_codebook, nearest_codes, perplexity

K, D = 7, 4


def quantizer_and_latents(seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return VectorQuantizer(K, D, "normal", dtype=dtype, rng=rng), rng.standard_normal((3, 5, 2, D)).astype(dtype)


# --- forward ----------------------------------------------------------------------------------------------------------


def test_indices_are_the_nearest_codes_by_brute_force():
    for seed in range(20):
        quantizer, z = quantizer_and_latents(seed)
        distances = ((z[..., None, :] - quantizer.codebook.value) ** 2).sum(axis=-1)
        np.testing.assert_array_equal(quantizer.nearest(z), distances.argmin(axis=-1))


def test_in_float32_the_chosen_code_is_as_near_as_rounding_allows():
    """Ties may fall either way (trap 16): compare distances, not indices."""
    rng = np.random.default_rng(0)
    z, codebook = rng.standard_normal((500, 16), np.float32), rng.standard_normal((64, 16), np.float32)
    distances = ((z[:, None].astype(np.float64) - codebook) ** 2).sum(axis=-1)
    chosen = distances[np.arange(500), nearest_codes(z, codebook)]
    np.testing.assert_allclose(chosen, distances.min(axis=1), rtol=1e-5)


def test_a_tie_goes_to_the_first_code():
    codebook = np.array([[5.0, 5.0], [1.0, 0.0], [1.0, 0.0]])
    assert nearest_codes(np.array([[1.0, 0.1]]), codebook) == [1]


def test_the_decoder_sees_code_vectors_and_both_terms_are_the_squared_distance():
    """With the straight-through line reversed (trap 11), q would be z and both terms zero."""
    quantizer, z = quantizer_and_latents()
    q, terms = quantizer.forward(z)
    np.testing.assert_array_equal(q, quantizer.codebook.value[quantizer.indices])
    expected = ((z - q) ** 2).sum() / len(z)
    assert expected > 1
    assert terms["codebook"] == terms["commitment"] == pytest.approx(expected, rel=1e-14)


def test_the_terms_are_never_negative_even_where_the_expanded_distance_would_be():
    """‖z‖² − 2 z·e + ‖e‖² of nearly equal long vectors rounds below zero (trap 16); (z − e)² cannot."""
    quantizer, _ = quantizer_and_latents(dtype=np.float32)
    quantizer.codebook.value[...] = 1000 * np.arange(1, K + 1, dtype=np.float32)[:, None] + 0.3
    z = quantizer.codebook.value[None] * np.float32(1 + 1e-7)
    _, terms = quantizer.forward(z)
    np.testing.assert_array_equal(quantizer.indices, [range(K)])
    assert 0 <= terms["commitment"] < 1


@pytest.mark.parametrize("block", [1, 50, 10**9])
def test_search_in_blocks_is_search_at_once(block):
    rng = np.random.default_rng(0)
    z, codebook = rng.standard_normal((101, 8)), rng.standard_normal((13, 8))
    expected = ((z[:, None] - codebook) ** 2).sum(axis=-1).argmin(axis=1)
    np.testing.assert_array_equal(nearest_codes(z, codebook, held=block), expected)


def test_search_holds_a_block_of_distances_and_no_more():
    N, K, D = 8192, 512, 32
    rng = np.random.default_rng(0)
    z, codebook = rng.standard_normal((N, D), np.float32), rng.standard_normal((K, D), np.float32)
    tracemalloc.start()
    nearest_codes(z, codebook, held=2**17)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * N * K / 4  # not even a quarter of all distances, let alone the D times as much of all differences


# --- backward ---------------------------------------------------------------------------------------------------------


def gradients(dq, codebook, commitment, seed=0):
    quantizer, z = quantizer_and_latents(seed)
    q, _ = quantizer.forward(z)
    dz = quantizer.backward(dq, {"codebook": codebook, "commitment": commitment})
    return dz, quantizer.codebook.grad, z - q, quantizer.indices


def test_gradient_in_is_gradient_out_plus_commitment():
    dq = np.random.default_rng(1).standard_normal((3, 5, 2, D))
    dz, _, _, _ = gradients(dq, codebook=1.0, commitment=0.0)
    np.testing.assert_array_equal(dz, dq)
    dz, _, residual, _ = gradients(dq, codebook=1.0, commitment=0.25)
    np.testing.assert_allclose(dz - dq, 0.25 * 2 * residual / 3, rtol=1e-12)


def test_the_codebook_gradient_is_the_scatter_of_the_residuals():
    dq = np.random.default_rng(1).standard_normal((3, 5, 2, D))
    _, de, residual, indices = gradients(dq, codebook=0.5, commitment=0.25)
    expected = np.zeros((K, D))
    for position in np.ndindex(indices.shape):
        expected[indices[position]] += 0.5 * 2 * -residual[position] / 3
    np.testing.assert_allclose(de, expected, rtol=1e-12, atol=1e-15)
    assert np.abs(de).max() > 0.1  # the codebook does learn (trap 4)


def test_beta_belongs_to_the_commitment_term():
    """The codebook's gradient depends neither on β nor on the decoder's gradient (trap 3)."""
    dq = np.random.default_rng(1).standard_normal((3, 5, 2, D))
    _, plain, _, _ = gradients(0 * dq, codebook=1.0, commitment=0.0)
    _, weighted, _, _ = gradients(dq, codebook=1.0, commitment=100.0)
    np.testing.assert_array_equal(plain, weighted)


def test_unused_codes_get_a_zero_gradient():
    quantizer, z = quantizer_and_latents()
    quantizer.codebook.value[2] = 1e3
    q, _ = quantizer.forward(z)
    quantizer.backward(np.ones_like(q), {"codebook": 1.0, "commitment": 0.25})
    used = np.isin(np.arange(K), quantizer.indices)
    assert not used[2]
    assert (quantizer.codebook.grad[~used] == 0).all()
    assert (quantizer.codebook.grad[used] != 0).all()


def test_descending_the_codebook_term_brings_codes_to_the_mean_of_their_vectors():
    quantizer, z = quantizer_and_latents()
    indices = quantizer.nearest(z)
    for _ in range(200):
        quantizer.codebook.grad = None
        quantizer.forward(z, indices)
        quantizer.backward(np.zeros_like(z), {"codebook": 1.0, "commitment": 0.0})
        quantizer.codebook.value -= 0.05 * quantizer.codebook.grad
    for code in np.unique(indices):
        np.testing.assert_allclose(quantizer.codebook.value[code], z[indices == code].mean(axis=0), atol=1e-2)


# --- codes and counts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts, expected", [
    ([5, 5, 5, 5], 4),
    ([9, 0, 0, 0], 1),
    ([3, 3, 0, 0], 2),
    ([2, 1, 1, 0], 2**1.5),
])
def test_perplexity_of_hard_counts_with_unused_codes(counts, expected):
    """0 · log 0 counts as 0; naive code gives NaN (trap 15)."""
    assert perplexity(np.array(counts)) == pytest.approx(expected, rel=1e-12)


def test_code_counts():
    indices = np.array([[0, 3], [3, 5]])
    np.testing.assert_array_equal(code_counts(indices, 7), [1, 0, 0, 2, 0, 1, 0])


def fraction_beyond(codebook, bound):
    return (np.abs(codebook) > bound).mean()


def test_codebook_initialisations_have_their_distributions():
    """The second moment, and the share beyond 2σ, which is 4.55 % for a normal distribution and differs for others."""
    K, D = 400, 100
    deviations = {"uniform": 1 / (K * math.sqrt(3)), "normal": 1.0, "xavier": math.sqrt(2 / (K + D))}
    for how, sigma in deviations.items():
        codebook = initial_codebook(how, K, D, np.float64, np.random.default_rng(0))
        assert codebook.shape == (K, D)
        assert abs(codebook.mean()) < 5 * sigma / math.sqrt(K * D)
        assert codebook.std() == pytest.approx(sigma, rel=0.02)
        if how == "uniform":
            assert 0.999 / K < np.abs(codebook).max() <= 1 / K
            assert fraction_beyond(codebook, 0.5 / K) == pytest.approx(0.5, abs=0.02)
        else:
            assert fraction_beyond(codebook, 2 * sigma) == pytest.approx(0.0455, abs=0.005)


def test_an_unknown_initialisation_is_refused():
    with pytest.raises(ValueError, match="uniform, normal, xavier or variance_scaling, not 'orthogonal'"):
        VectorQuantizer(K, D, "orthogonal")


def test_an_interpolated_code_is_the_nearest_to_the_point_between():
    bottleneck = VectorQuantizedBottleneck((1, 1, 3), 3, 2)
    bottleneck.quantizer.codebook.value[...] = [[0, 0], [1, 0.1], [2, 0]]
    a, b = np.array([[[0]]]), np.array([[[2]]])
    assert [int(bottleneck.mix(a, b, t)[0, 0, 0]) for t in (0.0, 0.2, 0.5, 0.8, 1.0)] == [0, 0, 1, 2, 2]
