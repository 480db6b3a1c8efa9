"""A finished run with its model."""

import numpy as np

from data_utils import to_float
from scratch.arrays import each, to_device, to_host
from scratch.models.priors import PRIORS
from scratch.options.errors import InputError
from scratch.runs.references import check_references
from scratch.runs.schema import shown
from scratch.training.held_out import held_out_metrics
from scratch.training.make import make_model
from scratch.training.progress import Diverged, silent_overflow
from scratch.training.trainer import Trainer

PRIOR_IMAGES = 5000  # training images whose latents a prior is fitted to


class Trained:
    """A finished run with its model, speaking NumPy: examples and latents go in and come out on the host.

    Shapes: images (N, H, W, C), uint8, or floats in [0, 1]; images that come out are floats in [0, 1] (a linear network
    may leave that interval). A latent is z or μ (N, Z), a grid of code indices (N, h, w), or a list of such grids.
    """

    def __init__(self, run, device="cpu", model=None):
        self.run, self.options, self.device = run, run.options, device
        self.shape = tuple(run.config["data"]["image_shape"])
        if model is None:
            check_references(run)
            model = run.load_weights(make_model({**self.options, "device": device}, self.shape))
        self.model = model
        self.dtype = np.dtype(self.options["dtype"])

    def metrics(self):
        """[{name: value}], an entry an epoch."""
        return self.run.metrics()

    @property
    def codes(self):
        """K of a model with a codebook, None of the others."""
        return self.model.bottleneck.codes if self.model.has_images else None

    def needs_images(self, what):
        """Raises InputError where the model has no images, which `what` is about."""
        if not self.model.has_images:
            raise InputError(f"{what} is about images, and {shown(self.run.folder)} is a run of "
                             f"{self.options['model']}: name another run.")

    def in_batches(self, function, inputs):
        """function(batch on the device), put together on the host. Stored images (uint8) become floats by the batch.

        Inputs and outputs are arrays or, as the latents of several levels are, lists of arrays.
        """
        size, outputs = self.options["batch_size"], []
        count = len(inputs[0]) if isinstance(inputs, list) else len(inputs)
        for start in range(0, max(count, 1), size):
            batch = each(lambda array, start=start: self.prepared(array[start : start + size]), inputs)
            outputs.append(self.on_device(function, batch))
        return each(lambda *parts: np.concatenate(parts), *outputs)

    def on_device(self, function, *inputs):
        """function(inputs on the device), on the host. Raises InputError where a number is infinite or NaN: the weights
        of a run that diverged make numbers that overflow."""
        with silent_overflow():  # the result says it once
            on_device = (each(lambda array: to_device(array, self.device), given) for given in inputs)
            outputs = each(to_host, function(*on_device))
        for array in outputs if isinstance(outputs, list) else [outputs]:
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise self.diverged("its numbers overflow")
        return outputs

    def diverged(self, reason):
        """The InputError for a run whose weights are of no use."""
        return InputError(f"{shown(self.run.folder)} has diverged ({reason}): train it again with a smaller learning "
                          f"rate.")

    def prepared(self, batch):
        """Stored images, or floats of any precision, as floats of the run's; code indices stay as they are."""
        if batch.dtype.kind == "f":
            return np.ascontiguousarray(batch, self.dtype)
        return self.floats(batch) if batch.dtype == np.uint8 else np.ascontiguousarray(batch)

    def floats(self, images):
        return to_float(images, self.dtype)

    def evaluate(self, examples):
        """{held_out_…: value} over stored examples; see held_out_metrics. Raises InputError where a term overflows."""
        trainer = Trainer(self.model, None, self.options["seed"], self.device)
        try:
            with silent_overflow():
                return held_out_metrics(trainer, examples, self.options["batch_size"], self.dtype)
        except Diverged as error:
            raise self.diverged(error) from None

    def reconstruct(self, images):
        """(N, H, W, C): each image encoded and decoded, without chance."""
        images = self.images(images)
        return self.in_batches(self.model.reconstruct, images)

    def encode(self, images):
        """The latents of images."""
        return self.in_batches(self.encode_batch, self.images(images))

    def encode_batch(self, x):
        """Latents of a batch on the device. Numbers that overflow still have a nearest code, so they are looked for."""
        if self.codes:
            with self.model.evaluating():
                features = self.model.encoder.forward(x)
                if not np.isfinite(to_host(abs(features).max())):
                    raise self.diverged("its features overflow")
                return self.model.bottleneck.encode(features)
        return self.model.encode(x)

    def decode(self, latents):
        """(N, H, W, C): the images that latents stand for."""
        self.needs_images("decode")
        return self.in_batches(self.model.decode, latents)

    def interpolate(self, a, b, steps):
        """(steps, H, W, C): images decoded from latents on the way from image a (H, W, C) to image b."""
        way = self.on_device(lambda *ends: self.model.interpolate(*ends, steps), a[None], b[None])
        return way[0]

    def variations(self, images, count, rng):
        """(N, count, H, W, C): each image decoded from `count` draws of its code. Raises InputError where the code is
        not drawn at random."""
        return self.on_device(lambda x: self.model.variations(x, count, rng), images)

    def sample(self, count, seed=0, images=None):
        """(count, H, W, C): new images from the first prior that the model has. `images` are training images, from
        which some priors take what is frequent. Raises InputError where they are needed and missing."""
        self.needs_images("sample")
        prior = self.priors(images)[0]
        return self.decode(prior.draw(count, np.random.default_rng(seed), self.dtype))

    def images(self, given):
        """Images as the model takes them: of its shape, uint8 or floats in [0, 1] in its precision. Raises InputError.
        """
        self.needs_images("this")
        given = np.asarray(given)
        if given.shape[1:] != self.shape:
            H, W, C = self.shape
            raise InputError(f"expected images (N, {H}, {W}, {C}), as {self.run.folder} was trained on, got an array "
                             f"of shape {given.shape}.")
        if given.dtype == np.uint8:
            return given
        if given.dtype.kind != "f" or not ((given >= 0) & (given <= 1)).all():
            raise InputError(f"expected images of uint8, or floats in [0, 1], got {given.dtype}"
                             + (f" from {given.min():g} to {given.max():g}" if given.dtype.kind == "f" else "")
                             + ": divide values of 0 to 255 by 255, or keep them as uint8.")
        return given.astype(self.dtype, copy=False)

    def needs_training_images(self):
        """Is a prior of this model fitted to training images?"""
        return any(PRIORS[name].fitted for name in self.model.bottleneck.priors)

    def priors(self, images=None):
        """Where this model's new latents come from, given training images where `needs_training_images` says so. Raises
        InputError where the model has no prior."""
        if not self.model.bottleneck.priors:
            raise InputError(f"new images are decoded from latents that a prior draws, and a {self.options['model']} "
                             f"has no prior: name another run.")
        latents = None
        if self.needs_training_images():
            if images is None:
                raise InputError(f"samples of a {self.options['model']} follow the latents of training images: give "
                                 f"some.")
            latents = self.encode(images[:PRIOR_IMAGES])
        bottleneck = self.model.bottleneck
        return [PRIORS[name].of(bottleneck, latents) for name in bottleneck.priors]
