"""The similarity of two images: PSNR and SSIM of each pair.

    PSNR  −10 log₁₀ of the mean squared error, in dB, of values in [0, 1]
    SSIM  the agreement of brightness, contrast and structure, averaged over windows; at most 1

Training reports the PSNR of the mean error. The mean of each image's PSNR is larger, by Jensen's inequality, and the
more so the more the errors of the images differ.

SSIM is scikit-image's, with the settings of Wang et al. (2004, doi:10.1109/TIP.2003.819861): a Gaussian window of
σ = 1.5 on 11×11 pixels, variances without Bessel's correction; channel by channel, then averaged.
"""

import numpy as np

from scratch.arrays import to_host
from scratch.losses import psnr
from scratch.options.errors import InputError

WINDOW = 11  # pixels a side, σ = 1.5 cut off at 3.5σ


def squared_error_of_each(images, others):
    """The mean squared error of each pair of images (N, H, W, C), (N,) float64."""
    difference = (images - others).reshape(len(images), -1)
    return (difference * difference).mean(axis=1, dtype=np.float64)


def psnr_of_each(images, others):
    """PSNR in dB of each pair of images (N, H, W, C) in [0, 1], (N,); infinite where the two are the same."""
    return psnr(squared_error_of_each(images, others))


def structural_similarity(image_shape):
    """scikit-image's function, for images (H, W, C).

    Raises InputError where they are smaller than a window, or scikit-image is not installed.
    """
    H, W, _ = image_shape
    if min(H, W) < WINDOW:
        raise InputError(f"SSIM compares windows of {WINDOW}×{WINDOW} pixels, and images of {H}×{W} hold none.")
    try:
        from skimage import metrics  # imported only here: the core runs without it and SciPy
    except ImportError as error:
        raise InputError(f"SSIM needs scikit-image ({error}): pip install scikit-image") from None
    return metrics.structural_similarity


def ssim_of_each(images, others):
    """SSIM of each pair of images (N, H, W, C) in [0, 1], (N,). Raises InputError where `structural_similarity` does.

    All channels of all images are stacked in one tall image, for which scikit-image makes one map of similarities. A
    window counts where it lies within one channel; these are the windows that SSIM of the channel alone would average.
    """
    N, H, W, C = images.shape
    ssim, edge = structural_similarity((H, W, C)), WINDOW // 2
    settings = dict(data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    tall = [x.transpose(0, 3, 1, 2).reshape(N * C * H, W) for x in (images, others)]
    _, similarities = ssim(*tall, full=True, **settings)
    within = similarities.reshape(N, C, H, W)[:, :, edge : H - edge, edge : W - edge]
    return within.mean(axis=(1, 2, 3), dtype=np.float64)


def of_reconstructions(trained, images, measure):
    """measure(images, reconstructions) of all stored images, batch by batch; both are floats on the host."""
    return trained.in_batches(lambda x: measure(to_host(x), to_host(trained.model.reconstruct(x))), images)
