"""Autoencoders with every derivative written by hand, on NumPy or CuPy. Start reading at layers/conv_definition.py.

The library in three functions:

    import scratch

    model = scratch.build("vqvae", (32, 32, 3), codes=256)       a new model, untrained
    run = scratch.train(model, images, epochs=3)                 trained on an array of images (N, 32, 32, 3)
    run = scratch.load("runs/vqvae-small-shapes")                a run that was trained before
    reconstructed = run.reconstruct(images)
"""

__all__ = ["build", "load", "train"]


def build(model, shape, *, dtype="float32", seed=None, device="cpu", **options):
    """A new model, in its plain form and in training mode.

    model     "ae", "vae", "vqvae", "vqvae2" or "dvae"
    shape     (H, W, C) of the images
    dtype     "float32" or "float64", of all weights
    seed      of the weights, an integer ≥ 0; None: other weights each time
    device    "cpu", "gpu" or "gpu:N"
    options   those of the model and `preset`, as docs/reference/options.md lists them

    Returns an Autoencoder (models/autoencoder.py): loss(x), backward(), reconstruct(x), encode(x), decode(latents) with
    images x (N, H, W, C), floats in [0, 1]. Raises InputError, a ValueError, that names what was given and what exists.
    """
    import numpy as np

    from scratch.models.build import build as build_model

    return build_model(model, shape, options, dtype=dtype, rng=np.random.default_rng(seed)).to(device)


def train(model, images, *, held_out=None, out=None, progress=True, **options):
    """Train a model on an array of images.

    model      the name of a system, such as "vqvae", or a model that `build` made, whose weights are trained on
    images     (N, H, W, C) or (N, H, W), uint8 or floats in [0, 1]
    held_out   images of the same shape that are never trained on, or how many of `images` to hold out; None: a tenth
    out        the folder of the run; None: nothing is written
    progress   print a line an epoch
    options    those of training and of the model: epochs, batch_size, lr, seed, device, preset, codes, …
               (docs/reference/options.md); for a model that is built already, those of training alone

    Returns the finished run: reconstruct(images), encode(images), decode(latents), sample(count), evaluate(images),
    metrics(). Raises InputError, a ValueError, for images or options that cannot be used, and Diverged where a loss is
    no longer finite.
    """
    from scratch.runs.library import train_on_array

    return train_on_array(model, images, held_out, out, progress, options)


def load(folder, device="cpu"):
    """A run that was trained before, from its folder: reconstruct, encode, decode, sample, evaluate, metrics.

    Raises InputError where the folder holds no run, or one that is damaged.
    """
    from scratch.runs.run import Run
    from scratch.runs.trained import Trained

    return Trained(Run.open(folder), device)
