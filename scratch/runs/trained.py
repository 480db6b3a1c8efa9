"""A finished run with its model."""

import numpy as np

from data_utils import to_float
from scratch.arrays import each, to_device, to_host, unwarned
from scratch.models.priors import PRIORS
from scratch.options.errors import InputError
from scratch.runs.schema import shown
from scratch.training.held_out import held_out_metrics
from scratch.training.make import make_model
from scratch.training.progress import Diverged
from scratch.training.trainer import Trainer

PRIOR_IMAGES = 5000  # training images whose latents a prior is fitted to


class NotFinite(InputError):
    """The weights of a run are finite, and what the model computes with them is not; `problem` says what that is."""

    def __init__(self, message, problem):
        super().__init__(message)
        self.problem = problem


class Trained:
    """A finished run with its model, speaking NumPy: examples and latents go in and come out on the host.

    Shapes: images (N, H, W, C), uint8, or floats in [0, 1]; images that come out are floats in [0, 1] (a linear network
    may leave that interval). A latent is z or μ (N, Z), a grid of code indices (N, h, w), or a list of such grids.
    """

    def __init__(self, run, device="cpu", model=None):
        self.run, self.options, self.device = run, run.options, device
        self.shape = tuple(run.config["data"]["image_shape"])
        if model is None:
            model = run.load_weights(make_model({**self.options, "device": device}, self.shape))
        self.model = model
        self.dtype = np.dtype(self.options["dtype"])

    def metrics(self):
        """[{name: value}], an entry an epoch."""
        return self.run.metrics()

    @property
    def codes(self):
        """K of a model with a codebook, None of the others."""
        return self.model.bottleneck.codes

    def needs_images(self, what):
        """Raises InputError where the model has no images, which `what` is about."""
        if not self.model.has_images:
            raise InputError(f"{what} is about images, and {self.run.folder} is a run of {self.options['model']}: name "
                             f"another run.")

    def in_batches(self, function, inputs):
        """function(batch on the device), put together on the host. Stored images (uint8) become floats by the batch.

        Inputs and outputs are arrays or, as the latents of several levels are, lists of arrays.
        """
        size, outputs = self.options["batch_size"], []
        count = len(inputs[0]) if isinstance(inputs, list) else len(inputs)
        for start in range(0, max(count, 1), size):
            batch = each(lambda array, start=start: self.prepared(array[start : start + size]), inputs)
            with unwarned():
                outputs.append(each(to_host, function(each(lambda array: to_device(array, self.device), batch))))
        whole = each(lambda *parts: np.concatenate(parts), *outputs)
        each(lambda array: self.check_finite(array, infinite=True), whole)  # the PSNR of a perfect image is infinite
        return whole

    def finite_in_batches(self, function, inputs):
        """`in_batches` of outputs that have to be finite, such as images. Raises InputError."""
        outputs = self.in_batches(function, inputs)
        each(self.check_finite, outputs)
        return outputs

    def check_finite(self, array, infinite=False):
        """Raises InputError where an output of the model is not a number, or is infinite and may not be."""
        if np.isnan(array).any() or not (infinite or np.isfinite(array).all()):
            raise self.too_large("what its model computes is not finite")

    def too_large(self, problem):
        """The NotFinite of weights with which nothing can be computed, which names the largest."""
        weights = self.model.state_dict()
        largest = {name: float(np.abs(array).max()) for name, array in weights.items() if array.size}
        name = max(largest, key=largest.get)
        return NotFinite(f"{shown(self.run.folder)}: {problem}; its largest weight is {largest[name]:.3g}, in {name}: "
                         f"restore checkpoint.safetensors, or train again.", problem)

    def prepared(self, batch):
        return self.floats(batch) if batch.dtype == np.uint8 else np.ascontiguousarray(batch)

    def floats(self, images):
        return to_float(images, self.dtype)

    def evaluate(self, examples):
        """{held_out_…: value} over stored examples; see held_out_metrics."""
        trainer = Trainer(self.model, None, self.options["seed"], self.device)
        try:
            return held_out_metrics(trainer, examples, self.options["batch_size"], self.dtype)
        except Diverged as error:
            raise self.too_large(str(error)) from None

    def reconstruct(self, images):
        """(N, H, W, C): each image encoded and decoded, without chance."""
        return self.finite_in_batches(self.model.reconstruct, self.images(images))

    def encode(self, images):
        """The latents of images."""
        return self.finite_in_batches(self.model.encode, self.images(images))

    def decode(self, latents):
        """(N, H, W, C): the images that latents stand for."""
        return self.finite_in_batches(self.model.decode, latents)

    def sample(self, count, seed=0, images=None):
        """(count, H, W, C): new images from the first prior that the model has. `images` are training images, from
        which some priors take what is frequent. Raises InputError where they are needed and missing."""
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
        """Where this model's new latents come from, given training images where `needs_training_images` says so."""
        latents = None
        if self.needs_training_images():
            if images is None:
                raise InputError(f"samples of a {self.options['model']} follow the latents of training images: give "
                                 f"some.")
            latents = self.encode(images[:PRIOR_IMAGES])
        bottleneck = self.model.bottleneck
        return [PRIORS[name].of(bottleneck, latents) for name in bottleneck.priors]
