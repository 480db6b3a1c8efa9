"""What a model has to beat: the mean image, given as the reconstruction of every image."""

import numpy as np

from data_utils import to_float

BLOCK = 1024  # images at a time


def mean_image_error(train, held_out):
    """The mean squared error per element of held-out images when each is reconstructed as the mean training image.

    Shapes: train (N, H, W, C), held_out (M, H, W, C), stored as uint8 or as floats in [0, 1]. It is the error of an
    autoencoder whose code says nothing, and near the variance of the data.
    """
    mean = sum(block.sum(axis=0) for block in blocks(train)) / len(train)
    return sum(((block - mean) ** 2).sum() for block in blocks(held_out)) / held_out.size


def blocks(images):
    """The images as float64 in [0, 1], some at a time."""
    return (to_float(images[start : start + BLOCK], np.float64) for start in range(0, len(images), BLOCK))
