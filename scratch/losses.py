"""Reconstruction losses: what a decoder's output means, and how far it is from the image.

Each is −log p(x | output) up to a constant, summed over all pixels and channels of an example and averaged over
the batch. That is the reconstruction part of the negative ELBO, the evidence lower bound (Kingma & Welling 2014,
arXiv:1312.6114). The constant changes no gradient, but an ELBO in nats (units of the natural logarithm) needs it; each
likelihood states its own.
"""

import math

import numpy as np

from scratch.arrays import array_module
from scratch.layers.activation import sigmoid
from scratch.layers.checks import check_floating
from scratch.layers.softmax import log_softmax, softmax
from scratch.module import Module, Parameter, elementwise


def batch_mean_of_sums(values):
    """(1/N) Σₙ Σ values[n, …]: summed inside each example, averaged over the batch."""
    return values.sum() / len(values)


def psnr(mse):
    """The peak signal-to-noise ratio in dB of values in [0, 1]: PSNR = −10 log₁₀ mse.

    mse is the mean squared error, a number or an array on the host. The PSNR is infinite where mse is 0.
    """
    with np.errstate(divide="ignore"):
        decibels = -10 * np.log10(mse)
    return decibels if np.ndim(mse) else float(decibels)


class Reconstruction(Module):
    """A likelihood: `loss(output, x)`, its `backward(dloss)` with respect to output, and `mean(output)`, the image.

    `elements(output, x)` gives what each pixel and channel adds to an example's loss, in the shape of x, and saves what
    backward needs. With D elements in an image, −log p(x | output) = Σ elements + D · constant.
    """

    outputs = 1  # channels of the output for each channel of an image
    constant = 0.0  # nats of −log p(x | output) that the loss leaves out, for each pixel and channel
    is_density = True  # p is a density of x in [0, 1]; False: the probability of a value, one of 2 or of 256
    is_image = False  # True if the output is the image itself, which belongs in [0, 1]
    of_grey_levels = False  # True if p is the probability of each of the 256 values of 8 bits
    takes_data_variance = True  # the option data_variance may divide the loss
    measured = {}  # noqa: RUF012  what it reports beside its loss, such as a learned σ: {name: scalar}

    def __init__(self, dtype=np.float32):
        """dtype is that of the likelihood's parameters. Most likelihoods have none."""

    def loss(self, output, x):
        """A scalar: the mean of `per_example`."""
        return batch_mean_of_sums(self.elements(output, x))

    def per_example(self, output, x):
        """The loss of each example, (N,)."""
        return self.elements(output, x).reshape(len(x), -1).sum(axis=1)

    def negative_log_likelihood(self, output, x):
        """−log p(x | output) of each example in nats, (N,): its loss plus D · constant."""
        return self.per_example(output, x) + self.constant * math.prod(x.shape[1:])

    def check(self, output, x):
        """Raise ValueError unless the output has the shape and dtype that belong to images x."""
        expected = (*x.shape[:-1], self.outputs * x.shape[-1])
        if output.shape != expected or output.dtype != x.dtype:
            raise ValueError(f"{type(self).__name__} expected an output {expected} {x.dtype} for images "
                             f"{tuple(x.shape)} {x.dtype}, got {tuple(output.shape)} {output.dtype}")
        check_floating(self, x)


def squared_difference(y, x):
    """((y − x)², y − x)."""
    difference = y - x
    return difference * difference, difference


class SquaredError(Reconstruction):
    """L = (1/N) Σₙ Σ (y − x)²: a Gaussian with fixed variance ½, up to a constant. The output y is the image.

    Shapes: y, x (N, ...), L a scalar.

        ∂L/∂y = 2 (y − x) / N

    −log N(x; y, ½) = (y − x)² + ½ log(2π · ½): the constant is ½ log π.
    """

    constant = 0.5 * math.log(math.pi)
    is_image = True
    formula = elementwise(squared_difference)

    def elements(self, y, x):
        self.check(y, x)
        squares, difference = self.formula(y, x)
        self.save(difference)
        return squares

    def backward(self, dL=1.0):
        (difference,) = self.recall()
        return difference * (2 * dL / len(difference))

    def mean(self, y):
        return y


def gaussian(y, x, log_sigma):
    """(½ ((y − x)/σ)² + log σ + ½ log 2π, (y − x)/σ)."""
    deviation = (y - x) * array_module(y).exp(-log_sigma)
    return 0.5 * deviation * deviation + (log_sigma + 0.5 * math.log(2 * math.pi)), deviation


class Gaussian(Reconstruction):
    """L = (1/N) Σₙ Σ [½ ((x − y)/σ)² + log σ + ½ log 2π]: a Gaussian with one learned σ for all pixels.

    The output y is the image. log σ = log(e^s + e^−6), where s is the parameter `log_sigma`: log σ follows s but stays
    above −6, where σ is 0.63 of an 8-bit grey level. Without this bound L would fall without end wherever images can be
    predicted exactly.
    Shapes: y, x (N, ...), s (1,), L a scalar; D is the numbers in one example.

        ∂L/∂y = (y − x) / (σ² N)       ∂L/∂s = (D − (1/N) Σₙ Σ ((x − y)/σ)²) · e^s/σ

    ∂L/∂s is zero where σ² is the mean squared error per element. docs/reference/kl_variants.md says what this does
    to β.
    (Rybkin, Daniilidis & Levine 2021, arXiv:2006.13202, who write the same log σ as −6 + softplus(s + 6))
    """

    is_image = True
    formula = elementwise(gaussian)
    LEAST_LOG_SIGMA = -6.0

    def __init__(self, dtype=np.float32):
        self.log_sigma = Parameter(np.zeros(1, dtype))

    def clipped(self):
        """log σ = log(e^s + e^−6)."""
        s = self.log_sigma.value
        return array_module(s).logaddexp(s, self.LEAST_LOG_SIGMA)

    def check(self, y, x):
        super().check(y, x)
        if y.dtype != self.log_sigma.value.dtype:
            raise TypeError(f"Gaussian has a {self.log_sigma.value.dtype} σ, got a {y.dtype} output: "
                            f"convert one of them")

    def elements(self, y, x):
        self.check(y, x)
        log_sigma = self.clipped()
        nats, deviation = self.formula(y, x, log_sigma)
        self.save(deviation, log_sigma)
        return nats

    def backward(self, dL=1.0):
        deviation, log_sigma = self.recall()
        xp, s = array_module(deviation), self.log_sigma.value
        excess = deviation.size // len(deviation) - batch_mean_of_sums(deviation * deviation)
        self.log_sigma.accumulate(excess * dL * xp.exp(s - log_sigma))
        return deviation * (xp.exp(-log_sigma) * (dL / len(deviation)))

    def mean(self, y):
        return y

    @property
    def measured(self):
        log_sigma = self.clipped()
        return {"sigma": array_module(log_sigma).exp(log_sigma)[0]}


def bernoulli(a, x):
    """−[x log p + (1 − x) log(1 − p)] with p = sigmoid(a), computed as max(a, 0) − a x + log(1 + e^(−|a|))."""
    xp = array_module(a)
    return xp.maximum(a, 0) - a * x + xp.log1p(xp.exp(-xp.abs(a)))


def bernoulli_backward(a, x, scale):
    """(sigmoid(a) − x) · scale."""
    return (sigmoid(a) - x) * scale


class BernoulliFromLogits(Reconstruction):
    """L = (1/N) Σₙ Σ −[x log p + (1 − x) log(1 − p)] with p = sigmoid(a): binary cross-entropy, from logits a.

    Each summand is computed as max(a, 0) − a x + log(1 + e^(−|a|)). This form cannot overflow, gives no NaN at p = 1,
    and has a gradient everywhere. Targets x lie in [0, 1].
    Shapes: a, x (N, ...), L a scalar.

        ∂L/∂a = (p − x) / N

    For x in {0, 1} each summand is −log of a probability, and the constant is 0. For grey values in between it is not:
    pˣ (1 − p)¹⁻ˣ does not integrate to 1 over [0, 1]. The nats reported for grey images can therefore be compared
    only between models with this likelihood. (Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845)
    """

    is_density = False
    formula, derivative = elementwise(bernoulli), elementwise(bernoulli_backward)

    def elements(self, a, x):
        self.check(a, x)
        self.save(a, x)
        return self.formula(a, x)

    def backward(self, dL=1.0):
        a, x = self.recall()
        return self.derivative(a, x, dL / len(a))

    def mean(self, a):
        return sigmoid(a)


def logit_laplace(mu, s, x):
    """(log(2·scale) + log(x′ (1 − x′)) + |deviation|, deviation, log scale), deviation = (logit(x′) − μ) / scale."""
    xp, eps = array_module(x), LogitLaplace.EPSILON
    x = (1 - 2 * eps) * x + eps
    log_scale = xp.logaddexp(s, LogitLaplace.LOG_LEAST_SCALE)
    deviation = (xp.log(x / (1 - x)) - mu) * xp.exp(-log_scale)
    return math.log(2) + log_scale + xp.log(x * (1 - x)) + xp.abs(deviation), deviation, log_scale


def logit_laplace_backward(deviation, log_scale, s, dL):
    """(−sign(deviation)/scale, (1 − |deviation|) exp(s)/scale) · ∂L."""
    xp = array_module(s)
    dmu = -xp.sign(deviation) * xp.exp(-log_scale) * dL
    return dmu, (1 - xp.abs(deviation)) * xp.exp(s - log_scale) * dL


class LogitLaplace(Reconstruction):
    """L = (1/N) Σₙ Σ [log(2·scale) + log(x′ (1 − x′)) + |logit(x′) − μ| / scale],   x′ = (1 − 2·eps) x + eps.

    Each summand is −log of the density exp(−|logit(x′) − μ| / scale) / (2·scale · x′ (1 − x′)). With it logit(x′) has a
    Laplace distribution, so x′ lies in (0, 1), as pixels do. eps = 0.1 keeps x′ away from 0 and 1, where the logit is
    infinite.
    Shapes: x (N, ..., C); the output (N, ..., 2C) holds μ and then s, with scale = exp(s) + least; L a scalar.

        ∂L/∂μ = −sign(logit(x′) − μ) / (scale · N)
        ∂L/∂s = (1 − |logit(x′) − μ| / scale) · exp(s) / (scale · N)

    The paper has scale = exp(s). A pixel that can be predicted exactly, such as a plain background, then lowers L
    without end, and its gradient 1/scale grows without end. `least` prevents this. It is the precision of an 8-bit
    pixel, half a grey level, which near a grey of ½ is ½ · (1 − 2·eps)/255 · 4 = 0.0063 in the logit. log scale is
    computed as log(exp(s) + exp(log least)), which cannot overflow.

    L uses the density of x′. The density of x is dx′/dx = 1 − 2·eps times as large, so the constant is −log(1 − 2·eps).
    x′ in (0, 1) means x in (−⅛, 1⅛): part of the probability lies beyond black and white, as with a Gaussian.
    (Ramesh et al. 2021, arXiv:2102.12092, appendix A.3)
    """

    outputs = 2
    EPSILON = 0.1
    constant = -math.log(1 - 2 * EPSILON)
    LOG_LEAST_SCALE = math.log((1 - 2 * EPSILON) * 2 / 255)
    formula, derivative = elementwise(logit_laplace), elementwise(logit_laplace_backward)

    def elements(self, output, x):
        self.check(output, x)
        mu, s = self.parts(output)
        nats, deviation, log_scale = self.formula(mu, s, x)
        self.save(deviation, log_scale, s)
        return nats

    def backward(self, dL=1.0):
        deviation, log_scale, s = self.recall()
        gradients = self.derivative(deviation, log_scale, s, dL / len(s))
        return array_module(s).concatenate(gradients, axis=-1)

    def mean(self, output):
        """(sigmoid(μ) − eps) / (1 − 2·eps), the image at the median μ, clipped to [0, 1]."""
        mu, _ = self.parts(output)
        return array_module(output).clip((sigmoid(mu) - self.EPSILON) / (1 - 2 * self.EPSILON), 0, 1)

    def parts(self, output):
        """(μ, s), views of the output."""
        channels = output.shape[-1] // 2
        return output[..., :channels], output[..., channels:]


def grey_level(x):
    """v = round(255 x), the 8-bit value of x in [0, 1], as a float. A half goes to the even neighbour. What lies beyond
    black or white counts as black, 0, or as white, 255."""
    xp = array_module(x)
    return xp.clip(xp.rint(255 * x), 0, 255)


def grey_bin(mu, s, v):
    """(a, b, δ, log scale): the bin of the 8-bit value v reaches from a to b = a + δ, in scales from μ.

    δ is kept from 0, where δ/(e^δ − 1) and (1 − e^(−δ))/δ would be 0/0. Both are 1 to rounding far above 1e-30.
    """
    xp = array_module(s)
    log_scale = xp.logaddexp(s, DiscretizedLogistic.LOG_LEAST_SCALE)
    precision = xp.exp(-log_scale)
    middle, half = (v / 255 - mu) * precision, precision * (0.5 / 255)
    return middle - half, middle + half, xp.maximum(2 * half, 1e-30), log_scale


def discretized_logistic(mu, s, x):
    """[v > 0] log(1 + e^a) + [v < 255] log(1 + e^(−b)) − [0 < v < 255] log(1 − e^(−δ))."""
    xp, v = array_module(s), grey_level(x)
    a, b, delta, log_scale = grey_bin(mu, s, v)
    log_width = xp.log(-xp.expm1(-delta) / delta) - (log_scale + math.log(255))  # log(1 − e^(−δ))
    return (v > 0) * (xp.logaddexp(a, 0) - (v < 255) * log_width) + (v < 255) * xp.logaddexp(-b, 0)


def discretized_logistic_backward(mu, s, x, dL):
    """((B − A)/scale, (b B − a A + [0 < v < 255] δ/(e^δ − 1)) exp(s)/scale) · ∂L."""
    xp, v = array_module(s), grey_level(x)
    a, b, delta, log_scale = grey_bin(mu, s, v)
    A, B = (v > 0) * sigmoid(a), (v < 255) * sigmoid(-b)
    dmu = (B - A) * xp.exp(-log_scale) * dL
    dlog_scale = b * B - a * A + (v > 0) * (v < 255) * (delta / xp.expm1(delta))
    return dmu, dlog_scale * xp.exp(s - log_scale) * dL


class DiscretizedLogistic(Reconstruction):
    """L = −(1/N) Σₙ Σ log p(v): the probability of each 8-bit value v = round(255 x), by a logistic distribution.

        p(v) = sigmoid(b) − sigmoid(a),   a = (v/255 − ½/255 − μ) / scale,   b = (v/255 + ½/255 − μ) / scale

    is the share of the distribution between the middles to the grey levels on either side. Black has all that lies
    below its b, so p(0) = sigmoid(b), and white all above its a, p(255) = 1 − sigmoid(a). So the 256 probabilities sum
    to 1. Floats between two grey levels count as the nearer one.
    Shapes: x (N, ..., C); the output (N, ..., 2C) holds μ and then s, with scale = exp(s) + least; L a scalar.

    With δ = b − a the difference of sigmoids is a product, and −log p a sum of three numbers ≥ 0:

        −log p(v) = [v > 0] log(1 + e^a) + [v < 255] log(1 + e^(−b)) − [0 < v < 255] log(1 − e^(−δ))

    It stays finite where both sigmoids round to the same number. With A = [v > 0] sigmoid(a) and
    B = [v < 255] sigmoid(−b):

        ∂L/∂μ = (B − A) / (scale · N)
        ∂L/∂s = (b B − a A + [0 < v < 255] δ / (e^δ − 1)) · exp(s) / (scale · N)

    −log p is never below 0, so a scale far below a grey level gains nothing. But there a μ outside of the bin costs
    about |v/255 − μ| / scale, without a bound. `least` is e^(−7)/2, 0.12 of a grey level, the bound in the code of
    Salimans et al., whose pixels lie in [−1, 1]. With it p(v) is at most 0.973 between black and white, which costs
    0.04 bits. log scale is computed as log(exp(s) + exp(log least)). docs/reference/pixels_of_8_bits.md derives it all.
    (Kingma et al. 2016, arXiv:1606.04934; Salimans et al. 2017, arXiv:1701.05517, section 2.1)
    """

    outputs = 2
    is_density = takes_data_variance = False
    of_grey_levels = True
    LOG_LEAST_SCALE = -7 - math.log(2)
    formula, derivative = elementwise(discretized_logistic), elementwise(discretized_logistic_backward)

    def elements(self, output, x):
        self.check(output, x)
        mu, s = self.parts(output)
        self.save(mu, s, x)
        return self.formula(mu, s, x)

    def backward(self, dL=1.0):
        mu, s, x = self.recall()
        return array_module(s).concatenate(self.derivative(mu, s, x, dL / len(s)), axis=-1)

    def mean(self, output):
        """The image at the median μ, clipped to [0, 1]."""
        mu, _ = self.parts(output)
        return array_module(output).clip(mu, 0, 1)

    def parts(self, output):
        """(μ, s), views of the output."""
        channels = output.shape[-1] // 2
        return output[..., :channels], output[..., channels:]


class Categorical(Reconstruction):
    """L = −(1/N) Σₙ Σ log p_v,   p = softmax(a): the probability of each 8-bit value v = round(255 x), by 256 logits.

    It knows nothing of the order of the grey levels, and can learn any distribution over them.
    Shapes: x (N, ..., C); the output (N, ..., 256 C) holds a, for each channel its 256 logits in a row; L a scalar.

        ∂L/∂a_k = (p_k − [k = v]) / N

    This is `CrossEntropy`, with a label for each channel. Floats between two grey levels count as the nearer one.
    The logits take memory: those of 64 images of 32×32×3 are 201 MB in float32, and the loss holds three such arrays at
    a time.
    (van den Oord, Kalchbrenner & Kavukcuoglu 2016, arXiv:1601.06759, section 2.2)
    """

    outputs = 256
    is_density = takes_data_variance = False
    of_grey_levels = True

    def __init__(self, dtype=np.float32):
        self.cross_entropy = CrossEntropy()

    def elements(self, output, x):
        self.check(output, x)
        return self.cross_entropy.elements(self.logits(output), grey_level(x).astype(np.int64))

    def backward(self, dL=1.0):
        da = self.cross_entropy.backward(dL)
        return da.reshape(*da.shape[:-2], -1)

    def mean(self, output):
        """Σ_k p_k k/255, the expected image: of all images it has the least expected squared error."""
        greys = array_module(output).arange(256, dtype=output.dtype) / 255
        return array_module(output).clip(softmax(self.logits(output)) @ greys, 0, 1)

    def logits(self, output):
        """(N, ..., C, 256), a view of the output."""
        return output.reshape(*output.shape[:-1], -1, 256)


LIKELIHOODS = {
    "squared_error": SquaredError,
    "gaussian": Gaussian,
    "bernoulli": BernoulliFromLogits,
    "logit_laplace": LogitLaplace,
    "discretized_logistic": DiscretizedLogistic,
    "categorical": Categorical,
}


class CrossEntropy(Module):
    """L = −(1/N) Σₙ Σ_t w[xₙₜ] log softmax(aₙₜ)[xₙₜ], in nats: how surprised the logits a are by the labels x.

    Shapes: a (N, ..., K), x (N, ...) integers from 0 to K − 1, w (`weight`) (K,) or None for ones, L a scalar. The sum
    is over the places of an example, as in every loss here; torch.nn.CrossEntropyLoss has it with reduction="sum".

        ∂L/∂aₙₜⱼ = w[xₙₜ] (softmax(aₙₜ)ⱼ − [j = xₙₜ]) / N

    A place whose label is `ignore_index` counts nothing and has no gradient.
    Raises ValueError for labels of another shape, and on the CPU for one that is no class.
    """

    def __init__(self, weight=None, ignore_index=-100):
        self.weight, self.ignore_index = weight, ignore_index

    def check(self, a, x):
        check_floating(self, a)
        K = a.shape[-1]
        if x.shape != a.shape[:-1] or x.dtype.kind not in "iu":
            raise ValueError(f"CrossEntropy takes integer labels {tuple(a.shape[:-1])} for logits {tuple(a.shape)}, "
                             f"got {tuple(x.shape)} {x.dtype}")
        if self.weight is not None and self.weight.shape != (K,):
            raise ValueError(f"CrossEntropy takes a weight for each of {K} classes, got shape {self.weight.shape}")
        if isinstance(x, np.ndarray):
            unknown = x[(x != self.ignore_index) & ((x < 0) | (x >= K))]
            if unknown.size:
                raise ValueError(f"CrossEntropy has the classes 0 to {K - 1}, got the label {unknown.flat[0]}")

    def elements(self, a, x):
        """What each place adds to its example's loss, in the shape of x. Backward needs it."""
        self.check(a, x)
        xp, log_p = array_module(a), log_softmax(a)
        counts = x != self.ignore_index
        labels = xp.where(counts, x, 0)
        weights = counts.astype(a.dtype)
        if self.weight is not None:
            weights *= self.weight[labels]
        self.save(log_p, labels, weights)
        return -xp.take_along_axis(log_p, labels[..., None], axis=-1)[..., 0] * weights

    def loss(self, a, x):
        return batch_mean_of_sums(self.elements(a, x))

    def backward(self, dL=1.0):
        log_p, labels, weights = self.recall()
        xp = array_module(log_p)
        da = xp.exp(log_p)
        da -= labels[..., None] == xp.arange(da.shape[-1])
        da *= weights[..., None] * (dL / len(da))
        return da
