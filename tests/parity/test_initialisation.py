"""The initialisations on both sides. The default has PyTorch's distribution, U(−1/√fan_in, 1/√fan_in), for weights and
biases. The other is Sonnet's, a normal distribution with deviation 1/√fan_in, cut off at two deviations."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from scratch import layers
from scratch.layers.initialisation import initialise_truncated_normal
from tests.support.beside_torch import build_torch
from tests.support.models import build, run_options
from torch_ref.layers.initialisation import start_from_truncated_normal

CASES = [  # name, arguments, fan_in as PyTorch counts it
    ("Linear", (12, 4000), 12),
    ("Conv2d", (3, 4000, (2, 3)), 3 * 2 * 3),
    ("Conv2d", (5, 4000, 1), 5),
    ("ConvTranspose2d", (3, 4000, (2, 3)), 4000 * 2 * 3),  # of a transposed one: its outputs
]


def distance(values, distribution):
    """√n · sup |empirical distribution − distribution|; above 1.95 in one of a thousand samples of n values."""
    values = np.sort(values.ravel())
    n = len(values)
    cumulative = distribution(values)
    return math.sqrt(n) * max((np.arange(1, n + 1) / n - cumulative).max(), (cumulative - np.arange(n) / n).max())


def distance_from_uniform(values, bound):
    return distance(values, lambda v: (v / bound + 1) / 2)


def distance_from_truncated_normal(values, deviation):
    erf = np.vectorize(math.erf)
    return distance(values, lambda v: (erf(v / deviation / math.sqrt(2)) / math.erf(math.sqrt(2)) + 1) / 2)


@pytest.mark.parametrize("name, arguments, fan_in", CASES)
def test_weight_and_bias(name, arguments, fan_in):
    torch.manual_seed(0)
    ours = getattr(layers, name)(*arguments, rng=np.random.default_rng(0)).state_dict()
    theirs = {key: value.numpy() for key, value in getattr(nn, name)(*arguments).state_dict().items()}
    assert ours.keys() == theirs.keys() == {"weight", "bias"}
    bound = 1 / math.sqrt(fan_in)
    for side in (ours, theirs):
        for values in side.values():
            assert values.dtype == np.float32
            assert 0.99 * bound < np.abs(values).max() <= np.float32(bound)
            assert distance_from_uniform(values, bound) < 1.95


def test_the_measure_tells_distributions_apart():
    rng = np.random.default_rng(0)
    assert distance_from_uniform(rng.uniform(-1, 1, 4000), 1) < 1.95
    assert distance_from_uniform(rng.uniform(-0.9, 0.9, 4000), 1) > 1.95
    assert distance_from_uniform(rng.normal(0, 3**-0.5, 4000), 1) > 1.95


@pytest.mark.parametrize("name, arguments, fan_in", [
    ("Linear", (12, 4000), 12),
    ("Conv2d", (3, 4000, (2, 3)), 3 * 2 * 3),
    ("ConvTranspose2d", (4000, 3, (2, 3)), 4000 * 2 * 3),  # here: its inputs
])
def test_truncated_normal(name, arguments, fan_in):
    ours = getattr(layers, name)(*arguments, rng=np.random.default_rng(0))
    initialise_truncated_normal(ours, np.random.default_rng(0))
    torch.manual_seed(0)
    theirs = getattr(nn, name)(*arguments).apply(start_from_truncated_normal)
    for state in (ours.state_dict(), {key: value.numpy() for key, value in theirs.state_dict().items()}):
        values, deviation = state["weight"], 1 / math.sqrt(fan_in)
        assert values.dtype == np.float32
        assert 1.99 * deviation < np.abs(values).max() <= np.float32(2 * deviation)
        assert distance_from_truncated_normal(values.astype(float), deviation) < 1.95
        assert distance_from_uniform(values, 2 * deviation) > 1.95
        assert not state["bias"].any()


@pytest.mark.parametrize("model", ["ae", "vae", "vqvae", "vqvae2"])
def test_a_model_begins_so_with_its_codebook_as_it_was(model):
    chosen = run_options(model)
    plain = build(model, (16, 16, 3), chosen, rng=np.random.default_rng(0)).state_dict()
    chosen["weight_init"] = "truncated_normal"
    ours = build(model, (16, 16, 3), chosen, rng=np.random.default_rng(0)).state_dict()
    theirs = build_torch(model, (16, 16, 3), chosen).state_dict()
    assert ours.keys() == plain.keys() == theirs.keys()
    for name, values in ours.items():
        if name.endswith("codebook"):
            assert (values == plain[name]).all()
        elif name.endswith("bias"):
            assert not values.any() and not theirs[name].any()
        else:
            assert (values != plain[name]).mean() > 0.99
            assert np.std(values) == pytest.approx(theirs[name].std().item(), rel=0.15)  # of 96 numbers and more
