"""The downstream instruments: finite differences, definitions written out, and cases whose answer is known."""

import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import mannwhitneyu

from data_utils import Data, shapes
from scratch.accelerate.cpu.threads import Threads
from scratch.instruments import anomaly, probe, retrieval, vectors
from scratch.instruments.anomaly import auroc
from scratch.instruments.bits import code_bits, entropy_bits
from scratch.instruments.vectors import Vectors, labels, latent_vectors
from scratch.layers.softmax import log_softmax
from scratch.options.errors import InputError
from tests.support.tiny import images, new_model, train

# --- vectors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ae", "vae", "vqvae", "vqvae2", "dvae"])
def test_the_vectors_are_what_the_decoder_is_given(name):
    """The code vectors, put back into their grids, decode to the reconstruction."""
    model, x = new_model(name), images(3)
    found, bottleneck = latent_vectors(model, x), model.bottleneck
    assert found.shape == (3, {"ae": 32, "vae": 32, "vqvae2": 8 * (16 + 64)}.get(name, 8 * 16))
    if name in ("ae", "vae"):
        np.testing.assert_array_equal(found, model.encode(x))
        return
    with model.evaluating():
        if name == "vqvae2":
            h = bottleneck.features(found[:, :128].reshape(3, 4, 4, 8), found[:, 128:].reshape(3, 8, 8, 8))
        else:
            h = bottleneck.expand.forward(found.reshape(3, 4, 4, 8))
        decoded = model.reconstruction.mean(model.decoder.forward(h))
    np.testing.assert_allclose(decoded, model.reconstruct(x), rtol=1e-5, atol=1e-6)


def drawn_shapes(train=60, held_out=30):
    parts = [shapes(count, size=16, stream=stream) for stream, count in enumerate((train, held_out))]
    (one, factors), (other, held_out_factors) = parts
    return Data("shapes", one, other, factors, held_out_factors)


def test_pixels_and_components_are_those_of_the_images():
    data = drawn_shapes()
    pixels, components = vectors.of_pixels(data), vectors.of_components(data, 5)
    np.testing.assert_allclose(pixels.held_out, data.held_out.reshape(30, -1) / 255)
    centred = pixels.train - pixels.train.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    expected = (pixels.held_out - pixels.train.mean(axis=0)) @ directions[:5].T
    np.testing.assert_allclose(abs(components.held_out), abs(expected), atol=1e-9)
    assert components.numbers == 5 and vectors.of_components(data, 768) is None


def test_labels_are_the_factors_that_are_classes(monkeypatch):
    monkeypatch.setattr(vectors, "TRAINING", 50)
    data = drawn_shapes()
    (name, (train, held_out)), = labels(data).items()
    assert name == "shape" and len(train) == 50 and len(held_out) == 30
    with pytest.raises(InputError, match="pictures have no labels"):
        labels(Data("pictures", data.train, data.held_out, {}, {}))


# --- the linear probe -------------------------------------------------------------------------------------------------


def drawn_problem(rng, N=40, D=3, K=4):
    return rng.standard_normal((N, D)), rng.integers(0, K, N), rng.standard_normal((D + 1, K))


def test_the_probe_s_gradient_is_that_of_finite_differences():
    x, y, weights = drawn_problem(np.random.default_rng(0))
    _, gradient = probe.loss_and_gradient(weights, x, y, 0.3)
    numeric = approx_fprime(weights.ravel(), lambda flat: probe.loss_and_gradient(flat.reshape(4, 4), x, y, 0.3)[0])
    np.testing.assert_allclose(gradient.ravel(), numeric, atol=1e-6)


@pytest.mark.parametrize("block, part, parts", [(3, 1, 1), (9, 2, 3), (10**6, 4, 8)])
def test_blocks_and_threads_change_no_loss_and_no_gradient(monkeypatch, block, part, parts):
    """40 rows of 3 numbers: blocks of one row, of three, and one block. Threads add no rounding errors of their own."""
    x, y, weights = drawn_problem(np.random.default_rng(3))
    for name, value in {"CACHED": 0, "BLOCK": block, "PART": part, "PARTS": parts}.items():
        monkeypatch.setattr(probe, name, value)
    log_p = log_softmax(x @ weights[:-1] + weights[-1])
    expected = -log_p[np.arange(40), y].mean() + 0.15 * (weights[:-1] ** 2).sum()
    loss, gradient = probe.loss_and_gradient(weights, x, y, 0.3)
    assert loss == pytest.approx(expected, rel=1e-14)
    numeric = approx_fprime(weights.ravel(), lambda flat: probe.loss_and_gradient(flat.reshape(4, 4), x, y, 0.3)[0])
    np.testing.assert_allclose(gradient.ravel(), numeric, atol=1e-6)
    for count in (1, 2, 3):
        shared = probe.loss_and_gradient(weights, x, y, 0.3, Threads(count).map)
        assert shared[0] == loss and np.array_equal(shared[1], gradient)


def test_the_loss_of_no_knowledge_and_the_penalty_of_all_weights_but_the_bias():
    x, y, weights = drawn_problem(np.random.default_rng(0))
    assert probe.loss_and_gradient(0 * weights, x, y, 1.0)[0] == pytest.approx(np.log(4))
    bare, penalised = (probe.loss_and_gradient(weights, x, y, penalty)[0] for penalty in (0, 2.0))
    assert penalised - bare == pytest.approx((weights[:-1] ** 2).sum())


def test_the_fit_is_the_minimum():
    """The function is convex: the gradient is zero at the result, wherever the search began."""
    rng = np.random.default_rng(1)
    x, y, start = drawn_problem(rng)
    one, other = (probe.fit(x, y, 0.1, begin) for begin in (start, np.zeros_like(start)))
    assert np.abs(probe.loss_and_gradient(one, x, y, 0.1)[1]).max() < 1e-3
    np.testing.assert_allclose(one[:-1], other[:-1], atol=5e-3)


def test_without_features_the_probe_knows_how_frequent_the_labels_are():
    y = np.repeat([0, 1, 2], [5, 3, 2])
    weights = probe.fit(np.zeros((10, 2)), y, 0.1, np.zeros((3, 3)))
    p = np.exp(weights[-1]) / np.exp(weights[-1]).sum()
    np.testing.assert_allclose(p, [0.5, 0.3, 0.2], atol=1e-3)
    assert probe.chance(y, np.array([0, 0, 1, 2])) == 0.5


def test_a_probe_reads_what_is_linear_and_cannot_what_is_not():
    rng = np.random.default_rng(2)
    x, unseen = rng.standard_normal((500, 2)), rng.standard_normal((400, 2))
    scale = np.array([1e3, 1e-3])  # standardising takes it away
    cases = (lambda z: z[:, 0] + z[:, 1] > 0, 0.97, 1.0), (lambda z: z[:, 0] * z[:, 1] > 0, 0.3, 0.7)
    for read, least, most in cases:
        found = probe.linear_probe(x * scale + 7, read(x).astype(int), unseen * scale + 7, read(unseen).astype(int))
        assert least <= found["accuracy"] <= most and found["penalty"] in probe.PENALTIES


def test_labels_need_not_be_counted_from_0_and_a_label_never_trained_on_is_never_found():
    x = np.repeat(np.eye(2), 20, axis=0)
    found = probe.linear_probe(x, np.repeat([7, 3], 20), np.eye(2)[[0, 1, 1, 0]], np.array([7, 3, 3, 5]))
    assert found["accuracy"] == 0.75


def test_standardised_by_the_training_rows():
    train, other = probe.standardised(np.array([[1.0, 5], [3, 5]]), np.array([[5.0, 6]]))
    np.testing.assert_array_equal(train, [[-1, 0], [1, 0]])
    np.testing.assert_array_equal(other, [[3, 1]])


# --- neighbours -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [lambda rng, n: rng.standard_normal((n, 3)),
                                  lambda rng, n: rng.integers(0, 3, (n, 3)).astype(float)], ids=["free", "tied"])
def test_neighbours_are_those_of_the_whole_table_of_distances(monkeypatch, draw):
    """The block size does not divide the number of queries. Of equally near images the first counts."""
    monkeypatch.setattr(retrieval, "BLOCK", 7)
    rng = np.random.default_rng(0)
    train, queries = draw(rng, 50), draw(rng, 20)
    distances = ((queries[:, None] - train) ** 2).sum(axis=2)
    expected = distances.argsort(axis=1, kind="stable")[:, :6]
    np.testing.assert_array_equal(retrieval.nearest(train, queries, 6), expected)
    np.testing.assert_array_equal(retrieval.nearest(train, queries, 6, Threads(2).map), expected)


def test_votes_go_to_the_most_and_of_equally_many_to_the_nearer():
    assert retrieval.votes(np.array([[1, 2, 2], [3, 1, 2], [2, 1, 1], [5, 4, 4]])).tolist() == [2, 3, 1, 4]
    assert retrieval.votes(np.array([[1, 2, 2, 1]])).tolist() == [1]


def test_retrieval_by_the_label_itself_finds_all_and_by_another_none():
    data = drawn_shapes()
    known, asked = data.factors["shape"], data.held_out_factors["shape"]
    perfect = Vectors("labels", np.eye(4)[known], np.eye(4)[asked])
    assert set(retrieval.retrieval(perfect, data)["shape"].values()) == {1.0}
    shifted = Vectors("labels", np.eye(4)[known], np.eye(4)[(asked + 1) % 4])
    assert set(retrieval.retrieval(shifted, data)["shape"].values()) == {0.0}


# --- anomaly detection ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [3, 10**6], ids=["many ties", "hardly any"])
def test_auroc_is_the_share_of_pairs_in_the_right_order(levels):
    rng = np.random.default_rng(0)
    inside, outside = rng.integers(0, levels, 40), rng.integers(0, levels, 25) + levels // 3
    pairs = [(out > inner) + 0.5 * (out == inner) for out, inner in itertools.product(outside, inside)]
    assert auroc(inside, outside) == pytest.approx(np.mean(pairs), rel=1e-12)
    assert auroc(inside, outside) == pytest.approx(mannwhitneyu(outside, inside).statistic / 1000, rel=1e-12)
    assert auroc(outside, inside) == pytest.approx(1 - auroc(inside, outside), rel=1e-12)


def test_auroc_of_what_is_known():
    assert auroc([1, 2], [3, 4, 5]) == 1 and auroc([3, 4], [1, 2]) == 0 and auroc([1, 1, 1], [1, 1]) == 0.5


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(InputError, match=r"AUROC needs SciPy.*pip install scipy"):
        auroc([1], [2])


def test_bits_of_codes_add_up_to_their_entropy():
    codes = np.random.default_rng(0).integers(0, 5, (30, 2, 2))
    bits = code_bits(codes, 8)
    assert (2.0**-bits).sum() == pytest.approx(1)
    assert bits[codes].reshape(30, -1).sum(axis=1).mean() == pytest.approx(entropy_bits(codes, codes, 8))


def test_pixel_variances():
    pixels = np.array([0, 255, 0, 255, 7, 7, 7, 7], np.uint8).reshape(2, 2, 2, 1)
    np.testing.assert_allclose(anomaly.pixel_variances(pixels), [0.25, 0])


def test_noise_is_told_from_shapes_by_an_autoencoder_that_has_learned_them():
    """A code of 32 numbers can hold almost nothing of 768 random numbers, whose variance is 1/12."""
    model = train(new_model("ae"), images(256), epochs=12)
    trained = SimpleNamespace(model=model, in_batches=lambda function, x: function(x))
    noise = np.random.default_rng(0).random((20, 16, 16, 3), np.float32)
    inside, outside = (anomaly.squared_errors(trained, x) for x in (images(40, stream=1), noise))
    assert outside.min() > 50 and auroc(inside, outside) > 0.95
