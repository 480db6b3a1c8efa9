"""The mutual information of each latent dimension and each known factor of the images, and the gap (MIG) between the
two dimensions that tell most of a factor.

    I(zⱼ; factor) = Σ_bins Σ_values p(bin, value) log( p(bin, value) / (p(bin) p(value)) )       at most H(factor)
    MIG = mean over factors of (the largest I(zⱼ; factor) − the second largest) / H(factor)

The MIG is 1 where one dimension tells each factor exactly and all others tell nothing. (Chen et al. 2018,
arXiv:1802.04942)

zⱼ is distributed as q(zⱼ | x). So a dimension that has collapsed to the prior tells nothing, however exactly its mean
still follows the image. The paper estimates its densities by draws from q. Here nothing is drawn: each zⱼ falls into
one of BINS bins, with a probability that follows from q by the normal distribution function Φ:

    p(bin, value) = (1/N) Σₙ ( Φ((upper edge − μₙⱼ) / σₙⱼ) − Φ((lower edge − μₙⱼ) / σₙⱼ) )       over n of this value

Two biases are left. Bins lose the differences within a bin: I is too small, the more so the narrower q is. And N images
are few: I is too large by about (BINS − 1)(values − 1) / (2 N) nats where q is narrow (Miller 1955), and by hardly
anything where q is wide. The second is about the same in all dimensions of one width, so it hardly changes their gap.
"""

from dataclasses import dataclass

import numpy as np

from data_utils import printable
from data_utils.shapes import RANGES, SYMMETRY
from scratch.instruments.library import scipy_module
from scratch.instruments.posteriors import gaussian_posteriors, is_gaussian
from scratch.options.errors import InputError

BINS = 40  # of each latent dimension
LEVELS = 10  # into which a factor that is a real number is cut
BLOCK = 256  # images at a time
EXTREME = 600  # a log σ² beyond ±600 counts as ±600: e^±600 is a number of float64, and no bin needs more


@dataclass(frozen=True)
class MutualInformation:
    """nats (Z, F) of each dimension about each factor, names (F,) and entropies (F,) of the factors, in nats."""

    nats: np.ndarray
    names: list
    entropies: np.ndarray

    @property
    def gaps(self):
        """(F,): of each factor, the gap between the two dimensions that tell most of it, over its entropy."""
        falling = np.sort(self.nats, axis=0)[::-1]
        second = falling[1] if len(falling) > 1 else 0.0
        return (falling[0] - second) / self.entropies

    @property
    def mig(self):
        """The mean of the gaps."""
        return float(self.gaps.mean())


def normal_functions():
    """SciPy's module with Φ (ndtr) and its inverse (ndtri). Raises InputError where SciPy is not installed."""
    return scipy_module("special", "the mutual information gap")


def bin_edges(mu, logvar):
    """(BINS + 1, Z): the edges of bins that are equally probable under a Gaussian with the mean and variance of z."""
    ndtri = normal_functions().ndtri
    deviation = np.sqrt(mu.var(axis=0) + np.exp(logvar).mean(axis=0))
    return mu.mean(axis=0) + deviation * ndtri(np.linspace(0, 1, BINS + 1))[:, None]


def mutual_information(mu, logvar, factors, in_threads=map):
    """MutualInformation of posteriors N(μ, σ²), mu and logvar (N, Z), and integers {factor: (N,)}."""
    ndtr = normal_functions().ndtr
    mu, logvar = mu.astype(np.float64), logvar.astype(np.float64).clip(-EXTREME, EXTREME)
    edges, sigma = bin_edges(mu, logvar), np.exp(0.5 * logvar)
    values = {name: np.unique(v, return_inverse=True)[1] for name, v in factors.items()}
    joint = {name: np.zeros((v.max() + 1, BINS, mu.shape[1])) for name, v in values.items()}

    def of_block(start):
        block = slice(start, start + BLOCK)
        below = edges - mu[block, None]  # (B, BINS + 1, Z)
        below /= sigma[block, None]
        mass = np.diff(ndtr(below, out=below), axis=1)  # (B, BINS, Z)
        return {name: [mass[v[block] == value].sum(axis=0) for value in range(len(joint[name]))]
                for name, v in values.items()}

    for counts in in_threads(of_block, range(0, len(mu), BLOCK)):
        for name, of_values in counts.items():
            joint[name] += of_values
    nats = np.stack([information(counts / len(mu)) for counts in joint.values()], axis=1)
    shares = [np.bincount(v) / len(v) for v in values.values()]
    return MutualInformation(nats, list(factors), np.array([entropy(share) for share in shares]))


def information(joint):
    """I in nats, (Z,), of joint distributions (V, B, Z) of a factor's values and a dimension's bins."""
    independent = joint.sum(axis=0, keepdims=True) * joint.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(joint > 0, joint * np.log(joint / independent), 0.0)
    return terms.sum(axis=(0, 1))


def entropy(shares):
    """−Σ p log p in nats, over the shares p > 0."""
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def discrete_factors(factors):
    """{factor: integers (N,)} of the known factors of images, without those that have one value for all images.

    The real numbers of `shapes` are cut into LEVELS equal parts of their range. A rotation is first taken modulo the
    symmetry of its shape, since an image shows no more of it.
    """
    found = {}
    for name, values in factors.items():
        if name == "rotation":
            values = 2 * np.pi * (values / (2 * np.pi) * np.take(SYMMETRY, factors["shape"]) % 1)
        if not np.issubdtype(values.dtype, np.integer):
            low, high = RANGES[name]
            values = np.minimum(LEVELS * (values - low) / (high - low), LEVELS - 1).astype(np.int64)
        if len(np.unique(values)) > 1:
            found[name] = values
    return found


def check_gaussian(trained):
    """Raises InputError where the code of a run is not Gaussian, as a VAE's is."""
    if not is_gaussian(trained.model):
        raise InputError(f"mig measures the dimensions of a VAE's code, and {printable(trained.run.folder)} is a run "
                         f"of {trained.options['model']}: name a run of vae.")


def information_of_run(trained, data):
    """MutualInformation of a VAE's code and the known factors of the training images; the held-out images are too few.

    Raises InputError where the model has no Gaussian posterior, no factor of the images varies, or SciPy is missing.
    """
    check_gaussian(trained)
    factors = discrete_factors(data.factors)
    if not factors:
        raise InputError(f"mig needs a known factor that varies, and the {len(data.train)} training images of "
                         f"{printable(data.name)} have none: choose more images, or others, such as shapes.")
    normal_functions()
    return mutual_information(*gaussian_posteriors(trained, data.train), factors, trained.threads.map)


def mig_of_run(trained, data):
    """{"mig": …} of a VAE on `shapes`, or {"no_mig": the reason}; {} of other models and data sets."""
    if not is_gaussian(trained.model) or data.name != "shapes":
        return {}
    try:
        return {"mig": information_of_run(trained, data).mig}
    except InputError as error:
        return {"no_mig": str(error)}
