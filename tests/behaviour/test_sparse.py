"""What an L1 term does to a code, and what its value does not tell."""

import numpy as np
import pytest

from scratch.bottlenecks import L1, DenseBottleneck, SparseBottleneck
from scratch.training.trainer import Trainer
from tests.support.tiny import images, new_model, reconstruction_error, train


def test_the_subgradient_at_zero_is_zero_and_elsewhere_its_size_does_not_depend_on_z():
    l1, z = L1(), np.array([[3.0, -1e-9, 0.0], [-0.0, 2.0, 1e-300]])
    assert l1.forward(z) == pytest.approx((5 + 1e-9) / 2)
    np.testing.assert_array_equal(l1.backward(0.5), np.array([[1, -1, 0], [0, 1, 1]]) * 0.5 / 2)


def test_the_code_is_never_negative_and_its_zeros_are_counted():
    bottleneck = SparseBottleneck((2, 2, 4), 50, rng=np.random.default_rng(0))
    h = np.random.default_rng(1).standard_normal((8, 2, 2, 4)).astype(np.float32)
    _, terms = bottleneck.forward(h)
    z = bottleneck.encode(h)
    share = bottleneck.measured["share_of_zeros"]
    assert z.min() == 0 and share == (z == 0).mean(dtype=np.float32) and 0.3 < share < 0.7
    assert terms["l1"] == pytest.approx(z.sum() / 8, rel=1e-6)


def test_a_smaller_code_with_a_larger_decoder_is_no_sparser():
    """l1 alone tells little: with the same images and the same zeros it can be a hundredth as large."""
    model, x = new_model("ae", dtype=np.float64, sparsity=0.1), images(8).astype(np.float64)
    _, before = model.loss(x)
    zeros, image = float(model.bottleneck.measured["share_of_zeros"]), model.reconstruct(x)
    for parameter in (model.bottleneck.reduce.weight, model.bottleneck.reduce.bias):
        parameter.value /= 100
    model.bottleneck.expand.weight.value *= 100
    _, after = model.loss(x)
    np.testing.assert_allclose(model.reconstruct(x), image, rtol=1e-10)
    assert after["l1"] == pytest.approx(before["l1"] / 100) and model.bottleneck.measured["share_of_zeros"] == zeros


def test_a_larger_weight_makes_a_sparser_code_and_a_worse_picture():
    x, shares, errors = images(256), [], []
    for weight in (1e-4, 1.0):
        model = train(new_model("ae", sparsity=weight), x, epochs=8)
        model.loss(x)
        shares.append(float(model.bottleneck.measured["share_of_zeros"]))
        errors.append(reconstruction_error(model, x))
    assert shares[0] + 0.2 < shares[1] and errors[0] < errors[1]


@pytest.mark.parametrize("sparsity", [0, 0.0])
def test_without_a_weight_there_is_no_term_and_no_relu(sparsity):
    model, plain = new_model("ae", sparsity=sparsity), new_model("ae")
    assert type(model.bottleneck) is DenseBottleneck and model.weights == plain.weights == {"reconstruction": 1}
    np.testing.assert_array_equal(model.encode(images(4)), plain.encode(images(4)))
    assert set(Trainer(model, None, 0).evaluate(images(4), None)[0]) == {"loss", "reconstruction"}


def test_the_weight_follows_its_schedule():
    model = new_model("ae", sparsity="linear:0:1:10")
    model.at_step(5)
    assert model.weights["l1"] == 0.5 and isinstance(model.bottleneck, SparseBottleneck)
    with model.evaluating():
        assert model.weights["l1"] == 1.0
