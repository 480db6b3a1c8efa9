"""A finished run with its model."""

import itertools
from contextlib import contextmanager
from functools import cached_property

import numpy as np

from data_utils import DataError, as_images, printable, to_float
from scratch.arrays import each, to_device, to_host, unwarned
from scratch.models.priors import PRIORS
from scratch.options.errors import InputError
from scratch.runs.references import check_references
from scratch.runs.run import Run
from scratch.runs.written import COUNT, SEED, Writing
from scratch.training.held_out import held_out
from scratch.training.make import make_evaluator, make_model, make_threads
from scratch.training.progress import Diverged
from scratch.training.world import World

PRIOR_IMAGES = 5000  # training images whose latents a prior is fitted to


class NotFinite(InputError):
    """The weights of a run are finite, and what the model computes with them is not; `problem` says what that is."""

    def __init__(self, message, problem):
        super().__init__(message)
        self.problem = problem


@contextmanager
def computing_batches(size):
    """A context for computations on batches of this size. An exception that leaves it has the size as `batch_size`."""
    try:
        yield
    except Exception as error:
        error.batch_size = size
        raise


class Trained(Writing):
    """A finished run with its model, speaking NumPy: examples and latents go in and come out on the host.

    Shapes: images (N, H, W, C), or (N, H, W) of grey ones, uint8 from 0 to 255 or floats from 0 to 1; images that come
    out are floats in [0, 1] (a linear network may leave that interval). A latent is z or μ (N, Z), a grid of code
    indices (N, h, w), or a list of such grids, the top one first. With G groups of codes a grid is (N, h, w, G).

    run               a folder (runs/run.py), or what was trained in memory alone
    which             of the weights in a folder: the "last", or the "best" where training kept them
    model             as training left it; None: it is read from the folder
    training_images   those that `sample` may need, where they are at hand

    `on_batch` is called after each batch of what goes through the model, to show how far that is. `ranks` are the
    processes that share batches out among themselves; all of them have to call the same methods.
    """

    on_batch = staticmethod(lambda: None)
    ranks = World()

    def __init__(self, run, device="cpu", model=None, training_images=None, which="last"):
        self.run, self.options, self.device = run, run.options, device
        self.shape = tuple(run.config["data"]["image_shape"])
        if model is None:
            check_references(run)
            model = run.load_weights(make_model({**self.options, "device": device}, self.shape), which)
        self.model, self.training_images = model, training_images
        self.dtype = np.dtype(self.options["dtype"])
        self.threads = make_threads(self.options, device)

    def metrics(self):
        """[{name: value}], an entry an epoch."""
        return self.run.metrics()

    @property
    def codes(self):
        """K of a model with a codebook, None of the others."""
        return self.model.bottleneck.codes if self.model.has_images else None

    def needs_images(self, what):
        """Raises InputError if the model has no images, which `what` needs."""
        if not self.model.has_images:
            raise InputError(f"{what} is about images, and {printable(self.run.folder)} is a run of "
                             f"{self.options['model']}: name another run.")

    def in_batches(self, function, inputs, draw=None):
        """function(batch on the device), put together on the host. Stored images (uint8) become floats by the batch.

        Inputs and outputs are arrays or, as the latents of several levels are, lists of arrays. The model is in
        evaluation mode, and the batches are shared out among threads: the function may keep nothing from one to the
        next. What it needs beside a batch, such as noise, comes from `draw`, a function of the number of examples that
        is called for one batch after the other: then it is function(batch, drawn).
        """
        size = self.options["batch_size"]
        count = len(inputs[0]) if isinstance(inputs, list) else len(inputs)
        starts = range(0, max(count, 1), size)
        drawn = ([draw(min(size, count - start))] if draw else [] for start in starts)

        def of_batch(task):
            start, beside = task
            batch = each(lambda array: self.prepared(array[start : start + size]), inputs)
            found = self.on_device(function, batch, *beside)
            self.on_batch()
            return found

        ranks = self.ranks
        with computing_batches(size), self.model.evaluating():
            tasks = itertools.islice(zip(starts, drawn, strict=True), ranks.rank, None, ranks.size)
            outputs = ranks.gather(self.threads.map(of_batch, tasks))
        in_order = [outputs[number % ranks.size][number // ranks.size] for number in range(len(starts))]
        return each(lambda *parts: np.concatenate(parts), *in_order)

    def on_device(self, function, *inputs):
        """function(inputs on the device), on the host. Raises InputError where a number is infinite or NaN: the weights
        of a run that diverged make numbers that overflow."""
        with unwarned():  # the result says it once
            on_device = (given if given is None else each(lambda array: to_device(array, self.device), given)
                         for given in inputs)
            outputs = function(*on_device)
        return each(self.finite, outputs)

    def finite(self, array):
        """An array of what the model computed, on the host. Raises InputError where one of its floats is not finite."""
        array = to_host(array)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise self.diverged("its numbers overflow")
        return array

    def diverged(self, reason):
        """The NotFinite for a run whose weights are of no use; it names the largest of them."""
        largest = {name: float(np.abs(array).max()) for name, array in self.model.state_dict().items() if array.size}
        name = max(largest, key=largest.get)
        return NotFinite(f"{printable(self.run.folder)} has diverged ({reason}; its largest weight is "
                         f"{largest[name]:.3g}, in {name}): restore checkpoint.safetensors, or train again with a "
                         f"smaller learning rate.", reason)

    def prepared(self, batch):
        """Stored images, or floats of any precision, as floats of the run's; code indices stay as they are."""
        if batch.dtype.kind == "f":
            return np.ascontiguousarray(batch, self.dtype)
        return self.floats(batch) if batch.dtype == np.uint8 else np.ascontiguousarray(batch)

    def floats(self, images):
        return to_float(images, self.dtype)

    def evaluate(self, examples):
        """{held_out_…: value} over stored examples: every loss term, and of images the PSNR; see held_out_metrics.
        Raises InputError where a term overflows."""
        return self.held_out(examples)[0]

    def held_out(self, examples, *measure):
        """(the same, the arrays (N, …) that a `measure` finds in the same passes); see training/held_out.py."""
        if self.model.has_images:
            examples = self.images(examples)
        trainer = make_evaluator(self.options, self.model, self.device, self.ranks)
        try:
            with computing_batches(self.options["batch_size"]):
                metrics, measured = held_out(trainer, examples, self.options["batch_size"], self.dtype, "", *measure)
        except Diverged as error:
            raise self.diverged(error) from None
        return metrics, [self.finite(array) for array in measured]

    def reconstruct(self, images):
        """(N, H, W, C): each image encoded and decoded, without chance."""
        images = self.images(images)
        return self.in_batches(self.model.reconstruct, images)

    def encode(self, images):
        """The latents of images, without chance: z, μ, or the code indices."""
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
        """(N, H, W, C): the images that latents stand for. Raises InputError for latents of another shape or kind than
        the model's."""
        self.needs_images("decode")
        return self.in_batches(self.model.decode, self.latents(latents))

    def interpolate(self, a, b, steps):
        """(steps, H, W, C): images decoded from latents on the way from image a (H, W, C) to image b."""
        way = self.on_device(lambda *ends: self.model.interpolate(*ends, steps), a[None], b[None])
        return way[0]

    def variations(self, images, count, rng):
        """(N, count, H, W, C): each image decoded from `count` draws of its code. Raises InputError where the code is
        not drawn at random."""
        return self.on_device(lambda x: self.model.variations(x, count, rng), images)

    def sample(self, count, seed=0, images=None, **choosing):
        """(count, H, W, C): new images from the first prior that the model has. `images` are training images, from
        which some priors take what is frequent; a run that has just been trained knows its own. Raises InputError where
        they are needed and missing.

        A run of a learned prior takes the options of `write`, and the run that it refers to decodes what it writes.
        """
        if self.model.writes_codes:
            return self.referred("of").decode(self.write(count, seed, **choosing))
        self.needs_images("sample")
        count, seed = COUNT.check(count), SEED.check(seed)
        prior = self.priors(self.training_images if images is None else images)[0]
        return self.decode(prior.draw(count, np.random.default_rng(seed), self.dtype))

    def referred(self, option):
        """The finished run that this one refers to by an option."""
        return Trained(Run.open(self.options[option]), self.device)

    def images(self, given):
        """Images as the model takes them: of its shape, uint8 or floats in [0, 1] in its precision. Raises InputError.
        """
        self.needs_images("this")
        try:
            images = as_images(given)
        except DataError as error:
            raise InputError(f"{error}.") from None
        if images.shape[1:] != self.shape:
            H, W, C = self.shape
            raise InputError(f"expected images (N, {H}, {W}, {C}), as {self.run.folder} was trained on, got an array "
                             f"of shape {given.shape}" + (": give image[None]." if given.shape == self.shape else "."))
        return images if images.dtype == np.uint8 else images.astype(self.dtype, copy=False)

    @cached_property
    def latent_shapes(self):
        """The shape of an image's latent; of a list of grids the list of theirs."""
        return each(lambda latent: latent.shape[1:], self.encode(np.zeros((1, *self.shape), np.uint8)))

    def latents(self, given):
        """Latents as the model decodes them: code indices as int64, others in its precision. Raises InputError."""
        self.needs_images("this")
        grids, shapes = (one if isinstance(one, list) else [one] for one in (given, self.latent_shapes))
        grids = [np.asarray(grid) for grid in grids]
        kinds, kind = ("iu", f"integers from 0 to {self.codes - 1}") if self.codes else ("f", "finite numbers")
        expected = " and ".join(f"({', '.join(map(str, ('N', *shape)))})" for shape in shapes)
        problem = None
        if [grid.shape[1:] for grid in grids if grid.ndim] != shapes or len({len(grid) for grid in grids}) > 1:
            problem = " and ".join(str(grid.shape) for grid in grids)
        elif any(grid.dtype.kind not in kinds for grid in grids):
            problem = " and ".join(str(grid.dtype) for grid in grids)
        elif not all((((grid >= 0) & (grid < self.codes)) if self.codes else np.isfinite(grid)).all()
                     for grid in grids):
            problem = "some that are not"
        if problem:
            raise InputError(f"expected latents {expected} of {kind}, as `encode` gives them, got {problem}.")
        grids = [grid.astype(np.int64 if self.codes else self.dtype, copy=False) for grid in grids]
        return grids if isinstance(self.latent_shapes, list) else grids[0]

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
