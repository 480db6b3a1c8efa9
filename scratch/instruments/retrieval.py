"""Nearest neighbours: are images whose codes are near each other of one kind?

Each held-out image is a query; its neighbours are the k training images whose vectors are nearest, by Euclidean
distance in the space as it is, not standardised: that is the geometry the decoder was trained with.

    precision@k = the share of the k neighbours that have the query's label, averaged over queries
    k-NN accuracy = the share of queries whose label most of the k neighbours have; of equally many the nearer ones win

(precision@1 is the 1-NN accuracy; Cover & Hart 1967, doi:10.1109/TIT.1967.1053964)
"""

import numpy as np

from scratch.instruments.vectors import labels

NEIGHBOURS = 8
BLOCK = 256  # queries whose distances to all training vectors are held at a time


def nearest(train, queries, k):
    """(M, k) indices of the rows of train (N, D) nearest to each query (M, D), the nearest first.

    ‖q − t‖² = ‖q‖² − 2 q·t + ‖t‖², without ‖q‖², which orders nothing. Of equally near rows the first comes first.
    The mean of all rows, rounded to whole numbers, is taken from both first: it changes no distance, and far from zero
    the products would round the distances away. Rounded, because equal distances then stay equal.
    """
    centre = np.rint(train.mean(axis=0))
    train, queries = train - centre, queries - centre
    norms = (train * train).sum(axis=1)
    blocks = []
    for start in range(0, len(queries), BLOCK):
        distances = norms - 2 * queries[start : start + BLOCK] @ train.T
        # partition finds the k-th distance without sorting all; what is as near as that is then sorted, stably
        bound = np.partition(distances, k - 1, axis=1)[:, k - 1 : k]
        distances[distances > bound] = np.inf
        blocks.append(np.stack([near[np.argsort(row[near], kind="stable")][:k]
                                for row in distances for near in [np.flatnonzero(np.isfinite(row))]]))
    return np.concatenate(blocks)


def votes(neighbours):
    """(M,): the label that most of each row's labels (M, k) are; of equally many the one that comes first."""
    same = (neighbours[:, :, None] == neighbours[:, None, :]).sum(axis=2)
    return neighbours[np.arange(len(neighbours)), same.argmax(axis=1)]


def retrieval(vectors, data):
    """{factor: {"precision_at_1", "precision_at_8", "knn_accuracy"}} for all factors of the data that are classes."""
    found = nearest(vectors.train, vectors.held_out, min(NEIGHBOURS, len(vectors.train)))
    scores = {}
    for name, (known, asked) in labels(data).items():
        same = known[found] == asked[:, None]
        scores[name] = {"precision_at_1": float(same[:, 0].mean()), f"precision_at_{NEIGHBOURS}": float(same.mean()),
                        "knn_accuracy": float((votes(known[found]) == asked).mean())}
    return scores
