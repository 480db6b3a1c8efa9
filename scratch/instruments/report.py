"""All measures of a run that `evaluate` prints, in one dict."""

import numpy as np

from scratch.arrays import to_host
from scratch.instruments.denoising import denoising, new_corruption
from scratch.instruments.elbo import RateDistortion, active_units, bits_per_dimension, kl_and_distortion_of
from scratch.instruments.importance import importance_weighted_bounds
from scratch.instruments.posteriors import NONE, posterior_kind
from scratch.instruments.similarity import squared_error_of_each, ssim_of_each, too_small
from scratch.losses import psnr
from scratch.models.autoencoder import squared_errors
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
    names, asked = measures_of(trained, examples)
    metrics, each = trained.held_out(examples, *asked)
    metrics = {name.removeprefix("held_out_"): value for name, value in metrics.items()}
    if not trained.model.has_images:
        return metrics
    metrics |= measure(trained, examples, dict(zip(names, each, strict=True)), samples)
    if corruption:
        metrics |= {"corruption": corruption, **denoising(trained, examples, new_corruption(trained, corruption))}
    elif trained.model.corruption:
        metrics |= denoising(trained, examples)
    return metrics


def measures_of(trained, examples):
    """(names, [function]): what the function finds in the passes of a batch of images (models/autoencoder.py), an array
    (N, …) for each name. ([], []) of a model without images.

    squared_errors   summed over the image, on the device, for the PSNR of all images
    squared_error    the mean over the image; ssim, where an image holds a window
    kl, distortion   (N, Z), (N,) of a model with a prior
    mean             (N, Z) of a Gaussian posterior
    """
    if not trained.model.has_images:
        return [], []
    kind = posterior_kind(trained.model)
    pairwise = {"squared_error": squared_error_of_each, "ssim": ssim_of_each}
    if too_small(examples.shape[1:3]):
        del pairwise["ssim"]

    def of_batch(model, x, passes):
        pair = to_host(x), to_host(passes.reconstruction)
        found = squared_errors(model, x, passes) + [measure(*pair) for measure in pairwise.values()]
        if kind is None:
            return found
        q = model.bottleneck.posterior(passes.features)
        found += of_posterior(model, q, x, passes)
        return [*found, q.mu] if kind.gaussian else found

    posterior = ["kl", "distortion", *(["mean"] if kind.gaussian else [])] if kind else []
    return ["squared_errors", *pairwise, *posterior], [of_batch]


def of_posterior(model, q, x, passes):
    """[KL of each dimension (N, Z), distortion (N,)] of images x with the posterior q, z drawn as the loss drew it."""
    if passes.output is None:
        return kl_and_distortion_of(model, q, x, passes.noise)
    return [q.kl(), model.reconstruction.negative_log_likelihood(passes.output, x)]


def measure(trained, images, each, samples=None):
    """{name: value} of held-out images (uint8), as JSON can hold it; what a system does not have is left out.

    `each` are the measures of each image, {name: (N, …)}, whose names are those of `measures_of`.

    With `samples`, which `check_samples` lets pass, the importance-weighted bound of so many is among them.
    """
    found = {"psnr_per_image": float(psnr(each["squared_error"]).mean())}
    found |= {"ssim": float(each["ssim"].mean())} if "ssim" in each else {"no_ssim": too_small(images.shape[1:3])}
    found |= of_code(trained, each, images.shape[1:])
    if samples:
        bounds = importance_weighted_bounds(trained, images, samples)
        found |= {"importance_samples": samples, "importance_weighted_bound": float(bounds.mean())}
    return found


def of_code(trained, each, image_shape):
    """Rate, distortion, ELBO, bits per dimension, the KL of each dimension and, of a VAE, the active units.

    A model without an ELBO has `no_elbo` instead, the reason.
    """
    kind = posterior_kind(trained.model)
    if kind is None:
        return {"no_elbo": NONE}
    means = RateDistortion(*(each[name].astype(np.float64) for name in ("kl", "distortion")))
    elbo = float(means.elbo.mean())
    found = {
        "rate": float(means.rate.mean()),
        "distortion": float(means.distortion.mean()),
        "elbo": elbo,
        "bits_per_dim": bits_per_dimension(elbo, trained.model.reconstruction, image_shape),
    }
    if kind.gaussian:
        found["active_units"] = int(active_units(each["mean"]).sum())
    if kind.varies:
        found["kl_per_dimension"] = means.kl.mean(axis=0).tolist()
    return found


def summary(kl):
    """The KL of the dimensions in one line: the largest ones, their number and the median."""
    falling = sorted(kl, reverse=True)
    largest = "  ".join(f"{value:.3g}" for value in falling[:LARGEST])
    others = f"  …  {falling[-1]:.3g}" if len(kl) > LARGEST else ""
    return f"{largest}{others}  nats, {len(kl)} in falling order, median {np.median(kl):.3g}"
