"""The right gradient of some operations as a sum of named summands.

They tell which summand of a wrong gradient is missing or has another sign: that of a norm's mean, or the sum over all
classes in the derivative of a softmax.
"""

import numpy as np

from scratch.bottlenecks import CategoricalKL, GumbelSoftmax, SoftAssignmentEntropy, UnitLength, VectorQuantizer
from scratch.bottlenecks.gumbel_softmax import log_ratio
from scratch.layers import AvgPool2d, BatchNorm2d, GroupNorm, MaxPool2d, Softmax
from scratch.layers.activation import sigmoid
from scratch.layers.softmax import softmax
from scratch.layers.standardize import Standardizing
from scratch.losses import Categorical, DiscretizedLogistic, grey_bin, grey_level


def of_norm(module, arrays, upstream):
    """dx = direct part − mean's share − variance's share, as in standardize.py."""
    x, u, gamma = arrays["x"], upstream["y"], module.weight.value
    rows = (lambda a: a.reshape(-1, a.shape[-1])) if isinstance(module, BatchNorm2d) else (lambda a: a)
    x_hat = rows(x) - module.mean(rows(x))
    inverse = 1 / np.sqrt(module.mean(x_hat**2) + module.eps)
    x_hat = x_hat * inverse
    dx_hat = rows(u) * gamma
    shares = {"the direct path": dx_hat, "the mean μ": -module.mean(dx_hat) + 0 * dx_hat,
              "the variance σ²": -x_hat * module.mean(dx_hat * x_hat)}
    return {"x": {name: (share * inverse).reshape(x.shape) for name, share in shares.items()}}


def of_plain_softmax(module, arrays, upstream):
    """dx = y (∂L/∂y − Σ y ∂L/∂y)."""
    y, u = softmax(arrays["x"]), upstream["y"]
    return {"x": {"yₖ ∂L/∂yₖ": y * u, "the sum Σⱼ yⱼ ∂L/∂yⱼ": -y * (y * u).sum(-1, keepdims=True)}}


def of_softmax(module, arrays, upstream):
    """da = y (∂L/∂y − Σ y ∂L/∂y) / τ."""
    a, u, temperature = arrays["logits"], upstream["y"], arrays["temperature"]
    y = np.exp((a + arrays["noise"] - (a + arrays["noise"]).max(-1, keepdims=True)) / temperature)
    y /= y.sum(-1, keepdims=True)
    return {"logits": {"yₖ ∂L/∂yₖ": y * u / temperature, "the sum Σⱼ yⱼ ∂L/∂yⱼ":
                       -y * (y * u).sum(-1, keepdims=True) / temperature}}


def of_categorical_kl(module, arrays, upstream):
    """da = p (r − Σ p r) / N."""
    a, ratio = arrays["logits"], log_ratio(arrays["logits"])
    p = np.exp(ratio) / a.shape[-1]
    scale = upstream["kl"] / len(a)
    return {"logits": {"pₖ rₖ": p * ratio * scale, "the sum Σⱼ pⱼ rⱼ":
                       -p * (p * ratio).sum(-1, keepdims=True) * scale}}


def of_unit_length(module, arrays, upstream):
    """dx = (∂L/∂y − y ⟨y, ∂L/∂y⟩) / ‖x‖."""
    x, u = arrays["x"], upstream["y"]
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    y = x / norm
    return {"x": {"∂L/∂y": u / norm, "y ⟨y, ∂L/∂y⟩": -y * (y * u).sum(-1, keepdims=True) / norm}}


def of_soft_assignment(module, arrays, upstream):
    """da = p (g − Σ p g) / M for a = −‖z − e‖² / τ, and its two ways to the codes."""
    z, e, tau = arrays["z"], arrays["codes"], module.temperature
    a = -((z[:, None] - e) ** 2).sum(-1) / tau
    p = np.exp(a - a.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    g = np.log(p.mean(0))
    z, e = z - e.mean(0), e - e.mean(0)
    first, rest = p * g, -p * (p @ g)[:, None]
    scale = 2 * upstream["gap"] / (tau * len(z))
    s = first + rest
    return {"z": {"the difference's own part pₘₖ gₖ": scale * (first @ e),
                  "the softmax's sum Σⱼ pₘⱼ gⱼ": scale * (rest @ e)},
            "codes": {"Σₘ sₘₖ zₘ": scale * (s.T @ z), "eₖ Σₘ sₘₖ": -scale * e * s.sum(0)[:, None]}}


def of_discretized_logistic(module, arrays, upstream):
    """By the lower end a of a bin, its upper end b and its width δ: (−1/scale, −a), (−1/scale, −b) and (0, −δ) each."""
    (mu, s), v = module.parts(arrays["output"]), grey_level(arrays["target"])
    a, b, delta, log_scale = grey_bin(mu, s, v)
    by_a, by_b = (v > 0) * sigmoid(a), (v < 255) * -sigmoid(-b)
    by_delta = (v > 0) * (v < 255) / -np.expm1(delta)
    scale, by_s = upstream["loss"] / len(v), np.exp(s - log_scale)

    def both(dmu, dlog_scale):
        return np.concatenate([dmu * np.exp(-log_scale), dlog_scale * by_s], axis=-1) * scale

    return {"output": {"the lower end a": both(-by_a, -a * by_a), "the upper end b": both(-by_b, -b * by_b),
                       "the width δ": both(0 * v, -delta * by_delta)}}


def of_categorical(module, arrays, upstream):
    """da = (p − [k = v]) / N."""
    a, v = module.logits(arrays["output"]), grey_level(arrays["target"])
    scale = upstream["loss"] / len(v)
    hit = (v[..., None] == np.arange(a.shape[-1])) * -scale
    return {"output": {"pₖ": (softmax(a) * scale).reshape(arrays["output"].shape),
                       "the 1 at the right value": hit.reshape(arrays["output"].shape)}}


SHARES = ((Standardizing, of_norm), (Softmax, of_plain_softmax), (GumbelSoftmax, of_softmax),
          (CategoricalKL, of_categorical_kl), (UnitLength, of_unit_length), (SoftAssignmentEntropy, of_soft_assignment),
          (DiscretizedLogistic, of_discretized_logistic), (Categorical, of_categorical))


def shares_of(operation, upstream):
    """{tensor: {name of a summand: array}} where it is known for the kind of the operation's module; else {}."""
    return known_of(SHARES, operation, upstream)


def known_of(table, operation, upstream):
    """What the first function of the table for the operation's kind of module gives; {} without one, or where the
    operation lacks an array that the function needs."""
    arrays = operation.tensors | operation.constants | operation.numbers
    for kind, function in table:
        if isinstance(operation.module, kind):
            try:
                return function(operation.module, renamed(arrays), upstream)
            except (KeyError, ValueError):
                return {}
    return {}


def renamed(arrays):
    """The names of a call, such as a and g, beside those of the cases."""
    names = {"a": "logits", "g": "noise", "e": "codes"}
    return arrays | {names[name]: array for name, array in arrays.items() if name in names}


# --- other gradients of the same kind ---------------------------------------------------------------------------------


def of_pool(module, arrays, upstream):
    """What a pooling passes back if it forgets which pixel won, or how many there are."""
    x, u = arrays["x"], upstream["y"]
    window, (N, I, J, C) = module.window, u.shape
    KH, KW = window.kernel
    each = window.col2im(np.broadcast_to(u[:, :, :, None, None], (N, I, J, KH, KW, C)), x.shape[1:3])
    found = {} if isinstance(module, AvgPool2d) else {
        "with ∂L/∂y at every pixel of its window": each,
        "with ∂L/∂y divided equally among the pixels of its window": each / (KH * KW)}
    for at, words in ((0, "first"), (KH * KW - 1, "last")):
        only = np.zeros((KH * KW, 1))
        only[at] = 1
        patches = np.broadcast_to(u[:, :, :, None], (N, I, J, KH * KW, C)) * only
        found[f"with ∂L/∂y at the {words} pixel of its window"] = window.col2im(
            patches.reshape(N, I, J, KH, KW, C), x.shape[1:3])
    if isinstance(module, MaxPool2d):
        patches = window.im2col(x, (I, J), pad_value=-np.inf).reshape(N, I, J, KH * KW, C)
        winner = patches.argmax(axis=3)
        taken = (winner[:, :, :, None] == np.arange(KH * KW)[:, None]) * u[:, :, :, None]
        taken = taken.reshape(N, I, J, KH, KW, C)
        for sign, words in ((1, "last"), (-1, "first")):
            found[f"with the {words} window's ∂L/∂y alone where windows overlap (= in place of +=)"] = kept(
                window, taken, x.shape[1:3], sign)
    return {"x": found}


def kept(window, patches, size, sign):
    """As col2im, but a window's number at its winning pixel replaces the number that is there."""
    N, I, J, KH, KW, C = patches.shape
    (PH, PW), (SH, SW), (DH, DW) = window.padding, window.stride, window.dilation
    padded = np.zeros((N, size[0] + 2 * PH, size[1] + 2 * PW, C))
    for i in range(I)[::sign]:
        for j in range(J)[::sign]:
            part = padded[:, i * SH: i * SH + KH * DH: DH, j * SW: j * SW + KW * DW: DW][:, :KH, :KW]
            part[...] = np.where(patches[:, i, j] != 0, patches[:, i, j], part)
    return padded[:, PH: PH + size[0], PW: PW + size[1]]


def of_quantizer(module, arrays, upstream):
    """What a codebook receives if the latents of a code are not added up."""
    if "codebook" not in upstream or "codebook" not in module.named_parameters():
        return {}
    z, e = module.latent_vectors(arrays["z"]), module.code_vectors()
    k = module.nearest(arrays["z"])
    every = (2 * upstream["codebook"] / len(z) * (e[k] - z)).reshape(-1, e.shape[1])
    found = {}
    for words, rows in (("last", slice(None)), ("first", slice(None, None, -1))):
        last = np.zeros_like(e)
        for row, code in zip(every[rows], k.reshape(-1)[rows], strict=True):
            last[code] = row
        found[f"with the {words} latent of each code alone, where all have to be added up (= in place of +=)"] = last
    return {"codebook": found}


def of_norm_variants(module, arrays, upstream):
    """Gradients of a norm in which a factor is missing, or x, x − μ or y stands in place of x̂."""
    x, u = arrays["x"], upstream["y"]
    rows = (lambda a: a.reshape(-1, a.shape[-1])) if isinstance(module, BatchNorm2d) else (lambda a: a)
    centred = rows(x) - module.mean(rows(x))
    variance = module.mean(centred**2)
    axes = tuple(range(rows(x).ndim - 1))
    x_hat = centred / np.sqrt(variance + module.eps)
    dx_hat = rows(u) * module.weight.value
    inverse = 1 / np.sqrt(variance + module.eps)

    def dx(inner, inverse=inverse):
        return (inverse * inner).reshape(x.shape)

    mean, with_x_hat = module.mean(dx_hat), module.mean(dx_hat * x_hat)
    n = x.size / np.size(module.mean(rows(x))) if not isinstance(module, GroupNorm) else (
        x[0].size / module.num_groups)
    found = {"x": {
        "without its factor γ": dx(rows(u) - module.mean(rows(u)) - x_hat * module.mean(rows(u) * x_hat)),
        "without its factor 1/s": dx(dx_hat - mean - x_hat * with_x_hat, 1.0),
        "with 1/σ² in place of 1/s": dx(dx_hat - mean - x_hat * with_x_hat, inverse**2),
        "with sums in place of means": dx(dx_hat - n * mean - n * x_hat * with_x_hat),
        "with x in place of x̂": dx(dx_hat - mean - rows(x) * module.mean(dx_hat * rows(x))),
        "with x − μ in place of x̂": dx(dx_hat - mean - centred * module.mean(dx_hat * centred)),
        "with n − 1 in place of n": dx(dx_hat - mean * n / (n - 1) - x_hat * with_x_hat * n / (n - 1)),
        "with n − 1 in place of n in the variance's share": dx(dx_hat - mean - x_hat * with_x_hat * n / (n - 1)),
        "without ε beside the variance": dx(dx_hat - mean - x_hat * with_x_hat, 1 / np.sqrt(variance)),
    }, "weight": {
        "with x in place of x̂": (rows(x) * rows(u)).sum(axes),
        "with x − μ in place of x̂": (centred * rows(u)).sum(axes),
        "with y in place of x̂": ((x_hat * module.weight.value + module.bias.value) * rows(u)).sum(axes),
        "with γ x̂ in place of x̂": (x_hat * module.weight.value * rows(u)).sum(axes),
        "without its factor x̂": rows(u).sum(axes),
    }, "bias": {"with ∂L/∂x̂ in place of ∂L/∂y": dx_hat.sum(axes), "with x̂ ∂L/∂y in place of ∂L/∂y":
                (x_hat * rows(u)).sum(axes)}}
    return found


def of_length(module, arrays, upstream):
    """A division by the length that is forgotten, or made twice."""
    x, u = arrays["x"], upstream["y"]
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    y = x / norm
    across = u - y * (y * u).sum(-1, keepdims=True)
    return {"x": {"without its factor 1/‖x‖": across, "with 1/‖x‖² in place of 1/‖x‖": across / norm**2,
                  "with x in place of y": (u - x * (x * u).sum(-1, keepdims=True)) / norm}}


def of_diagonal(module, arrays, upstream):
    """A softmax with only the diagonal of its Jacobian, as if it were a sigmoid."""
    a, u, temperature = arrays["logits"], upstream["y"], arrays["temperature"]
    y = np.exp((a + arrays["noise"] - (a + arrays["noise"]).max(-1, keepdims=True)) / temperature)
    y /= y.sum(-1, keepdims=True)
    return {"logits": {"with yₖ (1 − yₖ) ∂L/∂yₖ alone, the diagonal of the softmax's Jacobian":
                       u * y * (1 - y) / temperature}}


VARIANTS = (
    (MaxPool2d, of_pool), (AvgPool2d, of_pool), (VectorQuantizer, of_quantizer), (UnitLength, of_length),
    (GumbelSoftmax, of_diagonal), (Standardizing, of_norm_variants))


def variants_of(operation, upstream):
    """{tensor: {words: a wrong gradient}}: usual mistakes that depend on what the operation does."""
    return known_of(VARIANTS, operation, upstream)
