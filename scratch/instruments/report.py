"""All measures of a run that `evaluate` prints, in one dict."""

import numpy as np

from scratch.instruments.denoising import denoising, new_corruption
from scratch.instruments.elbo import active_units, bits_per_dimension, rate_distortion
from scratch.instruments.importance import importance_weighted_bounds
from scratch.instruments.posteriors import NONE, posterior_kind
from scratch.instruments.similarity import (
    of_reconstructions,
    squared_error_of_each,
    ssim_of_each,
    structural_similarity,
)
from scratch.losses import psnr
from scratch.options.errors import InputError

UNITS = {
    "psnr": "dB, of all images' mean error", "psnr_per_image": "dB, the mean of each image's", "rate": "nats",
    "distortion": "nats", "elbo": "nats", "bits_per_dim": "bits", "importance_weighted_bound": "nats",
}
LARGEST = 8  # dimensions whose KL is shown one by one


def check_samples(trained, samples):
    """Raises InputError where importance samples are asked for and the code is not drawn at random."""
    if samples and not (trained.model.has_images and trained.model.bottleneck.random):
        raise InputError(f"importance samples weigh draws of a random code, and that of a {trained.options['model']} "
                         f"is not drawn: name a run of vae or dvae.")


def measure_all(trained, examples, samples=None, corruption=None):
    """{name: value} of stored held-out examples: the metrics of training, and of images those of the instruments.

    Denoising is measured with the corruption given, such as "gaussian:0.3", or with the run's own where it has one.
    A value is a number or a text; `kl_per_dimension` is a list. A PSNR without error is infinite.
    """
    if corruption:
        trained.needs_images("a corruption")
    metrics = {name.removeprefix("held_out_"): value for name, value in trained.evaluate(examples).items()}
    if not trained.model.has_images:
        return metrics
    metrics |= measure(trained, examples, samples)
    if corruption:
        metrics |= {"corruption": corruption, **denoising(trained, examples, new_corruption(trained, corruption))}
    elif trained.model.corruption:
        metrics |= denoising(trained, examples)
    return metrics


def measure(trained, images, samples=None):
    """{name: value} of held-out images (uint8), as JSON can hold it; what a system does not have is left out.

    With `samples`, which `check_samples` lets pass, the importance-weighted bound of so many is among them.
    """
    found = {**of_images(trained, images), **of_posterior(trained, images)}
    if samples:
        bounds = importance_weighted_bounds(trained, images, samples)
        found |= {"importance_samples": samples, "importance_weighted_bound": float(bounds.mean())}
    return found


def of_images(trained, images):
    """psnr_per_image and ssim of the reconstructions, or `no_ssim`, the reason for its absence."""
    measures, missing = {"psnr_per_image": squared_error_of_each, "ssim": ssim_of_each}, {}
    try:
        structural_similarity(images.shape[1:])
    except InputError as error:
        del measures["ssim"]
        missing["no_ssim"] = str(error)
    each = of_reconstructions(trained, images, lambda *pair: [measure(*pair) for measure in measures.values()])
    found = dict(zip(measures, each, strict=True))
    found["psnr_per_image"] = psnr(found["psnr_per_image"])
    return {name: float(values.mean()) for name, values in found.items()} | missing


def of_posterior(trained, images):
    """Rate, distortion, ELBO, bits per dimension, the KL of each dimension and, of a VAE, the active units.

    A model without an ELBO has `no_elbo` instead, the reason.
    """
    kind = posterior_kind(trained.model)
    if kind is None:
        return {"no_elbo": NONE}
    means = rate_distortion(trained, images)
    elbo = float(means.elbo.mean())
    found = {
        "rate": float(means.rate.mean()),
        "distortion": float(means.distortion.mean()),
        "elbo": elbo,
        "bits_per_dim": bits_per_dimension(elbo, trained.model.reconstruction, images.shape[1:]),
    }
    if kind.gaussian:
        found["active_units"] = int(active_units(trained.encode(images)).sum())
    if kind.varies:
        found["kl_per_dimension"] = means.kl.mean(axis=0).tolist()
    return found


def summary(kl):
    """The KL of the dimensions in one line: the largest ones, their number and the median."""
    falling = sorted(kl, reverse=True)
    largest = "  ".join(f"{value:.3g}" for value in falling[:LARGEST])
    others = f"  …  {falling[-1]:.3g}" if len(kl) > LARGEST else ""
    return f"{largest}{others}  nats, {len(kl)} in falling order, median {np.median(kl):.3g}"
