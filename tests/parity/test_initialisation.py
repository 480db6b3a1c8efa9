"""The default initialisation has PyTorch's distribution: U(−1/√fan_in, 1/√fan_in), for weights and biases."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from scratch import layers

CASES = [  # name, arguments, fan_in as PyTorch counts it
    ("Linear", (12, 4000), 12),
    ("Conv2d", (3, 4000, (2, 3)), 3 * 2 * 3),
    ("Conv2d", (5, 4000, 1), 5),
    ("ConvTranspose2d", (3, 4000, (2, 3)), 4000 * 2 * 3),  # of a transposed one: its outputs
]


def distance_from_uniform(values, bound):
    """√n · sup |empirical distribution − U(−bound, bound)|; above 1.95 in one of a thousand samples of n values."""
    values = np.sort(values.ravel())
    n = len(values)
    cumulative = (values / bound + 1) / 2
    return math.sqrt(n) * max((np.arange(1, n + 1) / n - cumulative).max(), (cumulative - np.arange(n) / n).max())


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
