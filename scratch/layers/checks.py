"""What a layer checks before it computes: the shape, dtype and device of its input, and that sizes are integers."""

from scratch.arrays import array_module, is_integer


def check_shape(layer, x, shape):
    """Raise ValueError if x has another shape. In `shape` a name stands for any size: ("N", "H", "W", 3). A leading
    "..." stands for one axis or more: ("...", 3)."""
    if shape[0] == "..." and x.ndim >= len(shape):
        shape = ("N", *(f"D{axis}" for axis in range(1, x.ndim - len(shape) + 1)), *shape[1:])
    fixed = [(axis, size) for axis, size in enumerate(shape) if not isinstance(size, str)]
    if x.ndim != len(shape) or any(x.shape[axis] != size for axis, size in fixed):
        expected = ", ".join(map(str, shape))
        raise ValueError(f"{type(layer).__name__} takes an input of shape ({expected}), got {tuple(x.shape)}")


def check_floating(layer, *inputs):
    """Raise TypeError unless all inputs are floating-point arrays of one dtype. In uint8, 2 − 3 would be 255."""
    for x in inputs:
        array_module(x)  # raises TypeError unless x is an array
        if x.dtype.kind != "f":
            raise TypeError(f"{type(layer).__name__} takes floating-point numbers, got {x.dtype}: convert them first, "
                            f"as with astype(np.float32)")
        if x.dtype != inputs[0].dtype:
            raise TypeError(f"{type(layer).__name__} takes inputs of one dtype, got {inputs[0].dtype} and {x.dtype}: "
                            f"convert one of them")


def check_input(layer, x, shape, weight):
    """Raise ValueError or TypeError if x has another shape, or another dtype or device than the weight.

    Otherwise NumPy would broadcast or upcast x without a word.
    """
    check_shape(layer, x, shape)
    name = type(layer).__name__
    if x.dtype != weight.dtype:
        raise TypeError(f"{name} has {weight.dtype} weights, got a {x.dtype} input: convert one of them")
    check_floating(layer, x)
    if array_module(x) is not array_module(weight):
        raise TypeError(f"{name} has its weights on another device than its input: move one of them")


def size(value, name, least=1):
    """The value as a Python int. Raises ValueError, with `name`, unless it is an integer ≥ least."""
    if not is_integer(value) or value < least:
        raise ValueError(f"{name} takes an integer ≥ {least}, got {value!r}")
    return int(value)
