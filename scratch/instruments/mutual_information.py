"""What each latent dimension says of each known factor of the images, and the gap between the two that say most.

    I(z_j; v) = Σ_b Σ_v p(b, v) log ( p(b, v) / (p(b) p(v)) )                         0 ≤ I ≤ H(v)
    MIG = mean over factors v of ( I(z_j*; v) − max_{j ≠ j*} I(z_j; v) ) / H(v)       j* = argmax_j I(z_j; v)

The gap is 1 where each factor is told exactly by one dimension and by no other. (Chen et al. 2018, arXiv:1802.04942)

z_j is drawn from q(z_j | x), so that a dimension that has collapsed to the prior says nothing, however exactly its mean
still follows the image. The paper estimates its densities by drawing from q. Here each z_j falls into one of BINS bins
b, and the probability of that is q's own, by the normal distribution function: nothing is drawn. With the edges e_b,

    p(b, v) = (1/N) Σ_{n: v_n = v} ( Φ((e_{b+1} − μ_nj) / σ_nj) − Φ((e_b − μ_nj) / σ_nj) )

Two biases are left. Bins lose what lies within one: I is too small, the more so the narrower q is within a bin. And N
images are few: I is too large by about (BINS − 1)(values of v − 1) / (2 N) nats where q is narrow (Miller 1955), and by
hardly anything where it is wide. The second is much the same in all dimensions of one width, and leaves their gap.
"""

from dataclasses import dataclass

import numpy as np

from data_utils.shapes import RANGES, SYMMETRY
from scratch.instruments.library import scipy_module
from scratch.instruments.posteriors import gaussian_posteriors, is_gaussian
from scratch.options.errors import InputError

BINS = 40  # of each latent dimension
LEVELS = 10  # of a factor that is a real number
BLOCK = 1024  # images at a time
EXTREME = 600  # log σ² beyond ±600 is taken for that: e^±600 is a number of float64, and no bin is so wide or so narrow


@dataclass(frozen=True)
class MutualInformation:
    """nats (Z, F) of each dimension about each factor, names (F,) and entropies (F,) of the factors, in nats."""

    nats: np.ndarray
    names: list
    entropies: np.ndarray

    @property
    def gaps(self):
        """(F,): of each factor, the gap between the two dimensions that say most of it, over its entropy."""
        falling = np.sort(self.nats, axis=0)[::-1]
        second = falling[1] if len(falling) > 1 else 0.0
        return (falling[0] - second) / self.entropies

    @property
    def mig(self):
        return float(self.gaps.mean())


def normal_functions():
    """SciPy's module with Φ and its inverse. Raises InputError where SciPy is not installed."""
    return scipy_module("special", "the mutual information gap")


def bin_edges(mu, logvar):
    """(BINS + 1, Z): edges between which a Gaussian of the mean and the variance of the drawn z falls equally often."""
    ndtri = normal_functions().ndtri
    deviation = np.sqrt(mu.var(axis=0) + np.exp(logvar).mean(axis=0))
    return mu.mean(axis=0) + deviation * ndtri(np.linspace(0, 1, BINS + 1))[:, None]


def mutual_information(mu, logvar, factors):
    """MutualInformation of posteriors N(μ, σ²), mu and logvar (N, Z), and whole numbers {factor: (N,)}."""
    ndtr = normal_functions().ndtr
    mu, logvar = mu.astype(np.float64), logvar.astype(np.float64).clip(-EXTREME, EXTREME)
    edges, sigma = bin_edges(mu, logvar), np.exp(0.5 * logvar)
    values = {name: np.unique(v, return_inverse=True)[1] for name, v in factors.items()}
    joint = {name: np.zeros((v.max() + 1, BINS, mu.shape[1])) for name, v in values.items()}
    for start in range(0, len(mu), BLOCK):
        block = slice(start, start + BLOCK)
        below = ndtr((edges - mu[block, None]) / sigma[block, None])
        mass = np.diff(below, axis=1)  # (B, BINS, Z)
        for name, v in values.items():
            for value in range(len(joint[name])):
                joint[name][value] += mass[v[block] == value].sum(axis=0)
    nats = np.stack([information(counts / len(mu)) for counts in joint.values()], axis=1)
    shares = [np.bincount(v) / len(v) for v in values.values()]
    return MutualInformation(nats, list(factors), np.array([entropy(share) for share in shares]))


def information(joint):
    """I in nats of joint distributions (V, B, Z) of a factor's values and a dimension's bins, (Z,)."""
    independent = joint.sum(axis=0, keepdims=True) * joint.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(joint > 0, joint * np.log(joint / independent), 0.0)
    return terms.sum(axis=(0, 1))


def entropy(shares):
    """−Σ p log p in nats, where p is not 0."""
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def discrete_factors(factors):
    """{factor: whole numbers (N,)} of what is known of images, without those that are the same for all.

    The real numbers of `shapes` are cut into LEVELS equal parts of their range; a rotation first becomes the part of
    its shape's symmetry that it has gone through, as more cannot be seen.
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


def information_of_run(trained, data):
    """MutualInformation of a VAE's code and what is known of the training images.

    Of these and not of the held-out ones, of which there are too few. Raises InputError where the model has no Gaussian
    posterior, nothing is known of the images, or SciPy is missing.
    """
    if not is_gaussian(trained.model):
        raise InputError(f"mig is of the dimensions of a VAE's code, and {trained.run.folder} is a run of "
                         f"{trained.options['model']}: name a run of vae.")
    factors = discrete_factors(data.factors)
    if not factors:
        raise InputError(f"nothing is known of the images of {data.name} that a code could tell: choose other --data, "
                         f"such as shapes.")
    normal_functions()
    return mutual_information(*gaussian_posteriors(trained, data.train), factors)


def mig_of_run(trained, data):
    """{"mig": …} of a VAE on images whose generative factors are known; otherwise nothing, or `no_mig`, which says why.
    """
    if not is_gaussian(trained.model) or data.name != "shapes":
        return {}
    try:
        return {"mig": information_of_run(trained, data).mig}
    except InputError as error:
        return {"no_mig": str(error)}
