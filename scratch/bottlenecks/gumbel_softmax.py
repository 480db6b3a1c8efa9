"""The discrete VAE's bottleneck: at each position one of K codes is drawn, in a form that can be differentiated."""

import numpy as np

from scratch.arrays import array_module
from scratch.bottlenecks.bottleneck import Bottleneck
from scratch.bottlenecks.gaussian import exp_above_tangent
from scratch.bottlenecks.posterior import Posterior
from scratch.bottlenecks.vector_quantizer import CODE_DIM, CODEBOOK_INIT, CODES, initial_codebook, nearest_codes
from scratch.layers import Conv2d
from scratch.layers.checks import check_floating, check_input
from scratch.layers.softmax import below_largest
from scratch.losses import batch_mean_of_sums
from scratch.module import Module, Parameter, elementwise
from scratch.options.option import Choice, Flag, Option, Scheduled
from scratch.schedules import Schedule

# Factor of the logits' initial weights. At PyTorch's default scale the noise hides the logits for an epoch or two.
LOGIT_GAIN = 10


def log_ratio(a):
    """log pₖ + log K = aₖ − log (1/K) Σⱼ exp(aⱼ) over the last axis: how far p is from uniform, accurate near 0."""
    a, exponentials = below_largest(a, a.max(axis=-1, keepdims=True))
    a -= array_module(a).log(exponentials.mean(axis=-1, keepdims=True))
    return a


def gumbel(u, least, largest):
    """−log(−log u), with u clipped to [least, largest]."""
    xp = array_module(u)
    return -xp.log(-xp.log(xp.clip(u, least, largest)))


def gumbel_noise(shape, dtype, rng, formula=gumbel):
    """g = −log(−log u) with u ~ U(0, 1): draws of the Gumbel(0, 1) distribution, whose distribution function is
    P(g ≤ x) = exp(−exp(−x)).

    A generator can return exactly 0, or exactly 1. So u is clipped to [smallest normal number, largest number below 1],
    and g is always finite.
    """
    limits = np.finfo(dtype)
    return formula(rng.random(shape, dtype=dtype), float(limits.tiny), 1 - float(limits.epsneg))


def perturbed(a, g):
    """a + g. Raises ValueError unless both have one shape and dtype: NumPy would broadcast one draw, or upcast a."""
    if g.shape != a.shape or g.dtype != a.dtype:
        raise ValueError(f"GumbelSoftmax takes logits and noise of one shape and dtype, got logits {a.shape} "
                         f"{a.dtype} and noise {g.shape} {g.dtype}")
    return a + g


def tempered(a, largest, temperature):
    """exp((a − max a) / τ). The difference is divided by τ, because 1/τ overflows for a small τ."""
    a = a - largest
    a /= temperature
    return array_module(a).exp(a)


def gumbel_softmax_backward(dy, y, mean, temperature):
    """y (∂L/∂y − Σ y ∂L/∂y) / τ; `mean` is the sum."""
    da = dy - mean
    da *= y
    da /= temperature
    return da


class GumbelSoftmax(Module):
    """y = softmax((a + g) / τ), g ~ Gumbel(0, 1): a relaxed draw from the categorical distribution softmax(a).

    Shapes: logits a, noise g, y (N, ..., K); the softmax is over the last axis.

        ∂L/∂aₖ = yₖ (∂L/∂yₖ − Σⱼ yⱼ ∂L/∂yⱼ) / τ

    The temperature τ > 0 is an argument of forward, because it follows a schedule; backward uses the same τ.
    argmax(a + g) is an exact draw (the Gumbel-max trick). As τ → 0, y tends to its one-hot vector.

    With `hard` the output is the draw itself, the one-hot vector of argmaxₖ yₖ. The gradient is still that of the soft
    y, straight through: y + sg[one-hot − y], where sg[·] (stop-gradient) is a constant for the backward pass (Jang et
    al., section 2.2).

    τ is at least 1e8 · the smallest normal number, 1e-30 in float32. There y is one-hot to the last bit already, and at
    a smaller τ the quotient could overflow.
    (Jang et al. 2017, arXiv:1611.01144; Maddison et al. 2017, arXiv:1611.00712; docs/lessons/7_dvae.md derives it)
    """

    formula, derivative = elementwise(tempered), elementwise(gumbel_softmax_backward)

    def __init__(self, hard=False):
        self.hard = hard

    def forward(self, a, g, temperature):
        check_floating(self, a)
        a, temperature = perturbed(a, g), max(temperature, 1e8 * float(np.finfo(a.dtype).tiny))
        y = self.formula(a, a.max(axis=-1, keepdims=True), temperature)
        y /= y.sum(axis=-1, keepdims=True)
        self.save(y, temperature)
        if not self.hard:
            return y
        return (array_module(y).arange(y.shape[-1]) == y.argmax(axis=-1)[..., None]).astype(y.dtype)

    def backward(self, dy):
        y, temperature = self.recall()
        return self.derivative(dy, y, (y * dy).sum(axis=-1, keepdims=True), temperature)


LEAST_LOG_RATIO = -80.0  # bound of log(K p) in CategoricalKL: p log p is 0 to rounding there, and exp(80) is finite


def above_uniform(ratio):
    """K pₖ log(K pₖ) − K pₖ + 1 ≥ 0 from log(K pₖ): the mean over k is KL(p ‖ uniform), as the mean of K pₖ is 1.

    Σ pₖ log(K pₖ) is the same number. But near the uniform distribution its terms cancel, and rounding can make it
    negative.
    """
    return array_module(ratio).exp(ratio) * exp_above_tangent(-ratio)


def categorical_kl(a, mean, codes):
    """(the summands of KL(p ‖ uniform), p, p log(K p)), from a − max a and its exponentials' mean."""
    xp = array_module(a)
    ratio = xp.maximum(a - xp.log(mean), LEAST_LOG_RATIO)
    p = xp.exp(ratio) / codes
    return above_uniform(ratio) / codes, p, p * ratio


def categorical_kl_backward(p, weighted, divergence, scale):
    """(p log(K p) − p Σ p log(K p)) · scale; `weighted` is p log(K p), and `divergence` the sum."""
    da = weighted - p * divergence
    da *= scale
    return da


class CategoricalKL(Module):
    """KL(softmax(a) ‖ uniform) = Σₖ pₖ log(K pₖ), in nats, summed over positions and averaged over the batch.

    Shapes: a (N, ..., K), kl a scalar between 0 and positions · log K.

        ∂kl/∂aₖ = pₖ (log(K pₖ) − Σⱼ pⱼ log(K pⱼ)) / N

    p = softmax(a) is the distribution that the codes are drawn from, without noise or temperature. log p is computed as
    a log-softmax, which is finite where p underflows to 0.
    """

    exponentials = elementwise(below_largest)
    formula, derivative = elementwise(categorical_kl), elementwise(categorical_kl_backward)

    def forward(self, a):
        check_floating(self, a)
        shifted, exponentials = self.exponentials(a, a.max(axis=-1, keepdims=True))
        kl, p, weighted = self.formula(shifted, exponentials.mean(axis=-1, keepdims=True), a.shape[-1])
        self.save(p, weighted)
        return batch_mean_of_sums(kl)

    def backward(self, dkl=1.0):
        p, weighted = self.recall()
        return self.derivative(p, weighted, weighted.sum(axis=-1, keepdims=True), dkl / len(p))


class CodeMixture(Module):
    """q = y e: at every position the mean of the K codes, weighted by y. If y is one-hot, q is a code.

    Shapes: y (N, ..., K), the codebook e (K, D), q (N, ..., D).

        ∂L/∂y = ∂L/∂q eᵀ       ∂L/∂e = Σ_positions yᵀ ∂L/∂q
    """

    def __init__(self, codes, code_dim, init="uniform", *, dtype=np.float32, rng=None):
        self.weight = Parameter(initial_codebook(init, codes, code_dim, dtype, rng or np.random.default_rng()))

    def forward(self, y):
        e = self.weight.value
        check_input(self, y, ("N", *(f"D{axis}" for axis in range(1, y.ndim - 1)), len(e)), e)
        self.save(y)
        return (y.reshape(-1, len(e)) @ e).reshape(*y.shape[:-1], -1)

    def backward(self, dq):
        (y,) = self.recall()
        e = self.weight.value
        dq = dq.reshape(-1, e.shape[1])
        self.weight.accumulate(y.reshape(-1, len(e)).T @ dq)
        return (dq @ e.T).reshape(y.shape)

    def lookup(self, indices):
        """The codes (..., D) at indices (...), equal to forward of their one-hot vectors."""
        return self.weight.value[indices]


class CategoricalPosterior(Posterior):
    """At each position j, q(z_j | x) has the probabilities pⱼ = softmax(aⱼ) of K codes, and the prior is uniform, 1/K.

        klⱼ = Σₖ pⱼₖ log(K pⱼₖ)        log p(z) − log q(z | x) = −Σⱼ log(K q(z_j | x))

    A draw is the code of argmaxₖ (a + g) with Gumbel noise g.
    """

    def __init__(self, a):
        self.a = a
        self.log_ratio = log_ratio(a)

    def kl(self):
        ratio = array_module(self.a).maximum(self.log_ratio, LEAST_LOG_RATIO)
        return above_uniform(ratio).mean(axis=-1).reshape(len(ratio), -1)

    def draw(self, g):
        xp, indices = array_module(self.a), perturbed(self.a, g).argmax(axis=-1)
        drawn = xp.take_along_axis(self.log_ratio, indices[..., None], axis=-1)
        return indices, -drawn.reshape(len(drawn), -1).sum(axis=1)


class GumbelSoftmaxBottleneck(Bottleneck, system="dvae"):
    """a = 1×1 convolution of h to K channels,   q = GumbelSoftmax(a) · codebook,   y = 1×1 convolution of q back to C.

    Shapes: h, y (N, H, W, C), logits a and noise g (N, H, W, K), codebook (K, D), q (N, H, W, D), indices (N, H, W).
    The term kl is CategoricalKL(a). With a weight of 1 and a likelihood's −log p(x | y) the loss is the negative ELBO;
    with another weight it is that of a β-VAE. ∂L/∂a is a sum of two parts, one from q and one from kl.
    (Ramesh et al. 2021, arXiv:2102.12092, section 2.1 and appendix A)

    `indices` are the most probable codes, argmax a, whatever was drawn; `encode` returns the same. They reveal a
    posterior that has collapsed to the uniform distribution, whose draws still use every code.

    In evaluation mode nothing is relaxed, and the temperature has no effect. The decoder receives the code of
    argmax(a + g), an exact draw, so the loss is a sample of the discrete model's own ELBO. A relaxed loss would be
    lower, because a mixture of codes tells the decoder more than one code does.
    """

    options = (
        CODES, CODE_DIM,
        # without kmeans, as there are no latents to cluster; codes begin well apart, or all their mixtures are near 0
        CODEBOOK_INIT.but(kind=Choice(CODEBOOK_INIT.kind.names[:-1]), default="normal", help="the initial codebook"),
        Option("temperature", Scheduled(0, included=False, ends_included=False), "exponential:4:0.25:1000",
               "temperature τ of the Gumbel-softmax", source="arXiv:1611.01144"),
        Option("hard", Flag(), False,
               "train on exact draws, with the gradient of the relaxed ones (straight through)",
               source="arXiv:1611.01144"),
        Option("kl_weight", Scheduled(0), "exponential:0.3:0.01:1000", "weight of the KL to the uniform distribution",
               source="arXiv:2102.12092"),
    )
    recommended = {"lr": 2e-3}  # noqa: RUF012
    ignored = ("weight_init",)  # its logits have initial weights of their own
    posterior_kind = CategoricalPosterior
    priors = ("code_frequencies",)
    needs_grid = True
    random = True
    gumbel = elementwise(gumbel)

    def __init__(self, feature_shape, codes, code_dim, init="uniform", temperature=1.0, hard=False, *,
                 dtype=np.float32, rng=None):
        H, W, C = feature_shape
        self.rng = rng or np.random.default_rng()
        self.noise_shape, self.dtype = (H, W, codes), dtype
        self.schedule = Schedule(temperature)
        self.project = Conv2d(C, codes, 1, dtype=dtype, rng=self.rng)
        self.project.weight.value *= LOGIT_GAIN
        self.gumbel_softmax = GumbelSoftmax(hard)
        self.kl = CategoricalKL()
        self.codebook = CodeMixture(codes, code_dim, init, dtype=dtype, rng=self.rng)
        self.expand = Conv2d(code_dim, C, 1, dtype=dtype, rng=self.rng)
        self.at_step(0)

    @classmethod
    def build(cls, around, options, *, dtype, rng):
        return cls(around.shape, options["codes"], options["code_dim"], options["codebook_init"],
                   options["temperature"], options["hard"], dtype=dtype, rng=rng)

    def weights(self, image_shape, options):
        return {"reconstruction": 1.0, "kl": options["kl_weight"]}

    @property
    def codes(self):
        return len(self.codebook.weight.value)

    def stages(self):
        return [(self.project, None, self.project.forward)]

    def posterior(self, h):
        return CategoricalPosterior(self.project.forward(h))

    def vectors(self, latent):
        return self.codebook.lookup(latent).reshape(len(latent), -1)

    def at_step(self, step):
        self.temperature = self.schedule(step)

    def draw_noise(self, count, rng):
        return gumbel_noise((count, *self.noise_shape), self.dtype, rng, self.gumbel)

    def forward(self, h, noise=None):
        if noise is None:
            noise = array_module(h).asarray(self.draw_noise(len(h), self.rng))
        a = self.project.forward(h)
        kl = self.kl.forward(a)
        self.indices = a.argmax(axis=-1)
        if not self.training:
            return self.decode(perturbed(a, noise).argmax(axis=-1)), {"kl": kl}
        y = self.gumbel_softmax.forward(a, noise, self.temperature)
        return self.expand.forward(self.codebook.forward(y)), {"kl": kl}

    def backward(self, dy, dterms):
        dq = self.expand.backward(dy)
        da = self.gumbel_softmax.backward(self.codebook.backward(dq))
        da += self.kl.backward(dterms["kl"])
        return self.project.backward(da)

    def encode(self, h):
        return self.project.forward(h).argmax(axis=-1)

    def draw(self, h, noise):
        return perturbed(self.project.forward(h), noise).argmax(axis=-1)

    def decode(self, indices):
        return self.expand.forward(self.codebook.lookup(indices))

    def mix(self, a, b, t):
        """The codes nearest to the points between a's and b's code vectors, because the decoder takes codes alone."""
        e = self.codebook.weight.value
        between = (1 - t) * e[a] + t * e[b]
        return nearest_codes(between.reshape(-1, e.shape[1]), e).reshape(a.shape)
