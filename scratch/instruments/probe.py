"""A linear probe: the accuracy of a linear classifier that predicts labels from fixed vectors.

Multinomial logistic regression with an L2 penalty, on standardised vectors x (N, D) with labels in 0 … O − 1:

    L = −(1/N) Σₙ log p(labelₙ | xₙ) + ½ penalty ‖W‖²       p(· | x) = softmax(x W + b)       W (D, O), b (O,)

    ∂L/∂W = xᵀ (p − onehot) / N + penalty · W               ∂L/∂b = Σₙ (p − onehot)ₙ / N

onehot (N, O) is 1 at each label. L is convex; SciPy's L-BFGS finds its minimum. The penalty is chosen on a fifth of the
training images; then the probe is fitted to all of them.
(Alain & Bengio 2016, arXiv:1610.01644, on probes; Kornblith et al. 2019, arXiv:1805.08974, for this classifier, fitted
by L-BFGS with the penalty chosen on a part of the training set; docs/reference/downstream.md)
"""

import numpy as np

from scratch.instruments.library import scipy_module
from scratch.instruments.vectors import labels
from scratch.layers.softmax import log_softmax
from scratch.options.errors import InputError

PENALTIES = (1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # falling: each fit begins at the one before
FITS = len(PENALTIES) + 1  # of one probe
STOPPED_AT = {"ftol": 1e-7, "maxiter": 300}  # L-BFGS stops at a smaller gain, or after so many steps
CACHED = 2**21  # numbers of an x that is small enough to be one block
BLOCK = 10**5  # numbers of a larger x at a time, which stay in the cache of a core
PART = 4  # blocks at least in each of the parts that threads share
PARTS = 8  # at most
VALIDATED = 5  # every fifth training image is left out while the penalty is chosen


def loss_and_gradient(weights, x, y, penalty, in_threads=map):
    """(L, [∂L/∂W; ∂L/∂b]) at weights (D + 1, O), whose last row is b.

    The sums over n of a large x are taken block by block, so that it comes from memory once and not once for each
    product. in_threads shares out parts of many blocks; the result does not depend on the number of threads.
    """
    W, N = weights[:-1], len(y)
    size = N if x.size <= CACHED else max(1, BLOCK // x.shape[1])
    starts = np.arange(0, N, size)
    parts = np.array_split(starts, min(PARTS, max(1, len(starts) // PART)))
    share_out = in_threads if len(parts) > 1 else map
    losses, gradients = zip(*share_out(lambda part: of_blocks(weights, x, y, part, size), parts), strict=True)
    gradient = sum(gradients)
    gradient[:-1] += penalty * W
    return sum(losses) / N + 0.5 * penalty * (W * W).sum(), gradient


def of_blocks(weights, x, y, starts, size):
    """(−Σₙ log p(labelₙ | xₙ), its gradient / N), over the n of the blocks of so many rows that begin at `starts`."""
    W, b = weights[:-1], weights[-1]
    loss, gradient = 0.0, np.zeros_like(weights)
    for start in starts:
        rows, labels = x[start : start + size], y[start : start + size]
        log_p, each = log_softmax(rows @ W + b), np.arange(len(labels))
        loss -= log_p[each, labels].sum()
        error = np.exp(log_p)
        error[each, labels] -= 1
        error /= len(y)
        gradient[:-1] += rows.T @ error
        gradient[-1] += error.sum(axis=0)
    return loss, gradient


def fit(x, y, penalty, start, in_threads=map):
    """The weights (D + 1, O) of least loss, found from `start`. Raises InputError without SciPy."""

    def flat(weights):
        loss, gradient = loss_and_gradient(weights.reshape(start.shape), x, y, penalty, in_threads)
        return loss, gradient.ravel()

    minimize = scipy_module("optimize", "a linear probe").minimize
    return minimize(flat, start.ravel(), jac=True, method="L-BFGS-B", options=STOPPED_AT).x.reshape(start.shape)


def accuracy(weights, x, y):
    """The share of rows x whose largest score is that of their label y. A label without weights counts as missed."""
    return float(((x @ weights[:-1] + weights[-1]).argmax(axis=1) == y).mean())


def standardised(train, *others):
    """Each of the arrays (·, D) minus the mean of `train`, divided by its standard deviation, column by column.

    A column that is constant in `train` is divided by 1.
    """
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation[train.min(axis=0) == train.max(axis=0)] = 1  # its deviation may be a rounding error instead of 0
    return [(rows - mean) / deviation for rows in (train, *others)]


def linear_probe(train, train_labels, held_out, held_out_labels, in_threads=map, fitted=lambda: None):
    """{"accuracy", "penalty"}: the accuracy on held-out vectors (M, D) of a probe fitted to `train` (N, D), and its
    penalty. `fitted` is called after each of the FITS.

    Raises InputError where there are fewer training vectors than the penalty is chosen by, and without SciPy.
    """
    if len(train) < VALIDATED:
        raise InputError(f"a linear probe needs at least {VALIDATED} training images, one of them to choose the "
                         f"penalty by, and this set has {len(train)}: choose more images.")
    classes, y = np.unique(train_labels, return_inverse=True)
    found = {name: number for number, name in enumerate(classes.tolist())}
    held_out_y = np.array([found.get(name, -1) for name in held_out_labels.tolist()])
    chosen_on = np.arange(len(train)) % VALIDATED == VALIDATED - 1

    x, left_out = standardised(train[~chosen_on], train[chosen_on])
    weights, tried = np.zeros((train.shape[1] + 1, len(classes))), {}
    for penalty in PENALTIES:
        weights = fit(x, y[~chosen_on], penalty, weights, in_threads)
        fitted()
        tried[penalty] = accuracy(weights, left_out, y[chosen_on])
    penalty = max(tried, key=tried.get)  # where two are equal the first, which is the larger penalty

    x, unseen = standardised(train, held_out)
    weights = fit(x, y, penalty, np.zeros_like(weights), in_threads)
    fitted()
    return {"accuracy": accuracy(weights, unseen, held_out_y), "penalty": penalty}


def chance(train_labels, held_out_labels):
    """The accuracy of a guess that is always the most frequent training label."""
    names, counts = np.unique(train_labels, return_counts=True)
    return float((held_out_labels == names[counts.argmax()]).mean())


def probe(vectors, data, in_threads=map, fitted=lambda: None):
    """{factor: its linear_probe} for all factors of the data that are classes."""
    return {name: linear_probe(vectors.train, known, vectors.held_out, asked, in_threads, fitted)
            for name, (known, asked) in labels(data).items()}
