"""The dVAE's bottleneck and its parts."""

from scratch import bottlenecks
from scratch.bottlenecks.gumbel_softmax import LOGIT_GAIN, gumbel_noise
from scratch.gradcheck.cases.case import add, normal, of_bottleneck, of_forward
from scratch.gradcheck.differences import of_module
from scratch.gradcheck.surrogates import held_draw


def gumbel_softmax(case, rng):
    """y = GumbelSoftmax(logits, noise, temperature)."""
    module = bottlenecks.GumbelSoftmax(case.arguments["hard"])
    temperature = case.arguments["temperature"]
    logits, noise = normal(case.shape, rng), gumbel_noise(case.shape, case.dtype, rng)
    held = held_draw(logits, noise, temperature) if module.hard else None
    return of_module(
        module,
        {"logits": logits},
        lambda: {"y": module.forward(logits, noise, temperature)},
        lambda upstream: [module.backward(upstream["y"])],
        constants={"noise": noise},
        noise={"noise": lambda rng: gumbel_noise(case.shape, case.dtype, rng)},
        surrogate=held and (lambda: {"y": held(logits, noise, temperature)}),
    )


def categorical_kl(case, rng):
    """kl = CategoricalKL(logits)."""
    module = bottlenecks.CategoricalKL()
    logits = normal(case.shape, rng)
    return of_forward(module, {"logits": logits}, "kl")


def code_mixture(case, rng):
    """q = CodeMixture(y)."""
    module = bottlenecks.CodeMixture(**case.arguments, dtype=case.dtype, rng=rng)
    y = normal(case.shape, rng)
    return of_forward(module, {"y": y}, "q")


def gumbel_softmax_bottleneck(case, rng):
    """y, terms = GumbelSoftmaxBottleneck(h, noise), with small logits: a certain draw has no gradient."""
    def shrink(module):
        module.project.weight.value /= LOGIT_GAIN

    return of_bottleneck(case, rng, prepare=shrink)


add(
    gumbel_softmax, "GumbelSoftmax", (2, 3, 4, 5),
    dict(temperature=1.0, hard=False),
    dict(temperature=0.3, hard=False),
    dict(temperature=0.7, hard=True),
)
add(categorical_kl, "CategoricalKL", (2, 3, 4, 5))
add(code_mixture, "CodeMixture", (2, 3, 4, 5), dict(codes=5, code_dim=3, init="normal"))
add(
    gumbel_softmax_bottleneck, "GumbelSoftmaxBottleneck", (3, 2, 2, 4),
    dict(feature_shape=(2, 2, 4), codes=6, code_dim=3, init="normal", temperature=0.7),
    dict(feature_shape=(2, 2, 4), codes=6, code_dim=3, init="normal", temperature=0.7, hard=True),
)
