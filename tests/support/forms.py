"""A layer in its plain and in its accelerated form."""

from scratch.accelerate import accelerate


def both_forms(layer, x, rng):
    """(plain, accelerated): the layer's results in each form, for the same input and upstream gradient."""
    y = layer.forward(x)
    dy = rng.standard_normal(y.shape).astype(y.dtype)
    plain = {"y": y, "dx": layer.backward(dy), **layer.grad_dict()}
    layer.zero_grad()
    accelerate(layer, least_channels=1)
    return plain, {"y": layer.forward(x), "dx": layer.backward(dy), **layer.grad_dict()}
