"""Every layer, bottleneck and loss as a case to check: how it is built, which tensors it reads, where its kinks are."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from scratch import bottlenecks, layers, losses
from scratch.accelerate import accelerate
from scratch.arrays import array_module
from scratch.bottlenecks.gumbel_softmax import LOGIT_GAIN, gumbel_noise
from scratch.gradcheck.differences import Operation, of_module
from scratch.gradcheck.surrogates import (
    held_draw,
    held_straight_through,
    reversed_straight_through,
    straight_through,
)
from scratch.layers import conv_definition
from scratch.module import Sequential

DTYPE = np.float64  # of every weight; what is drawn has the dtype that the generator gives it


@dataclass(frozen=True)
class Case:
    """An operation to check: its name, its constructor's arguments, its input's shape, and how to build it.

    `make(case, rng)` gives the Operation.
    """

    name: str
    arguments: dict
    shape: tuple
    make: Callable

    def build(self, rng):
        return self.make(self, rng)

    @property
    def detail(self):
        """The arguments in words, such as "kernel size 3×5, stride 2×1"; widths are left to the shapes beside it."""
        return ", ".join(
            f"{name.replace('_', ' ')} {by(value)}"
            for name, value in self.arguments.items()
            if not name.startswith(("in_", "out_"))
        )


def by(value):
    """(3, 5) as "3×5"."""
    return "×".join(map(str, value)) if isinstance(value, tuple) else str(value)


def normal(shape, rng):
    """Numbers from N(0, 1), for operations without kinks."""
    return rng.standard_normal(shape)


def away_from_zero(shape, rng):
    """Numbers of both signs, none of them within 0.1 of 0."""
    return rng.choice([-1, 1], shape) * (0.1 + np.abs(rng.standard_normal(shape)))


def well_apart(shape, rng):
    """Numbers in random order, any two of which differ by at least 0.1."""
    return 0.1 * rng.permutation(math.prod(shape)).reshape(shape)


DRAWS = {"ReLU": away_from_zero, "LeakyReLU": away_from_zero, "MaxPool2d": well_apart}


def of_forward(module, inputs, output, constants=None):
    """The Operation output = module.forward(*inputs, *constants), each by name."""
    arguments = [*inputs.values(), *(constants or {}).values()]

    def backward(upstream):
        gradients = module.backward(upstream[output])
        return gradients if isinstance(gradients, tuple | list) else (gradients,)

    return of_module(module, inputs, lambda: {output: module.forward(*arguments)}, backward, constants)


def layer(case, rng):
    """y = layer(x)."""
    kind = getattr(layers, case.name)
    weighted = case.name in ("Linear", "Conv2d", "ConvTranspose2d")
    module = kind(**case.arguments, **(dict(dtype=DTYPE, rng=rng) if weighted else {}))
    x = DRAWS.get(case.name, normal)(case.shape, rng)
    return of_forward(module, {"x": x}, "y")


def accelerated_layer(case, rng):
    """The same layer in the form that training gives it where it has the channels for it (scratch/accelerate)."""
    operation = layer(replace(case, name=case.name.removeprefix("Accelerated")), rng)
    accelerate(operation.module, least_channels=1)
    return operation


def norm(case, rng):
    """y = norm(x), with scales and shifts that are not 1 and 0."""
    module = getattr(layers, case.name)(**case.arguments, dtype=DTYPE)
    for part in (module.weight, module.bias):
        part.value = normal(part.value.shape, rng)
    for name, draw in (("running_mean", normal), ("running_var", away_from_zero)):
        if hasattr(module, name):  # on the device of all else; squared, for a variance is positive
            getattr(module, name).value = draw(module.weight.value.shape, rng) ** 2
    return of_forward(module, {"x": normal(case.shape, rng)}, "y")


def definition(case, rng):
    """conv_definition.py's loops: y = convolution(x, w, b), with the weights in the layer's own layout."""
    twin = {"conv2d_definition": layers.Conv2d, "conv_transpose2d_definition": layers.ConvTranspose2d}[case.name]
    function = getattr(conv_definition, case.name.removesuffix("_definition"))
    function_backward = getattr(conv_definition, case.name.replace("_definition", "_backward"))
    geometry = {name: case.arguments[name] for name in ("stride", "padding")}
    initial = twin(**case.arguments, dtype=DTYPE, rng=rng)
    x, w, b = normal(case.shape, rng), initial.weight.value, initial.bias.value

    def backward(upstream):
        return dict(zip(("x", "weight", "bias"), function_backward(upstream["y"], x, w, **geometry), strict=True))

    return Operation({"x": x, "weight": w, "bias": b}, lambda: {"y": function(x, w, b, **geometry)}, backward)


def residual_block(case, rng):
    """y = ResidualBlock(x), where no input of either ReLU is near 0: a step moves one by some 1e-4."""
    module = layers.ResidualBlock(**case.arguments, dtype=DTYPE, rng=rng)
    for part in module.modules():
        if isinstance(part, layers.GroupNorm):  # its numbers, on the device of all else
            part.weight.value, part.bias.value = (normal(part.bias.value.shape, rng) for _ in range(2))
    first, second = [at for at, part in enumerate(module.branch.layers) if isinstance(part, layers.ReLU)]

    def nearest_to_a_kink(x):
        return min(abs(Sequential(*module.branch.layers[:relu]).forward(x)).min() for relu in (first, second))

    x = away_from_zero(case.shape, rng)
    while nearest_to_a_kink(x) < 0.01:
        x = away_from_zero(case.shape, rng)
    return of_forward(module, {"x": x}, "y")


def reparameterize(case, rng):
    """z = Reparameterize(mu, logvar, eps)."""
    module = bottlenecks.Reparameterize()
    mu, logvar, eps = (normal(case.shape, rng) for _ in range(3))
    return of_forward(module, {"mu": mu, "logvar": logvar}, "z", {"eps": eps})


def l1(case, rng):
    """l1 = L1(z), where no number is near 0."""
    z = away_from_zero(case.shape, rng)
    return of_forward(bottlenecks.L1(), {"z": z}, "l1")


def gaussian_kl(case, rng):
    """kl = GaussianKL(mu, logvar)."""
    module = bottlenecks.GaussianKL()
    mu, logvar = normal(case.shape, rng), normal(case.shape, rng)
    return of_forward(module, {"mu": mu, "logvar": logvar}, "kl")


def clear_of(kink, mu, logvar):
    """Is the mean KL of every latent dimension at least 0.01 away from `kink`? A step moves it by some 1e-5."""
    k = bottlenecks.GaussianKL.formula(mu, logvar).mean(axis=0)
    return abs(k - kink).min() > 0.01


def free_bits(case, rng):
    """kl, kl_free = FreeBits(mu, logvar)."""
    module = bottlenecks.FreeBits(**case.arguments)
    mu, logvar = normal(case.shape, rng), normal(case.shape, rng)
    while not clear_of(module.nats, mu, logvar):
        mu, logvar = normal(case.shape, rng), normal(case.shape, rng)
    names = ("kl", "kl_free")
    return of_module(
        module,
        {"mu": mu, "logvar": logvar},
        lambda: dict(zip(names, module.forward(mu, logvar), strict=True)),
        lambda upstream: module.backward(*(upstream[name] for name in names)),
    )


def capacity_target(case, rng):
    """gap = CapacityTarget(kl), of several kl at once, on either side of the capacity and none of them near it."""
    module = bottlenecks.CapacityTarget(**case.arguments)
    kl = module.capacity + away_from_zero(case.shape, rng)
    return of_forward(module, {"kl": kl}, "gap")


def gumbel_softmax(case, rng):
    """y = GumbelSoftmax(logits, noise, temperature)."""
    module = bottlenecks.GumbelSoftmax(case.arguments["hard"])
    temperature = case.arguments["temperature"]
    logits, noise = normal(case.shape, rng), gumbel_noise(case.shape, DTYPE, rng)
    held = held_draw(logits, noise, temperature) if module.hard else None
    return of_module(
        module,
        {"logits": logits},
        lambda: {"y": module.forward(logits, noise, temperature)},
        lambda upstream: [module.backward(upstream["y"])],
        constants={"noise": noise},
        surrogate=held and (lambda: {"y": held(logits, noise, temperature)}),
    )


def categorical_kl(case, rng):
    """kl = CategoricalKL(logits)."""
    module = bottlenecks.CategoricalKL()
    logits = normal(case.shape, rng)
    return of_forward(module, {"logits": logits}, "kl")


def code_mixture(case, rng):
    """q = CodeMixture(y)."""
    module = bottlenecks.CodeMixture(**case.arguments, dtype=DTYPE, rng=rng)
    y = normal(case.shape, rng)
    return of_forward(module, {"y": y}, "q")


def logit_laplace(case, rng):
    """loss = LogitLaplace(output, target); each location keeps 0.1 away from the kink, the logit of its target."""
    module = losses.LogitLaplace()
    target = rng.random(case.shape)
    shrunk = (1 - 2 * module.EPSILON) * target + module.EPSILON
    xp = array_module(target)
    location = xp.log(shrunk / (1 - shrunk)) + away_from_zero(case.shape, rng)
    output = xp.concatenate([location, normal(case.shape, rng)], axis=-1)
    return of_module(
        module,
        {"output": output},
        lambda: {"loss": module.loss(output, target)},
        lambda upstream: [module.backward(upstream["loss"])],
        constants={"target": target},
    )


def gaussian(case, rng):
    """loss = Gaussian(output, target), with a σ that is near its bound, so that the bound has a part in it."""
    module = losses.Gaussian(DTYPE)
    module.log_sigma.value = rng.uniform(-7, -5, 1)
    output, target = normal(case.shape, rng), rng.random(case.shape)
    return of_module(
        module,
        {"output": output},
        lambda: {"loss": module.loss(output, target)},
        lambda upstream: [module.backward(upstream["loss"])],
        constants={"target": target},
    )


def loss(case, rng):
    """loss = reconstruction.loss(output, target), with targets in [0, 1]."""
    module = getattr(losses, case.name)()
    output, target = normal(case.shape, rng), rng.random(case.shape)
    return of_module(
        module,
        {"output": output},
        lambda: {"loss": module.loss(output, target)},
        lambda upstream: [module.backward(upstream["loss"])],
        constants={"target": target},
    )


def bottleneck(case, rng):
    """y, terms = bottleneck(h, noise)."""
    module = getattr(bottlenecks, case.name)(**case.arguments, dtype=DTYPE, rng=rng)
    h = normal(case.shape, rng)
    if case.name == "TwoLevelBottleneck":  # whose top encoder has a ReLU: no input of it is near 0
        while abs(module.top_encoder.layers[0].forward(h)).min() < 1e-3:
            h = normal(case.shape, rng)
    if case.name == "FreeBitsBottleneck":
        while not clear_of(module.kl.nats, *module.parameters_of(h)):
            h = normal(case.shape, rng)
    if case.name == "SparseBottleneck":  # nor of its ReLU
        while abs(module.reduce.forward(module.flatten.forward(h))).min() < 1e-3:
            h = normal(case.shape, rng)
    if case.name == "GumbelSoftmaxBottleneck":
        module.project.weight.value /= LOGIT_GAIN  # of a draw that is certain no gradient is left but rounding
    noise = module.draw_noise(len(h), rng)

    def forward():
        y, terms = module.forward(h, noise)
        return {"y": y, **terms}

    def backward(upstream):
        dterms = {name: u for name, u in upstream.items() if name != "y"}
        return [module.backward(upstream["y"], dterms)]

    return of_module(module, {"h": h}, forward, backward, {"noise": noise}, held_straight_through(module, forward))


def unit_length(case, rng):
    """y = UnitLength(x)."""
    module = bottlenecks.UnitLength()
    x = normal(case.shape, rng)
    return of_forward(module, {"x": x}, "y")


def soft_assignment_entropy(case, rng):
    """gap = SoftAssignmentEntropy(z, codes); the shape is that of z, and half as many codes."""
    module = bottlenecks.SoftAssignmentEntropy(**case.arguments)
    M, D = case.shape
    z, codes = normal((M, D), rng), normal((M // 2, D), rng)
    return of_forward(module, {"z": z, "codes": codes}, "gap")


def vector_quantizer(case, rng):
    """q, terms = VectorQuantizer(z), or one of its relatives."""
    module = getattr(bottlenecks, case.name)(**case.arguments, dtype=DTYPE, rng=rng)
    z = normal(case.shape, rng)
    return of_quantizer(module, z, straight_through(module, z))


def reversed_vector_quantizer(case, rng):
    """q, terms = ReversedVectorQuantizer(z), in eighths: rounding then leaves nothing of z − q, which is zero."""
    module = bottlenecks.ReversedVectorQuantizer(**case.arguments, dtype=DTYPE, rng=rng)
    z, e = normal(case.shape, rng), module.codebook.value
    for array in (z, e):
        array *= 8
        array_module(array).rint(array, out=array)
        array /= 8
    return of_quantizer(module, z, reversed_straight_through(module, z))


def of_quantizer(module, z, surrogate):
    """The Operation of a quantizer and of the surrogate z ↦ (q, terms) whose derivative its backward is."""

    def outputs(q, terms):
        return {"q": q, **terms}

    def backward(upstream):
        dterms = {name: u for name, u in upstream.items() if name != "q"}
        return [module.backward(upstream["q"], dterms)]

    return of_module(
        module,
        {"z": z},
        lambda: outputs(*module.forward(z)),
        backward,
        constants={} if "codebook" in module.named_parameters() else {"codebook": module.codebook.value},
        surrogate=lambda: outputs(*surrogate(z)),
    )


def concatenate(case, rng):
    """y = Concatenate(a, b), where b has one channel more than a."""
    module = layers.Concatenate()
    *grid, A = case.shape
    a, b = normal((*grid, A), rng), normal((*grid, A + 1), rng)
    return of_forward(module, {"a": a, "b": b}, "y")


def cases(make, name, shape, *arguments):
    """One case for each set of arguments; one without arguments where none is given."""
    return [Case(name, a, shape, make) for a in arguments or [{}]]


CASES = [
    *cases(
        layer, "Linear", (5, 4),
        dict(in_features=4, out_features=3),
        dict(in_features=4, out_features=3, bias=False),
    ),
    *cases(
        layer, "Conv2d", (2, 7, 8, 3),
        dict(in_channels=3, out_channels=4, kernel_size=1),
        dict(in_channels=3, out_channels=4, kernel_size=4, stride=2, padding=1),
        dict(in_channels=3, out_channels=2, kernel_size=(3, 5), stride=(2, 1), padding=(1, 2)),
        dict(in_channels=3, out_channels=2, kernel_size=(3, 2), stride=(1, 3), padding=(2, 0), dilation=(2, 3)),
        dict(in_channels=3, out_channels=4, kernel_size=3, stride=2, bias=False),
    ),
    *cases(
        layer, "ConvTranspose2d", (2, 4, 3, 3),
        dict(in_channels=3, out_channels=4, kernel_size=1),
        dict(in_channels=3, out_channels=4, kernel_size=4, stride=2, padding=1),
        dict(in_channels=3, out_channels=2, kernel_size=(3, 5), stride=(2, 1), padding=(1, 2)),
        dict(in_channels=3, out_channels=2, kernel_size=3, stride=(3, 2), padding=1, output_padding=(2, 1)),
        dict(in_channels=3, out_channels=2, kernel_size=(3, 2), stride=(1, 3), dilation=(2, 3), output_padding=(1, 2)),
        dict(in_channels=3, out_channels=4, kernel_size=3, stride=2, bias=False),
    ),
    *cases(
        definition, "conv2d_definition", (2, 5, 4, 2),
        dict(in_channels=2, out_channels=3, kernel_size=(3, 2), stride=(2, 1), padding=(1, 0)),
    ),
    *cases(
        definition, "conv_transpose2d_definition", (2, 3, 4, 2),
        dict(in_channels=2, out_channels=3, kernel_size=(3, 2), stride=(2, 1), padding=(1, 0)),
    ),
    *cases(
        accelerated_layer, "AcceleratedConv2d", (2, 7, 8, 3),
        dict(in_channels=3, out_channels=4, kernel_size=4, stride=2, padding=1),
        dict(in_channels=3, out_channels=2, kernel_size=(2, 6), stride=(1, 3), padding=(0, 2)),
        dict(in_channels=3, out_channels=4, kernel_size=3, padding=1),
        dict(in_channels=3, out_channels=2, kernel_size=(3, 5), stride=(2, 1), padding=(1, 2)),
    ),
    *cases(
        accelerated_layer, "AcceleratedConvTranspose2d", (2, 4, 3, 3),
        dict(in_channels=3, out_channels=4, kernel_size=4, stride=2, padding=1),
        dict(in_channels=3, out_channels=2, kernel_size=(2, 6), stride=(1, 3), padding=(0, 2), output_padding=(0, 2)),
        dict(in_channels=3, out_channels=4, kernel_size=(6, 3), stride=(2, 1), padding=(1, 0), output_padding=(1, 0)),
        dict(in_channels=3, out_channels=2, kernel_size=3, stride=(3, 2), padding=1, output_padding=(2, 1)),
    ),
    *cases(layer, "ReLU", (3, 4, 5, 2)),
    *cases(layer, "LeakyReLU", (3, 4, 5, 2), {}, dict(negative_slope=0.2)),
    *cases(layer, "Sigmoid", (3, 4, 5, 2)),
    *cases(layer, "Tanh", (3, 4, 5, 2)),
    *cases(layer, "SiLU", (3, 4, 5, 2)),
    *cases(
        layer, "MaxPool2d", (2, 7, 8, 3),
        dict(kernel_size=2),
        dict(kernel_size=(3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
    ),
    *cases(
        accelerated_layer, "AcceleratedMaxPool2d", (2, 7, 8, 3),
        dict(kernel_size=(3, 2), stride=(2, 1), padding=(1, 0)),
    ),
    *cases(
        layer, "AvgPool2d", (2, 7, 8, 3),
        dict(kernel_size=2),
        dict(kernel_size=(3, 2), stride=(2, 1), padding=(1, 0)),
        dict(kernel_size=3, stride=2, padding=1, count_include_pad=False),
    ),
    *cases(layer, "Upsample", (2, 3, 4, 2), dict(scale_factor=2), dict(scale_factor=(3, 2))),
    *cases(
        norm, "GroupNorm", (3, 4, 5, 6),
        dict(num_groups=1, num_channels=6),
        dict(num_groups=3, num_channels=6),
        dict(num_groups=6, num_channels=6, eps=0.1),
    ),
    *cases(norm, "BatchNorm2d", (3, 4, 5, 2), dict(num_features=2), dict(num_features=2, eps=0.1)),
    *cases(
        residual_block, "ResidualBlock", (2, 3, 4, 2),
        dict(channels=2, hidden=3),
        dict(channels=2, hidden=3, norm="group"),
    ),
    *cases(layer, "Shift", (3, 4), dict(offset=-0.5)),
    *cases(concatenate, "Concatenate", (2, 3, 4, 2)),
    *cases(layer, "Flatten", (2, 3, 4, 2)),
    *cases(layer, "Unflatten", (2, 24), dict(dim=1, unflattened_size=(2, 3, 4))),
    *cases(reparameterize, "Reparameterize", (4, 3)),
    *cases(gaussian_kl, "GaussianKL", (4, 3)),
    *cases(free_bits, "FreeBits", (4, 6), dict(nats=0.8)),
    *cases(capacity_target, "CapacityTarget", (4,), dict(capacity=2.0)),
    *cases(vector_quantizer, "VectorQuantizer", (2, 3, 4, 5), dict(codes=6, code_dim=5, init="normal")),
    *cases(unit_length, "UnitLength", (2, 3, 4, 5)),
    *cases(soft_assignment_entropy, "SoftAssignmentEntropy", (8, 3), dict(temperature=1.5)),
    *cases(
        vector_quantizer, "CuredVectorQuantizer", (2, 3, 4, 5),
        dict(codes=6, code_dim=5, init="normal", ema_decay=0.9),
        dict(codes=6, code_dim=5, init="normal", entropy_temperature=1.5),
        dict(codes=6, code_dim=5, init="normal", cosine=True),
        dict(codes=6, code_dim=5, init="normal", entropy_temperature=0.5, cosine=True),
        dict(codes=6, code_dim=5, init="normal", entropy_temperature=0.5, cosine=True, ema_decay=0.9),
    ),
    *cases(
        reversed_vector_quantizer, "ReversedVectorQuantizer", (2, 3, 4, 5), dict(codes=6, code_dim=5, init="normal")),
    *cases(bottleneck, "DenseBottleneck", (3, 2, 2, 4), dict(feature_shape=(2, 2, 4), latent_dim=5)),
    *cases(l1, "L1", (4, 3)),
    *cases(bottleneck, "SparseBottleneck", (3, 2, 2, 4), dict(feature_shape=(2, 2, 4), latent_dim=5)),
    *cases(bottleneck, "GaussianBottleneck", (3, 2, 2, 4), dict(feature_shape=(2, 2, 4), latent_dim=5)),
    *cases(
        bottleneck, "FreeBitsBottleneck", (3, 2, 2, 4), dict(feature_shape=(2, 2, 4), latent_dim=5, free_bits=0.2)),
    *cases(
        bottleneck, "CapacityBottleneck", (3, 2, 2, 4),
        dict(feature_shape=(2, 2, 4), latent_dim=5, capacity=0.5),
        dict(feature_shape=(2, 2, 4), latent_dim=5, capacity=5.0),
    ),
    *cases(
        bottleneck, "VectorQuantizedBottleneck", (3, 2, 2, 4),
        dict(feature_shape=(2, 2, 4), codes=6, code_dim=3, init="normal"),
        dict(feature_shape=(2, 2, 4), codes=6, code_dim=3, init="normal", expand=False),
    ),
    *cases(
        bottleneck, "TwoLevelBottleneck", (3, 4, 6, 4),
        dict(feature_shape=(4, 6, 4), top_channels=5, codes=6, code_dim=3, init="normal"),
    ),
    *cases(
        gumbel_softmax, "GumbelSoftmax", (2, 3, 4, 5),
        dict(temperature=1.0, hard=False),
        dict(temperature=0.3, hard=False),
        dict(temperature=0.7, hard=True),
    ),
    *cases(categorical_kl, "CategoricalKL", (2, 3, 4, 5)),
    *cases(code_mixture, "CodeMixture", (2, 3, 4, 5), dict(codes=5, code_dim=3, init="normal")),
    *cases(
        bottleneck, "GumbelSoftmaxBottleneck", (3, 2, 2, 4),
        dict(feature_shape=(2, 2, 4), codes=6, code_dim=3, init="normal", temperature=0.7),
        dict(feature_shape=(2, 2, 4), codes=6, code_dim=3, init="normal", temperature=0.7, hard=True),
    ),
    *cases(loss, "SquaredError", (3, 4, 5, 2)),
    *cases(gaussian, "Gaussian", (3, 4, 5, 2)),
    *cases(loss, "BernoulliFromLogits", (3, 4, 5, 2)),
    *cases(logit_laplace, "LogitLaplace", (3, 4, 5, 2)),
]
