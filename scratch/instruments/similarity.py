"""The similarity of two images: PSNR and SSIM of each pair.

    PSNR  −10 log₁₀ of the mean squared error, in dB, of values in [0, 1]
    SSIM  the agreement of brightness, contrast and structure, averaged over windows; at most 1

Training reports the PSNR of the mean error. The mean of each image's PSNR is larger, by Jensen's inequality, and the
more so the more the errors of the images differ.

SSIM has the settings of Wang et al. (2004, doi:10.1109/TIP.2003.819861): a Gaussian window of σ = 1.5 on 11×11 pixels,
variances without Bessel's correction; channel by channel, then averaged. A test holds it against scikit-image's.
"""

import numpy as np

from scratch.losses import psnr
from scratch.options.errors import InputError

WINDOW, SIGMA = 11, 1.5  # pixels a side, and the standard deviation of the weights within
C1, C2 = 0.01**2, 0.03**2  # keep the two quotients finite on plain ground; of values in [0, 1]


def squared_error_of_each(images, others):
    """The mean squared error of each pair of images (N, H, W, C), (N,) float64."""
    difference = (images - others).reshape(len(images), -1)
    return (difference * difference).mean(axis=1, dtype=np.float64)


def psnr_of_each(images, others):
    """PSNR in dB of each pair of images (N, H, W, C) in [0, 1], (N,); infinite where the two are the same."""
    return psnr(squared_error_of_each(images, others))


def too_small(sides):
    """Why images of these sides (H, W) have no SSIM; "" where they have one."""
    if min(sides) >= WINDOW:
        return ""
    return f"SSIM compares windows of {WINDOW}×{WINDOW} pixels, and images of {'×'.join(map(str, sides))} hold none."


def window_weights(length):
    """(length − 10, length): a row has the weights of one window along an axis of an image, which add up to 1."""
    weights = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / SIGMA) ** 2)
    rows = np.zeros((length - WINDOW + 1, length))
    for start, row in enumerate(rows):
        row[start : start + WINDOW] = weights / weights.sum()
    return rows


def ssim_of_each(images, others):
    """SSIM of each pair of images (N, H, W, C) in [0, 1], (N,). Raises InputError where they are smaller than
    a window.

        μ = G m Gᵀ      the means of an image's channel m (H, W) over all windows within it
        σ² = G m² Gᵀ − μ²      their variances; likewise the covariance of two images

    G holds the windows' weights along one axis. All is float64, because a variance is the difference of two numbers
    that are nearly equal on plain ground.
    """
    if reason := too_small(images.shape[1:3]):
        raise InputError(reason)
    x, y = (np.ascontiguousarray(array.transpose(0, 3, 1, 2), np.float64) for array in (images, others))
    down, across = (window_weights(length) for length in x.shape[2:])
    mu_x, mu_y, xx, yy, xy = (down @ (moment @ across.T) for moment in (x, y, x * x, y * y, x * y))
    product, squares = mu_x * mu_y, mu_x * mu_x + mu_y * mu_y
    similarity = (2 * product + C1) * (2 * (xy - product) + C2) / ((squares + C1) * (xx + yy - squares + C2))
    return similarity.mean(axis=(1, 2, 3))
