"""The vector quantizer, its cures, and the bottlenecks of the VQ-VAE and the VQ-VAE-2."""

from scratch import bottlenecks
from scratch.arrays import array_module
from scratch.gradcheck.cases.case import add, bottleneck, normal, of_bottleneck, of_forward
from scratch.gradcheck.differences import of_module
from scratch.gradcheck.surrogates import held_straight_through, reversed_straight_through, straight_through


def unit_length(case, rng):
    """y = UnitLength(x)."""
    module = bottlenecks.UnitLength()
    x = normal(case.shape, rng)
    return of_forward(module, {"x": x}, "y")


def soft_assignment_entropy(case, rng):
    """gap = SoftAssignmentEntropy(z, codes); the case's shape is that of z, and there are half as many codes."""
    module = bottlenecks.SoftAssignmentEntropy(**case.arguments)
    M, D = case.shape
    z, codes = normal((M, D), rng), normal((M // 2, D), rng)
    return of_forward(module, {"z": z, "codes": codes}, "gap")


def vector_quantizer(case, rng):
    """q, terms = VectorQuantizer(z), or that of a subclass."""
    module = getattr(bottlenecks, case.name)(**case.arguments, dtype=case.dtype, rng=rng)
    z = normal(case.shape, rng)
    return of_quantizer(module, z, straight_through(module, z))


def reversed_vector_quantizer(case, rng):
    """q, terms = ReversedVectorQuantizer(z), in multiples of ⅛, so that z − q is zero without rounding."""
    module = bottlenecks.ReversedVectorQuantizer(**case.arguments, dtype=case.dtype, rng=rng)
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
        constants={} if module.named_parameters() else {"codebook": module.codebook.value},
        surrogate=lambda: outputs(*surrogate(z)),
    )


def grouped_quantizer(case, rng):
    """q, terms = GroupedQuantizer(z), with a surrogate in the place of each group's quantizer."""
    module = bottlenecks.GroupedQuantizer(**case.arguments, dtype=case.dtype, rng=rng)
    z = normal(case.shape, rng)
    held = held_straight_through(module, lambda: module.forward(z))
    return of_quantizer(module, z, lambda z: held())


def two_level_bottleneck(case, rng):
    """y, terms = TwoLevelBottleneck(h), where no input of the top encoder's ReLU is near 0."""
    return of_bottleneck(case, rng, lambda module, h: abs(module.top_encoder.layers[0].forward(h)).min() >= 1e-3)


add(vector_quantizer, "VectorQuantizer", (2, 3, 4, 5), dict(codes=6, code_dim=5, init="normal"))
add(grouped_quantizer, "GroupedQuantizer", (2, 3, 4, 6), dict(groups=2, codes=6, code_dim=6, init="normal"))
add(unit_length, "UnitLength", (2, 3, 4, 5))
add(soft_assignment_entropy, "SoftAssignmentEntropy", (8, 3), dict(temperature=1.5))
add(
    vector_quantizer, "CuredVectorQuantizer", (2, 3, 4, 5),
    dict(codes=6, code_dim=5, init="normal", ema_decay=0.9),
    dict(codes=6, code_dim=5, init="normal", entropy_temperature=1.5),
    dict(codes=6, code_dim=5, init="normal", cosine=True),
    dict(codes=6, code_dim=5, init="normal", entropy_temperature=0.5, cosine=True),
    dict(codes=6, code_dim=5, init="normal", entropy_temperature=0.5, cosine=True, ema_decay=0.9),
)
add(
    reversed_vector_quantizer, "ReversedVectorQuantizer", (2, 3, 4, 5), dict(codes=6, code_dim=5, init="normal"))
add(
    bottleneck, "VectorQuantizedBottleneck", (3, 2, 2, 4),
    dict(feature_shape=(2, 2, 4), codes=6, code_dim=3, init="normal"),
    dict(feature_shape=(2, 2, 4), codes=6, code_dim=3, init="normal", expand=False),
)
add(
    two_level_bottleneck, "TwoLevelBottleneck", (3, 4, 6, 4),
    dict(feature_shape=(4, 6, 4), top_channels=5, codes=6, code_dim=3, init="normal"),
)
