"""Properties of a forward that finite differences cannot see: a wrong model may have right gradients.

If σ = exp(logvar) stands in forward and its derivative in backward, both agree, and the model is wrong. So for some
kinds of operations the values themselves are checked: by statistics of many draws, or at a place where they are known.
"""

import math

import numpy as np

from scratch.bottlenecks import (
    CategoricalKL,
    FreeBits,
    GaussianKL,
    GumbelSoftmax,
    Reparameterize,
    ReversedVectorQuantizer,
    VectorQuantizer,
)
from scratch.layers import BatchNorm2d, GroupNorm, LayerNorm
from scratch.layers.standardize import Standardizing

DRAWS = 4000
DEVIATIONS = 6  # standard errors: a right forward fails once in half a billion draws


def sample_spread(forward):
    """z = μ + σ·ε has the mean μ and the variance exp(logvar), over draws of ε."""
    rng = np.random.default_rng(0)
    for mu, logvar in ((0.7, 1.2), (-0.4, -0.9)):
        shape = (DRAWS, 1)
        z = np.asarray(forward(np.full(shape, mu), np.full(shape, logvar), rng.standard_normal(shape)))
        variance = float(z.var())
        if variance < 1e-20:
            return "z does not depend on the noise: its variance over draws is 0, and expected is exp(logvar)"
        ratio = variance / math.exp(logvar)
        if abs(ratio - 1) > DEVIATIONS * math.sqrt(2 / DRAWS):
            likely = {"exp(2 logvar), as if σ were exp(logvar)": math.exp(logvar),
                      "exp(½ logvar), as if σ² were the σ": math.exp(-0.5 * logvar),
                      "1, as if σ were left out": math.exp(-logvar)}
            near = next((words for words, value in likely.items()
                         if abs(ratio / value - 1) < DEVIATIONS * math.sqrt(2 / DRAWS)), "")
            return (f"the variance of z over draws is {variance:.3g} at logvar = {logvar}, expected is exp(logvar) = "
                    f"{math.exp(logvar):.3g}" + (f"; it looks like {near}" if near else ""))
        if abs(float(z.mean()) - mu) > DEVIATIONS * math.sqrt(math.exp(logvar) / DRAWS):
            return f"the mean of z over draws is {float(z.mean()):.3g}, expected is mu = {mu}"
    return ""


def zero_at_the_prior(forward):
    """KL(N(μ, σ²) ‖ N(0, 1)) is zero at μ = 0, logvar = 0, and positive elsewhere."""
    def at(mu, logvar):
        value = forward(np.full((2, 3), mu), np.full((2, 3), logvar))
        return float(np.asarray(value[0] if isinstance(value, tuple) else value).sum())

    there = at(0.0, 0.0)
    if abs(there) > 1e-9:
        return f"the KL is {there:.3g} at the prior, where mu = 0 and logvar = 0; expected is 0"
    for mu, logvar in ((0.5, 0.0), (-0.5, 0.0), (0.0, 0.5), (0.0, -0.5), (0.3, -2.0), (0.0, 2.0)):
        value = at(mu, logvar)
        if value <= 0:
            return (f"the KL is {value:.3g} at mu = {mu}, logvar = {logvar}; away from the prior a KL is positive")
        right = 3 * 0.5 * (mu**2 + math.exp(logvar) - 1 - logvar)
        if abs(value / right - 1) > 1e-9:
            return (f"the KL of an example is {value:.4g} at mu = {mu}, logvar = {logvar}; expected is "
                    f"½ Σ (μ² + σ² − 1 − log σ²) = {right:.4g}")
    return ""


def zero_at_uniform(forward):
    """KL(softmax(a) ‖ uniform) is zero where all logits are equal, and log K where one class is certain."""
    K = 4
    flat = float(forward(np.full((2, 3, K), 0.7)))
    if abs(flat) > 1e-9:
        return f"the KL is {flat:.3g} where all logits are equal, which is the uniform distribution; expected is 0"
    certain = np.zeros((2, 3, K))
    certain[..., 0] = 60
    value, right = float(forward(certain)), 3 * math.log(K)
    if abs(value / right - 1) > 1e-6:
        return (f"the KL is {value:.4g} where one of {K} classes is certain; expected is 3 positions · log {K} = "
                f"{right:.4g}")
    return ""


def draws_its_classes(forward):
    """argmax of softmax((a + g)/τ) over Gumbel noise g has the frequencies softmax(a); y sums to 1."""
    rng = np.random.default_rng(0)
    a = np.tile(np.array([0.5, -0.4, 1.1]), (DRAWS, 1))
    g = -np.log(-np.log(rng.random(a.shape)))
    y = np.asarray(forward(a, g, 0.5))
    if np.abs(y.sum(axis=-1) - 1).max() > 1e-9:
        return "the relaxed draw does not sum to 1 over the classes"
    p = np.exp(a[0]) / np.exp(a[0]).sum()
    found = np.bincount(y.argmax(axis=-1), minlength=3) / DRAWS
    if (np.abs(found - p) > DEVIATIONS * np.sqrt(p * (1 - p) / DRAWS)).any():
        numbers = [", ".join(f"{value:.3f}" for value in one) for one in (found, p)]
        return f"over draws the classes come with the frequencies {numbers[0]}; expected is softmax(a) = {numbers[1]}"
    soft = np.asarray(forward(a, g, 1e6))
    if not is_one_hot(y) and np.abs(soft - 1 / 3).max() > 1e-3:
        return "at a temperature of a million the relaxed draw is not uniform, as it should be: a / τ is then 0"
    return ""


def is_one_hot(y):
    """Does y hold zeros and ones alone?"""
    return bool(((y == 0) | (y == 1)).all())


def gives_codes(quantizer):
    """The output of a quantizer is a code at every position, the nearest one."""
    rng = np.random.default_rng(12345)
    K, D = quantizer.codebook.value.shape
    z = rng.standard_normal((2, 3, D))
    q, terms = quantizer.forward(z)
    codes, latents = quantizer.code_vectors(), quantizer.latent_vectors(z)
    if not np.allclose(np.abs(q[..., None, :] - codes).max(axis=-1).min(axis=-1), 0, atol=1e-9):
        if np.allclose(q, z, atol=1e-9):
            return ("the output of the quantizer is its input z, not a code: the straight-through line is reversed; "
                    "expected is z + sg[e − z]")
        return "the output of the quantizer is not a code of its codebook at every position"
    nearest = ((latents[..., None, :] - codes) ** 2).sum(axis=-1)
    chosen = ((latents - q) ** 2).sum(axis=-1)
    if (chosen > nearest.min(axis=-1) + 1e-9).any():
        return "the quantizer does not choose the nearest code at every position"
    distance = chosen.sum() / len(z)
    for name, term in terms.items():
        if name in ("codebook", "commitment") and abs(float(term) - distance) > 1e-9 * distance:
            return f"the term {name} is {float(term):.4g}; expected is (1/N) Σ ‖z − e‖² = {distance:.4g}"
    return ""


def trains_its_codebook(quantizer):
    """A gradient reaches the codes that are in use, or their averages move them."""
    rng = np.random.default_rng(12345)
    K, D = quantizer.codebook.value.shape
    z = rng.standard_normal((2, 3, D))
    q, terms = quantizer.forward(z)
    if quantizer.moves:
        return moves_its_codes(quantizer, z) if getattr(quantizer, "averages", None) else ""
    quantizer.zero_grad()
    quantizer.backward(np.zeros_like(q), dict.fromkeys(terms, 1.0))
    used = np.unique(quantizer.indices)
    gradient = quantizer.codebook.gradient()[used]
    quantizer.zero_grad()
    if not np.abs(gradient).max(axis=1).all():
        return "no gradient reaches a code that is in use: the codebook is not trained"
    return ""


def moves_its_codes(quantizer, z):
    """Each of EMA's first averages is the mean of the latents that chose the code."""
    kept = {name: part.value.copy() for name, part in quantizer.named_state().items()}
    try:
        for part in (quantizer.averages.counts, quantizer.averages.sums, quantizer.averages.weight):
            part.value[...] = 0
        latents = quantizer.latent_vectors(z)
        k = quantizer.indices
        quantizer.averages.update(np.bincount(k.ravel(), minlength=len(quantizer.codebook.value)).astype(z.dtype),
                                  quantizer.scatter(latents, k))
        codes = quantizer.averages.codes()
        for code in np.unique(k):
            mean = latents[k == code].mean(axis=0)
            if np.abs(codes[code] - mean).max() > 1e-3:
                return ("after the first update a code is not the mean of the latents that chose it: its averages "
                        "begin at zero and have to be divided by their weight 1 − γ")
    finally:
        for name, part in quantizer.named_state().items():
            part.value[...] = kept[name]
    return ""


TOGETHER = (  # (class of a norm, (norm, y (N, H, W, C)) -> its outputs, those that are normalised together in a row)
    (BatchNorm2d, lambda norm, y: y.reshape(-1, y.shape[-1]).T),
    (GroupNorm, lambda norm, y: y.reshape(len(y), -1, norm.num_groups, y.shape[-1] // norm.num_groups).transpose(
        0, 2, 1, 3).reshape(len(y) * norm.num_groups, -1)),
    (LayerNorm, lambda norm, y: y.reshape(-1, y.shape[-1])),
)


def normalises(norm):
    """With a scale of 1 and a shift of 0, the numbers that are normalised together have mean 0 and variance 1."""
    if not norm.training:
        return ""
    rng, C = np.random.default_rng(12345), norm.weight.value.size
    kept = {name: part.value.copy() for name, part in norm.named_state().items()}
    try:
        norm.weight.value[...], norm.bias.value[...] = 1, 0
        y = norm.forward(2 + 300 * rng.standard_normal((3, 4, 5, C)))
    finally:
        for name, part in norm.named_state().items():
            part.value[...] = kept[name]
    together = next(rows for kind, rows in TOGETHER if isinstance(norm, kind))(norm, y)
    mean, variance = np.abs(together.mean(axis=1)).max(), together.var(axis=1)
    if mean > 1e-6:
        return f"numbers that are normalised together have the mean {mean:.3g}; expected is 0"
    if np.abs(variance - 1).max() > 1e-3:
        worst = variance[np.abs(variance - 1).argmax()]
        return f"numbers that are normalised together have the variance {worst:.4g}; expected is 1"
    return ""


def of_quantizer(quantizer):
    """A quantizer gives codes, and its codebook is trained."""
    return gives_codes(quantizer) or trains_its_codebook(quantizer)


PROPERTIES = (  # (class, the property of a module of that class)
    (Reparameterize, lambda module: sample_spread(module.forward)),
    (GaussianKL, lambda module: zero_at_the_prior(module.forward)),
    (FreeBits, lambda module: zero_at_the_prior(module.forward)),
    (CategoricalKL, lambda module: zero_at_uniform(module.forward)),
    (GumbelSoftmax, lambda module: draws_its_classes(module.forward)),
    (VectorQuantizer, of_quantizer),
    (Standardizing, normalises),
)
KINDS = {  # of one's own functions, by name: `diagnose(..., kind="gaussian_kl")`
    "reparameterize": sample_spread,
    "gaussian_kl": zero_at_the_prior,
    "categorical_kl": zero_at_uniform,
    "gumbel_softmax": draws_its_classes,
}


def broken_property(operation):
    """A sentence if the operation's values lack what operations of its kind have; else ""."""
    for noise in operation.noise:
        if reason := ignores(operation, noise):
            return reason
    if operation.module is None:
        return ""
    for part in operation.module.modules():
        if isinstance(part, ReversedVectorQuantizer):
            continue
        for kind, broken in PROPERTIES:
            if isinstance(part, kind):
                try:
                    reason = broken(part)
                finally:
                    for one in part.modules():
                        one.saved = None
                if reason:
                    return reason
    return rate_is_that_of_its_posterior(operation)


def ignores(operation, noise):
    """Do the outputs stay as they are when the noise is drawn again?"""
    before = {name: np.array(output) for name, output in operation.forward().items()}
    values = operation.constants[noise]
    kept, rng = values.copy(), np.random.default_rng(0)
    values[...] = operation.noise[noise](rng)
    try:
        after = {name: np.array(output) for name, output in operation.forward().items()}
    finally:
        values[...] = kept
    same = all(np.array_equal(before[name], after[name]) for name in before)
    return f"the outputs do not depend on the noise {noise}: another draw gives the same" if same else ""


def rate_is_that_of_its_posterior(operation):
    """The term kl is the KL of the bottleneck's own posterior, averaged over the batch."""
    h, bottleneck = operation.tensors.get("h"), operation.module
    if getattr(bottleneck, "posterior_kind", None) is None or h is None:
        return ""
    _, terms = bottleneck.forward(h, operation.constants.get("noise"))
    if "kl" not in terms:
        return ""
    right = float(bottleneck.posterior(h).kl().sum() / len(h))
    for part in bottleneck.modules():
        part.saved = None
    value = float(terms["kl"])
    return "" if abs(value - right) <= 1e-9 * max(1, abs(right)) else (
        f"the term kl is {value:.4g}, the KL of its posterior is {right:.4g}")


def replaces_gradients(operation):
    """A sentence if a second backward does not add its gradient to a parameter's `.grad`; else ""."""
    module = operation.module
    parameters = module.named_parameters() if module is not None else {}
    if not parameters:
        return ""
    outputs = operation.forward()
    upstream = {name: np.ones_like(output) if np.ndim(output) else 1.0 for name, output in outputs.items()}

    def backward():
        return operation.backward({name: np.array(u) if np.ndim(u) else u for name, u in upstream.items()})

    backward()
    once = {name: parameter.gradient().copy() for name, parameter in parameters.items()}
    module.zero_grad = lambda: None  # the operation would set the gradients back
    try:
        operation.forward()
        backward()
    finally:
        del module.zero_grad
    for name, parameter in parameters.items():
        if not np.allclose(parameter.gradient(), 2 * once[name], rtol=1e-6, atol=1e-9):
            return (f"backward does not add to the gradient of {name}: after a second one it is not twice the first; "
                    f"use accumulate, which adds")
    module.zero_grad()
    return ""


def own_kind(kind):
    """The property of a kind of one's own function. Raises ValueError for an unknown kind."""
    if kind not in KINDS:
        raise ValueError(f"kind takes {', '.join(KINDS)}, got {kind!r}")
    return KINDS[kind]


