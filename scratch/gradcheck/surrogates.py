"""Surrogates: the functions whose true derivatives the backward passes of straight-through estimators are.

A surrogate is forward with everything discrete held fixed. Finite differences of forward itself would show jumps, or 0.
"""

from scratch.bottlenecks import GumbelSoftmax, VectorQuantizer


def straight_through(quantizer, z):
    """The function of z and the codebook e whose true derivative the quantizer's backward is.

    Let k, z₀ and e₀ be the present indices, inputs and codes, held fixed from now on (sg[·] in the formulas):

        q = z + (e₀ₖ − z₀)      codebook = (1/N) Σ ‖z₀ − eₖ‖²      commitment = (1/N) Σ ‖z − e₀ₖ‖²

    At z₀ and e₀ its values are those of forward. Nearby, forward's q would be eₖ instead, independent of z. The entropy
    term of a CuredVectorQuantizer is smooth and needs no surrogate.
    """
    k = quantizer.nearest(z)
    z0, q0 = quantizer.latent_vectors(z).copy(), quantizer.code_vectors()[k]

    def surrogate(z):
        z, e = quantizer.latent_vectors(z), quantizer.code_vectors()
        terms = {"codebook": ((z0 - e[k]) ** 2).sum() / len(z), "commitment": ((z - q0) ** 2).sum() / len(z)}
        if getattr(quantizer, "averages", None):
            del terms["codebook"]
        if getattr(quantizer, "entropy", None):
            terms["entropy_gap"] = quantizer.entropy.forward(z.reshape(-1, z.shape[-1]), e)
        return z + (q0 - z0), terms

    return surrogate


def reversed_straight_through(quantizer, z):
    """The same for a ReversedVectorQuantizer:

        q = eₖ + (z₀ − e₀ₖ)      codebook = (1/N) Σ ‖z₀ − q‖²      commitment = (1/N) Σ ‖z − q₀‖²
    """
    k, e = quantizer.nearest(z), quantizer.codebook.value
    z0, held = z.copy(), z - e[k]
    q0 = e[k] + held

    def surrogate(z):
        q = e[k] + held
        return q, {"codebook": ((z0 - q) ** 2).sum() / len(z), "commitment": ((z - q0) ** 2).sum() / len(z)}

    return surrogate


def held_draw(logits, noise, temperature):
    """The function of the logits whose true derivative the hard GumbelSoftmax's backward is: soft + (hard₀ − soft₀),
    where hard₀ and soft₀ are the present draw and relaxed draw, held fixed from now on.
    """
    soft, hard = GumbelSoftmax(), GumbelSoftmax(hard=True)
    offset = hard.forward(logits, noise, temperature) - soft.forward(logits, noise, temperature)
    return lambda *arguments: soft.forward(*arguments) + offset


def held_straight_through(module, forward):
    """The surrogate of a module's forward: a function () -> forward(), in which `straight_through` or `held_draw` takes
    the place of each straight-through estimator inside of `module`, a VectorQuantizer or a hard GumbelSoftmax.

    None if there is no such estimator. The inputs of a second quantizer depend on the first one's outputs; both are
    held at the values of one forward.
    """
    estimators = [part for part in module.modules()
                  if isinstance(part, VectorQuantizer) or getattr(part, "hard", False)]
    held = {}

    def estimate(part):
        def first_held_then_called(*inputs):
            if part not in held:
                is_quantizer = isinstance(part, VectorQuantizer)
                held[part] = straight_through(part, *inputs) if is_quantizer else held_draw(*inputs)
            return held[part](*inputs)

        return first_held_then_called

    def surrogate():
        for part in estimators:
            part.forward = estimate(part)  # shadows the method of this one estimator
        try:
            return forward()
        finally:
            for part in estimators:
                del part.forward

    if not estimators:
        return None
    surrogate()
    for part in module.modules():
        part.saved = None
    return surrogate
