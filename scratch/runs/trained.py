"""A finished run with its model, and the pictures that are drawn of it."""

import numpy as np

from data_utils import to_float
from scratch.accelerate import accelerate, accelerate_on_gpu
from scratch.accelerate.cpu.memory import retain_freed_memory
from scratch.arrays import device_module, each, to_device, to_host
from scratch.bottlenecks.vector_quantizer import code_counts
from scratch.commands.shortages import memory_for
from scratch.figures import pictures as figures
from scratch.instruments.denoising import corrupted
from scratch.models.autoencoder import build
from scratch.models.priors import CodeFrequencies, FittedGaussian, StandardNormal
from scratch.options.errors import InputError
from scratch.training.loop import Trainer, held_out_metrics

PICTURED = 10  # images in a row of a picture
PRIOR_IMAGES = 5000  # training images whose latents a prior is fitted to


def build_model(options, image_shape, device, rng=None):
    """The model that the options describe, on its device. Raises InputError for images it cannot take."""
    try:
        model = build(options["model"], image_shape, options, dtype=np.dtype(options["dtype"]), rng=rng).to(device)
    except ValueError as error:
        raise InputError(f"{error}; choose another --image-size.") from None
    except KeyError as error:
        raise InputError(f"the run's options lack {error}: restore its config.json, or train again.") from None
    if options.get("plain"):
        return model
    if device != "cpu":
        return accelerate_on_gpu(model)
    retain_freed_memory()
    return accelerate(model)


class Trained:
    """A finished run with its model, speaking NumPy: images in [0, 1] and latents go in and come out on the host."""

    def __init__(self, run, device="cpu"):
        self.run, self.options = run, run.options
        self.device = device
        self.xp = device_module(device)
        shape = tuple(run.config["data"]["image_shape"])
        self.model = run.load_weights(build_model(self.options, shape, device))
        self.dtype = np.dtype(self.options["dtype"])

    @property
    def codes(self):
        """K of a model with a codebook, None of the others."""
        return self.options.get("codes")

    def in_batches(self, function, inputs):
        """function(batch on the device), put together on the host. Stored images (uint8) become floats by the batch.

        Inputs and outputs are arrays or, as the latents of several levels are, lists of arrays.
        """
        size, outputs = self.options["batch_size"], []
        count = len(inputs[0]) if isinstance(inputs, list) else len(inputs)
        for start in range(0, count, size):
            batch = each(lambda array, start=start: self.prepared(array[start : start + size]), inputs)
            with memory_for(size, self.device):
                outputs.append(each(to_host, function(each(lambda array: to_device(array, self.device), batch))))
        return each(lambda *parts: np.concatenate(parts), *outputs)

    def prepared(self, batch):
        return self.floats(batch) if batch.dtype == np.uint8 else np.ascontiguousarray(batch)

    def floats(self, images):
        return to_float(images, self.dtype)

    def evaluate(self, images):
        """{held_out_…: value} over images (uint8); see held_out_metrics."""
        size = self.options["batch_size"]
        with memory_for(size, self.device):
            trainer = Trainer(self.model, None, self.options["seed"], self.device)
            return held_out_metrics(trainer, images, size, self.dtype)

    def reconstruct(self, images):
        return self.in_batches(self.model.reconstruct, images)

    def encode(self, images):
        return self.in_batches(self.model.encode, images)

    def decode(self, latents):
        return self.in_batches(self.model.decode, latents)

    def priors(self, images):
        """Where this model's new latents come from, given training images (uint8); the VAE asks for none."""
        if self.options["model"] == "vae":
            return [StandardNormal(self.options["latent_dim"])]
        latents = self.encode(images[:PRIOR_IMAGES])
        if self.codes:
            return [CodeFrequencies(latents, self.codes)]
        return [StandardNormal(self.options["latent_dim"]), FittedGaussian(latents)]


def save_picture(figure, path):
    """Write a figure, and say where."""
    figures.save_figure(figure, path)
    print(f"wrote {path}")


def draw_pictures(run, data):
    """All the pictures that `train` leaves in the run's folder."""
    trained = Trained(run, run.options["device"] if run.config["program"] == "scratch" else "cpu")
    held_out = trained.floats(data.held_out[: max(PICTURED, 2)])
    save_picture(figures.loss_curves(run.metrics()), run.folder / "curves.png")
    save_picture(reconstruction_figure([trained], held_out, data.name), run.folder / "reconstructions.png")
    save_picture(sample_figure(trained, data.train, 20, seed=0), run.folder / "samples.png")
    if len(held_out) > 1:
        save_picture(interpolation_figure(trained, *held_out[:2], PICTURED), run.folder / "interpolation.png")
    if trained.model.bottleneck.random:
        save_picture(variation_figure(trained, held_out[:3], PICTURED, seed=0), run.folder / "variations.png")
    if trained.codes:
        grids = trained.model.bottleneck.by_level(trained.encode(data.held_out))
        counts = {level: code_counts(indices, trained.codes) for level, indices in grids.items()}
        save_picture(figures.codebook_use(counts), run.folder / "codebook.png")


def reconstruction_figure(runs, images, data_name):
    """The images over their reconstructions, a row for each of the trained runs; of a run with a corruption also the
    corrupted images over what becomes of them. A row is named after the model, where two have one model after the run.
    """
    rows, models = [("original", images)], [trained.options["model"] for trained in runs]
    names = models if len(set(models)) == len(models) else [trained.run.folder.resolve().name for trained in runs]
    for name, trained in zip(names, runs, strict=True):
        rows.append((name, trained.reconstruct(images)))
        if trained.model.corruption:
            seen = np.concatenate([seen for _, seen in corrupted(trained, images)])
            rows += [(trained.options["corruption"], seen), ("denoised", trained.reconstruct(seen))]
    return figures.image_rows(rows, f"held-out images of {data_name} and their reconstructions")


def sample_figure(trained, training_images, count, seed):
    """New images from every prior that the model has, each prior in rows of its own and named in the title."""
    rng = np.random.default_rng(seed)
    rows, captions = [], []
    for prior in trained.priors(training_images):
        images = trained.decode(prior.draw(count, rng, trained.dtype))
        captions.append(prior.caption)
        rows += [(prior.label if start == 0 else "", images[start : start + PICTURED])
                 for start in range(0, count, PICTURED)]
    return figures.image_rows(rows, f"{trained.options['model']} samples: " + "\n".join(captions))


def interpolation_figure(trained, a, b, steps):
    """The way from image a to image b through the latent space, under the two originals."""
    strip = to_host(trained.model.interpolate(*(to_device(image[None], trained.device) for image in (a, b)), steps))[0]
    ends = np.ones_like(strip)
    ends[0], ends[-1] = a, b
    return figures.image_rows([("originals", ends), ("decoded", strip)],
                              f"{trained.options['model']}: from one image to another through the latent space")


def variation_figure(trained, images, count, seed):
    """Each image, and beside it what `count` draws of its code decode to. Raises InputError where none is drawn."""
    rng = np.random.default_rng(seed)
    try:
        draws = to_host(trained.model.variations(to_device(images, trained.device), count, rng))
    except ValueError as error:
        raise InputError(f"{error}.") from None
    rows = [
        ("original, then draws", np.concatenate([image[None], drawn]))
        for image, drawn in zip(images, draws, strict=True)
    ]
    return figures.image_rows(
        rows, f"{trained.options['model']}: one image, decoded from z drawn again and again from q(z | x)")
