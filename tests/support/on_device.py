"""The gradcheck cases on any device: the same numbers on each, drawn by NumPy."""

from dataclasses import replace

import numpy as np

from scratch.arrays import to_device, to_host
from scratch.gradcheck.differences import Trial


class DeviceGenerator:
    """NumPy's generator, with its draws moved to a device and a dtype, and with them all that is built from them."""

    def __init__(self, device, dtype, seed=0):
        self.device, self.dtype = device, dtype
        self.generator = np.random.default_rng(seed)

    def __getattr__(self, name):
        draw = getattr(self.generator, name)
        return lambda *args, **kwargs: to_device(np.asarray(draw(*args, **kwargs), self.dtype), self.device)


def try_case(case, device, dtype, form=lambda module: module):
    """(outputs, Trial) of a case computed on a device, with its module in a form. Both hold copies as NumPy arrays.
    """
    rng = DeviceGenerator(device, dtype)
    operation = case.of_dtype(dtype).build(rng)
    if operation.module is not None:
        form(operation.module)
    outputs = operation.forward()
    found = on_host(outputs)  # before backward, which may write into what it was given
    upstream = {name: rng.standard_normal(output.shape) for name, output in outputs.items()}
    given = on_host(upstream)
    gradients = on_host(operation.backward(upstream))
    operation = replace(operation, tensors=on_host(operation.tensors), constants=on_host(operation.constants))
    return found, Trial(operation, given, gradients)


def on_host(arrays):
    return {name: array if array is None else to_host(array).copy() for name, array in arrays.items()}


def run_case(case, device, dtype, form=lambda module: module):
    """{name: NumPy array} of every output and every gradient of a case computed on a device."""
    outputs, trial = try_case(case, device, dtype, form)
    return outputs | {f"gradient of {name}": gradient for name, gradient in trial.gradients.items()}
