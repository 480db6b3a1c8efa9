"""Layers, plain and accelerated, and the loops that define convolution."""

from dataclasses import replace

from scratch import layers
from scratch.accelerate import accelerate
from scratch.gradcheck.cases.case import add, away_from_zero, normal, of_forward, well_apart
from scratch.gradcheck.differences import Operation
from scratch.layers import conv_definition
from scratch.module import Sequential

DRAWS = {"ReLU": away_from_zero, "LeakyReLU": away_from_zero, "MaxPool2d": well_apart}


def layer(case, rng):
    """y = layer(x)."""
    kind = getattr(layers, case.name)
    weighted = case.name in ("Linear", "Conv2d", "ConvTranspose2d")
    module = kind(**case.arguments, **(dict(dtype=case.dtype, rng=rng) if weighted else {}))
    x = DRAWS.get(case.name, normal)(case.shape, rng)
    return of_forward(module, {"x": x}, "y")


def accelerated_layer(case, rng):
    """The same layer in its accelerated form (scratch/accelerate), which training uses for many channels."""
    operation = layer(replace(case, name=case.name.removeprefix("Accelerated")), rng)
    accelerate(operation.module, least_channels=1)
    return operation


def norm(case, rng):
    """y = norm(x), with scales and shifts that are not 1 and 0."""
    module = getattr(layers, case.name)(**case.arguments, dtype=case.dtype)
    for part in (module.weight, module.bias):
        part.value = normal(part.value.shape, rng)
    for name, draw in (("running_mean", normal), ("running_var", away_from_zero)):
        if hasattr(module, name):  # on the device of the rest; squared, as a variance is positive
            getattr(module, name).value = draw(module.weight.value.shape, rng) ** 2
    return of_forward(module, {"x": normal(case.shape, rng)}, "y")


def definition(case, rng):
    """conv_definition.py's loops: y = convolution(x, w, b), with the weights in the layer's own layout."""
    twin = {"conv2d_definition": layers.Conv2d, "conv_transpose2d_definition": layers.ConvTranspose2d}[case.name]
    function = getattr(conv_definition, case.name.removesuffix("_definition"))
    function_backward = getattr(conv_definition, case.name.replace("_definition", "_backward"))
    geometry = {name: case.arguments[name] for name in ("stride", "padding")}
    initial = twin(**case.arguments, dtype=case.dtype, rng=rng)
    x, w, b = normal(case.shape, rng), initial.weight.value, initial.bias.value

    def backward(upstream):
        return dict(zip(("x", "weight", "bias"), function_backward(upstream["y"], x, w, **geometry), strict=True))

    return Operation({"x": x, "weight": w, "bias": b}, lambda: {"y": function(x, w, b, **geometry)}, backward,
                     methods={"forward": function, "backward": function_backward})


def residual_block(case, rng):
    """y = ResidualBlock(x), where no input of either ReLU is near 0: a step moves one by about 1e-4."""
    module = layers.ResidualBlock(**case.arguments, dtype=case.dtype, rng=rng)
    first, second = [at for at, part in enumerate(module.branch.layers) if isinstance(part, layers.ReLU)]

    def nearest_to_a_kink(x):
        return min(abs(Sequential(*module.branch.layers[:relu]).forward(x)).min() for relu in (first, second))

    def draw():
        for part in module.modules():
            if isinstance(part, layers.GroupNorm):  # random scales and shifts, on the device of the rest
                part.weight.value, part.bias.value = (normal(part.bias.value.shape, rng) for _ in range(2))
        return away_from_zero(case.shape, rng)

    x = draw()
    while nearest_to_a_kink(x) < 0.01:
        x = draw()
    return of_forward(module, {"x": x}, "y")


def concatenate(case, rng):
    """y = Concatenate(a, b), where b has one channel more than a."""
    module = layers.Concatenate()
    *grid, A = case.shape
    a, b = normal((*grid, A), rng), normal((*grid, A + 1), rng)
    return of_forward(module, {"a": a, "b": b}, "y")


add(
    layer, "Linear", (5, 4),
    dict(in_features=4, out_features=3),
    dict(in_features=4, out_features=3, bias=False),
)
add(
    layer, "Conv2d", (2, 7, 8, 3),
    dict(in_channels=3, out_channels=4, kernel_size=1),
    dict(in_channels=3, out_channels=4, kernel_size=4, stride=2, padding=1),
    dict(in_channels=3, out_channels=2, kernel_size=(3, 5), stride=(2, 1), padding=(1, 2)),
    dict(in_channels=3, out_channels=2, kernel_size=(3, 2), stride=(1, 3), padding=(2, 0), dilation=(2, 3)),
    dict(in_channels=3, out_channels=4, kernel_size=3, stride=2, bias=False),
)
add(
    layer, "ConvTranspose2d", (2, 4, 3, 3),
    dict(in_channels=3, out_channels=4, kernel_size=1),
    dict(in_channels=3, out_channels=4, kernel_size=4, stride=2, padding=1),
    dict(in_channels=3, out_channels=2, kernel_size=(3, 5), stride=(2, 1), padding=(1, 2)),
    dict(in_channels=3, out_channels=2, kernel_size=3, stride=(3, 2), padding=1, output_padding=(2, 1)),
    dict(in_channels=3, out_channels=2, kernel_size=(3, 2), stride=(1, 3), dilation=(2, 3), output_padding=(1, 2)),
    dict(in_channels=3, out_channels=4, kernel_size=3, stride=2, bias=False),
)
add(
    definition, "conv2d_definition", (2, 5, 4, 2),
    dict(in_channels=2, out_channels=3, kernel_size=(3, 2), stride=(2, 1), padding=(1, 0)),
)
add(
    definition, "conv_transpose2d_definition", (2, 3, 4, 2),
    dict(in_channels=2, out_channels=3, kernel_size=(3, 2), stride=(2, 1), padding=(1, 0)),
)
add(
    accelerated_layer, "AcceleratedConv2d", (2, 7, 8, 3),
    dict(in_channels=3, out_channels=4, kernel_size=4, stride=2, padding=1),
    dict(in_channels=3, out_channels=2, kernel_size=(2, 6), stride=(1, 3), padding=(0, 2)),
    dict(in_channels=3, out_channels=4, kernel_size=3, padding=1),
    dict(in_channels=3, out_channels=2, kernel_size=(3, 5), stride=(2, 1), padding=(1, 2)),
)
add(
    accelerated_layer, "AcceleratedConvTranspose2d", (2, 4, 3, 3),
    dict(in_channels=3, out_channels=4, kernel_size=4, stride=2, padding=1),
    dict(in_channels=3, out_channels=2, kernel_size=(2, 6), stride=(1, 3), padding=(0, 2), output_padding=(0, 2)),
    dict(in_channels=3, out_channels=4, kernel_size=(6, 3), stride=(2, 1), padding=(1, 0), output_padding=(1, 0)),
    dict(in_channels=3, out_channels=2, kernel_size=3, stride=(3, 2), padding=1, output_padding=(2, 1)),
)
add(layer, "ReLU", (3, 4, 5, 2))
add(layer, "LeakyReLU", (3, 4, 5, 2), {}, dict(negative_slope=0.2))
add(layer, "Sigmoid", (3, 4, 5, 2))
add(layer, "Tanh", (3, 4, 5, 2))
add(layer, "SiLU", (3, 4, 5, 2))
add(
    layer, "MaxPool2d", (2, 7, 8, 3),
    dict(kernel_size=2),
    dict(kernel_size=(3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
)
add(
    accelerated_layer, "AcceleratedMaxPool2d", (2, 7, 8, 3),
    dict(kernel_size=(3, 2), stride=(2, 1), padding=(1, 0)),
)
add(
    layer, "AvgPool2d", (2, 7, 8, 3),
    dict(kernel_size=2),
    dict(kernel_size=(3, 2), stride=(2, 1), padding=(1, 0)),
    dict(kernel_size=3, stride=2, padding=1, count_include_pad=False),
)
add(layer, "Upsample", (2, 3, 4, 2), dict(scale_factor=2), dict(scale_factor=(3, 2)))
add(
    norm, "GroupNorm", (3, 4, 5, 6),
    dict(num_groups=1, num_channels=6),
    dict(num_groups=3, num_channels=6),
    dict(num_groups=6, num_channels=6, eps=0.1),
)
add(norm, "BatchNorm2d", (3, 4, 5, 2), dict(num_features=2), dict(num_features=2, eps=0.1))
add(
    residual_block, "ResidualBlock", (2, 3, 4, 2),
    dict(channels=2, hidden=3),
    dict(channels=2, hidden=3, norm="group"),
)
add(layer, "Shift", (3, 4), dict(offset=-0.5))
add(concatenate, "Concatenate", (2, 3, 4, 2))
add(layer, "Flatten", (2, 3, 4, 2))
add(layer, "Unflatten", (2, 24), dict(dim=1, unflattened_size=(2, 3, 4)))
