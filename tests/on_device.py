"""The gradcheck cases on any device: the same numbers on each, drawn by NumPy."""

import numpy as np
import pytest

from scratch.arrays import to_device, to_host
from scratch.gradcheck import cases


class DeviceGenerator:
    """NumPy's generator, whose draws arrive on a device and in a dtype; so what is built of them is there."""

    def __init__(self, device, dtype, seed=0):
        self.device, self.dtype = device, dtype
        self.generator = np.random.default_rng(seed)

    def __getattr__(self, name):
        draw = getattr(self.generator, name)
        return lambda *args, **kwargs: to_device(np.asarray(draw(*args, **kwargs), self.dtype), self.device)


def run_case(case, device, dtype):
    """{name: NumPy array} of every output and every gradient of a case, under random upstream gradients."""
    rng = DeviceGenerator(device, dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cases, "DTYPE", dtype)
        operation = case.build(rng)
    outputs = operation.forward()
    found = {name: to_host(output).copy() for name, output in outputs.items()}
    gradients = operation.backward({name: rng.standard_normal(output.shape) for name, output in outputs.items()})
    return found | {f"gradient of {name}": to_host(gradient) for name, gradient in gradients.items()}
