"""Is a backward pass the derivative of its forward pass? Finite differences ask the forward pass itself.

For L = Σ ⟨u, y⟩ over all outputs y, with random upstream gradients u = ∂L/∂y, and for every tensor t that forward
reads, backward claims a gradient g = ∂L/∂t. Along a random direction d ~ N(0, I) the claim is tested by

    numeric = (L(t + h·d) − L(t − h·d)) / 2h        analytic = ⟨g, d⟩        h = 1e-5, float64

    difference = |numeric − analytic| / ‖g‖

d is not normalised, so analytic is itself a draw of N(0, ‖g‖²): typically as large as ‖g‖, and now and then near
zero by chance. That is why the difference is divided by ‖g‖ and not by |analytic|: there a correct gradient would
fail. u is random because with u = 1 errors cancel, such as a flipped kernel's.

Finite differences say nothing across a kink, so `CASES` steps around each: inputs of ReLU and LeakyReLU keep 0.1
away from 0 and MaxPool2d's values differ by 0.1, where a step moves a value by some 1e-5. A vector quantizer is all
steps, and its straight-through backward is deliberately not the derivative of its forward. It is the derivative of
another function, `straight_through` below, and is checked against that one.

(Central differences and a random direction as in Chainer's gradient_check; Tokui et al. 2019, arXiv:1908.00213)
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from scratch import bottlenecks, layers, losses
from scratch.errors import UsageError
from scratch.layers import conv_definition

STEP = 1e-5
DIRECTIONS = 3  # tried for each tensor; the largest difference counts
BOUND = 1e-7


# --- the check --------------------------------------------------------------------------------------------------------


@dataclass
class Operation:
    """A forward/backward pair and everything it reads.

    tensors      {name: float64 array} to differentiate by: inputs, then parameters in their own layout
    forward      () -> {name: output}, from the tensors as they are at the moment
    backward     {output name: ∂L/∂output} -> {tensor name: ∂L/∂tensor}, after a forward
    constants    what else forward reads: noise, targets
    module       whose methods these are, where they are a module's
    surrogate    () -> {name: output}, the function whose derivative backward is, where that is not forward
    """

    tensors: dict
    forward: Callable
    backward: Callable
    constants: dict = field(default_factory=dict)
    module: object = None
    surrogate: Callable | None = None


@dataclass
class Trial:
    """One forward and backward of an operation: the upstream gradients it was given, the gradients it answered."""

    operation: Operation
    upstream: dict
    gradients: dict


def attempt(operation, rng):
    """Run forward, then backward under upstream gradients drawn from N(0, 1)."""
    outputs = operation.forward()
    upstream = {name: rng.standard_normal(np.shape(output)) for name, output in outputs.items()}
    return Trial(operation, upstream, operation.backward(upstream))


def finite_differences(trial, rng):
    """{tensor name: |numeric − analytic| / ‖gradient‖}, the largest over a few random directions."""
    evaluate = trial.operation.surrogate or trial.operation.forward
    differences = {}
    for name, tensor in trial.operation.tensors.items():
        gradient, start = trial.gradients[name], tensor.copy()
        if gradient.shape != tensor.shape:
            raise ValueError(f"{name} has shape {tensor.shape}, its gradient {gradient.shape}")
        errors = []
        for _ in range(DIRECTIONS):
            direction = rng.standard_normal(tensor.shape)
            tensor[...] = start + STEP * direction
            above = {y: output.copy() for y, output in evaluate().items()}  # Unflatten's output is a view of its input
            tensor[...] = start - STEP * direction
            below = evaluate()
            numeric = sum(np.sum(u * (above[y] - below[y])) for y, u in trial.upstream.items()) / (2 * STEP)
            tensor[...] = start
            errors.append(abs(numeric - np.sum(gradient * direction)))
        # A gradient that is rightly zero comes with a numeric one of exactly zero.
        differences[name] = float(np.max(errors) / (np.linalg.norm(gradient) or 1.0))
    return differences


def check(operation, rng):
    """`finite_differences` of one trial of the operation. Its tensors are moved in place and put back."""
    return finite_differences(attempt(operation, rng), rng)


def of_module(module, inputs, forward, backward, constants=None, surrogate=None):
    """The Operation of a module: its parameters become tensors beside the inputs.

    Here `backward` maps the upstream gradients to the inputs' gradients alone; the parameters keep their own.
    """
    parameters = module.named_parameters()

    def backward_with_parameters(upstream):
        module.zero_grad()
        gradients = dict(zip(inputs, backward(upstream), strict=True))
        return gradients | {
            name: np.zeros_like(p.value) if p.grad is None else p.grad for name, p in parameters.items()
        }

    tensors = inputs | {name: parameter.value for name, parameter in parameters.items()}
    return Operation(tensors, forward, backward_with_parameters, constants or {}, module, surrogate)


# --- the operations ---------------------------------------------------------------------------------------------------


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
    return rng.standard_normal(shape)


def away_from_zero(shape, rng):
    """Numbers of both signs, none of them within 0.1 of 0."""
    return rng.choice([-1, 1], shape) * (0.1 + np.abs(rng.standard_normal(shape)))


def well_apart(shape, rng):
    """Numbers in random order, any two of which differ by at least 0.1."""
    return 0.1 * rng.permutation(math.prod(shape)).reshape(shape)


DRAWS = {"ReLU": away_from_zero, "LeakyReLU": away_from_zero, "MaxPool2d": well_apart}


def layer(case, rng):
    """y = layer(x)."""
    kind = getattr(layers, case.name)
    weighted = case.name in ("Linear", "Conv2d", "ConvTranspose2d")
    module = kind(**case.arguments, **(dict(dtype=np.float64, rng=rng) if weighted else {}))
    x = DRAWS.get(case.name, normal)(case.shape, rng)
    return of_module(
        module,
        {"x": x},
        lambda: {"y": module.forward(x)},
        lambda upstream: [module.backward(upstream["y"])],
    )


def definition(case, rng):
    """conv_definition.py's loops: y = convolution(x, w, b), with the weights in the layer's own layout."""
    twin = {"conv2d_definition": layers.Conv2d, "conv_transpose2d_definition": layers.ConvTranspose2d}[case.name]
    function = getattr(conv_definition, case.name.removesuffix("_definition"))
    function_backward = getattr(conv_definition, case.name.replace("_definition", "_backward"))
    geometry = {name: case.arguments[name] for name in ("stride", "padding")}
    initial = twin(**case.arguments, dtype=np.float64, rng=rng)
    x, w, b = normal(case.shape, rng), initial.weight.value, initial.bias.value

    def backward(upstream):
        return dict(zip(("x", "weight", "bias"), function_backward(upstream["y"], x, w, **geometry), strict=True))

    return Operation({"x": x, "weight": w, "bias": b}, lambda: {"y": function(x, w, b, **geometry)}, backward)


def reparameterize(case, rng):
    """z = Reparameterize(mu, logvar, eps)."""
    module = bottlenecks.Reparameterize()
    mu, logvar, eps = (normal(case.shape, rng) for _ in range(3))
    return of_module(
        module,
        {"mu": mu, "logvar": logvar},
        lambda: {"z": module.forward(mu, logvar, eps)},
        lambda upstream: module.backward(upstream["z"]),
        constants={"eps": eps},
    )


def gaussian_kl(case, rng):
    """kl = GaussianKL(mu, logvar)."""
    module = bottlenecks.GaussianKL()
    mu, logvar = normal(case.shape, rng), normal(case.shape, rng)
    return of_module(
        module,
        {"mu": mu, "logvar": logvar},
        lambda: {"kl": module.forward(mu, logvar)},
        lambda upstream: module.backward(upstream["kl"]),
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
    module = getattr(bottlenecks, case.name)(**case.arguments, dtype=np.float64, rng=rng)
    h = normal(case.shape, rng)
    noise = module.draw_noise(len(h), rng)

    def forward():
        y, terms = module.forward(h, noise)
        return {"y": y, **terms}

    def backward(upstream):
        dterms = {name: u for name, u in upstream.items() if name != "y"}
        return [module.backward(upstream["y"], dterms)]

    surrogate = None
    if case.name == "VectorQuantizedBottleneck":
        quantize = straight_through(module.quantizer, module.project.forward(h))

        def surrogate():
            q, terms = quantize(module.project.forward(h))
            return {"y": module.expand.forward(q), **terms}

    return of_module(module, {"h": h}, forward, backward, {"noise": noise}, surrogate)


def vector_quantizer(case, rng):
    """q, terms = VectorQuantizer(z)."""
    module = bottlenecks.VectorQuantizer(**case.arguments, dtype=np.float64, rng=rng)
    z = normal(case.shape, rng)
    quantize = straight_through(module, z)

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
        surrogate=lambda: outputs(*quantize(z)),
    )


def straight_through(quantizer, z):
    """The function of z and the codebook e whose true derivative the quantizer's backward is.

    With k, z₀ and e₀ the indices, inputs and codes at this moment, held from now on (sg[·] in the formulas):

        q = z + (e₀ₖ − z₀)      codebook = (1/N) Σ ‖z₀ − eₖ‖²      commitment = (1/N) Σ ‖z − e₀ₖ‖²

    At this moment its values are those of forward. Nearby, forward's q would be eₖ instead, whatever z.
    """
    k = quantizer.nearest(z)
    z0, q0 = z.copy(), quantizer.codebook.value[k]

    def surrogate(z):
        codebook = ((z0 - quantizer.codebook.value[k]) ** 2).sum() / len(z)
        commitment = ((z - q0) ** 2).sum() / len(z)
        return z + (q0 - z0), {"codebook": codebook, "commitment": commitment}

    return surrogate


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
        layer, "AvgPool2d", (2, 7, 8, 3),
        dict(kernel_size=2),
        dict(kernel_size=(3, 2), stride=(2, 1), padding=(1, 0)),
        dict(kernel_size=3, stride=2, padding=1, count_include_pad=False),
    ),
    *cases(layer, "Upsample", (2, 3, 4, 2), dict(scale_factor=2), dict(scale_factor=(3, 2))),
    *cases(layer, "Flatten", (2, 3, 4, 2)),
    *cases(layer, "Unflatten", (2, 24), dict(dim=1, unflattened_size=(2, 3, 4))),
    *cases(reparameterize, "Reparameterize", (4, 3)),
    *cases(gaussian_kl, "GaussianKL", (4, 3)),
    *cases(vector_quantizer, "VectorQuantizer", (2, 3, 4, 5), dict(codes=6, code_dim=5, init="normal")),
    *cases(bottleneck, "DenseBottleneck", (3, 2, 2, 4), dict(feature_shape=(2, 2, 4), latent_dim=5)),
    *cases(bottleneck, "GaussianBottleneck", (3, 2, 2, 4), dict(feature_shape=(2, 2, 4), latent_dim=5)),
    *cases(
        bottleneck, "VectorQuantizedBottleneck", (3, 2, 2, 4),
        dict(feature_shape=(2, 2, 4), codes=6, code_dim=3, init="normal"),
    ),
    *cases(loss, "SquaredError", (3, 4, 5, 2)),
    *cases(loss, "BernoulliFromLogits", (3, 4, 5, 2)),
]


# --- the table --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """A witness: `measure(case, trial, rng)` gives {tensor name: difference}, each of which should be ≤ bound."""

    title: str
    bound: float
    measure: Callable


FINITE_DIFFERENCES = Column("finite differences", BOUND, lambda case, trial, rng: finite_differences(trial, rng))


@dataclass(frozen=True)
class Row:
    """What the columns' witnesses say of one tensor's gradient."""

    name: str
    detail: str
    tensor: str
    shape: tuple
    differences: dict  # column title -> difference
    ok: bool


def run_case(case, seed=0, columns=(FINITE_DIFFERENCES,)):
    """A Row for each tensor of the case, all columns judging the same trial."""
    rng = np.random.default_rng(seed)
    trial = attempt(case.build(rng), rng)
    measured = {column.title: column.measure(case, trial, rng) for column in columns}
    rows = []
    for name, tensor in trial.operation.tensors.items():
        differences = {title: values[name] for title, values in measured.items()}
        ok = all(differences[column.title] <= column.bound for column in columns)
        rows.append(Row(case.name, case.detail, name, tensor.shape, differences, ok))
    return rows


def chosen_cases(names):
    """The cases of these names, in any letter case; all of them where no name is given."""
    known = {case.name.casefold(): case.name for case in CASES}
    for name in names:
        if name.casefold() not in known:
            raise UsageError(f"there is no operation {name!r} to check; there are {', '.join(known.values())}.")
    wanted = {name.casefold() for name in names} or known.keys()
    return [case for case in CASES if case.name.casefold() in wanted]


def table(rows, columns):
    """The rows as aligned text; an operation's name and detail stand in its first row only."""
    lines = [("operation", "", "gradient of", "shape", *(column.title for column in columns), "")]
    previous = None
    for row in rows:
        heading = (row.name, row.detail)
        lines.append((
            *(heading if heading != previous else ("", "")),
            row.tensor,
            by(row.shape),
            *(f"{row.differences[column.title]:.1e}" for column in columns),
            "ok" if row.ok else "FAILED",
        ))
        previous = heading
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def summary(rows, columns):
    """One line: how many gradients were checked, and whether all columns' bounds hold."""
    failed = sum(not row.ok for row in rows)
    worst = ", ".join(
        f"{column.title} {max(row.differences[column.title] for row in rows):.1e} (bound {column.bound:.0e})"
        for column in columns
    )
    return f"{len(rows)} gradients, {failed or 'none'} out of bounds; largest differences: {worst}"


def add_arguments(parser):
    parser.add_argument("names", nargs="*", metavar="NAME", help="operations to check, such as Conv2d; all by default")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments, columns=(FINITE_DIFFERENCES,)):
    """The command `gradcheck`: prints the table or JSON; 0 if every difference is within its bound, else 1."""
    rows = [row for case in chosen_cases(arguments.names) for row in run_case(case, columns=columns)]
    ok = all(row.ok for row in rows)
    if arguments.json:
        bounds = {column.title: column.bound for column in columns}
        print(json.dumps({"ok": ok, "bounds": bounds, "rows": [vars(row) for row in rows]}, indent=2))
    else:
        print(table(rows, columns), summary(rows, columns), sep="\n\n")
    return 0 if ok else 1
