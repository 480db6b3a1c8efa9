"""Nearest neighbours: do images whose codes are near each other have the same label?

Each held-out image is a query. Its neighbours are the k training images whose vectors have the smallest Euclidean
distance to its own. The vectors are not standardised: the decoder was trained with distances as they are.

    precision@k = the share of the k neighbours that have the query's label, averaged over queries
    k-NN accuracy = the share of queries whose label most of the k neighbours have; in a tie the nearer ones win

(precision@1 is the 1-NN accuracy; Cover & Hart 1967, doi:10.1109/TIT.1967.1053964)
"""

import numpy as np

from scratch.instruments.vectors import labels
from scratch.options.errors import InputError

NEIGHBOURS = 8
BLOCK = 256  # queries whose distances to all training vectors are in memory at a time


def nearest(train, queries, k, in_threads=map):
    """(M, k) indices of the rows of train (N, D) nearest to each query (M, D), the nearest first.

    ‖query − row‖² = ‖query‖² − 2 ⟨query, row⟩ + ‖row‖²; the first summand is left out, as it is the same for all rows.
    Of equally near rows the first comes first. The mean of all rows, rounded to integers, is first subtracted from
    both. That changes no distance, and without it the products of numbers far from zero would lose the distances to
    rounding. The mean is rounded so that equal distances stay equal.

    Raises InputError where train has fewer than k rows.
    """
    if len(train) < k:
        raise InputError(f"the {k} nearest neighbours need at least {k} training images, and this set has "
                         f"{len(train)}: choose more images.")
    centre = np.rint(train.mean(axis=0))
    train, queries = train - centre, queries - centre
    norms = (train * train).sum(axis=1)

    def of_block(start):
        distances = norms - 2 * queries[start : start + BLOCK] @ train.T
        # partition finds the k-th distance without sorting all; the rows up to that distance are then sorted, stably
        bound = np.partition(distances, k - 1, axis=1)[:, k - 1 : k]
        distances[distances > bound] = np.inf
        return np.stack([near[np.argsort(row[near], kind="stable")][:k]
                         for row in distances for near in [np.flatnonzero(np.isfinite(row))]])

    return np.concatenate(list(in_threads(of_block, range(0, len(queries), BLOCK))))


def votes(neighbours):
    """(M,): the most frequent label of each row (M, k); in a tie the one that comes first."""
    same = (neighbours[:, :, None] == neighbours[:, None, :]).sum(axis=2)
    return neighbours[np.arange(len(neighbours)), same.argmax(axis=1)]


def retrieval(vectors, data, in_threads=map):
    """{factor: {"precision_at_1", "precision_at_8", "knn_accuracy"}} for all factors of the data that are classes.

    Raises InputError where the data have no labels, or fewer than 8 training images.
    """
    found = nearest(vectors.train, vectors.held_out, NEIGHBOURS, in_threads)
    scores = {}
    for name, (known, asked) in labels(data).items():
        same = known[found] == asked[:, None]
        scores[name] = {"precision_at_1": float(same[:, 0].mean()), f"precision_at_{NEIGHBOURS}": float(same.mean()),
                        "knn_accuracy": float((votes(known[found]) == asked).mean())}
    return scores
