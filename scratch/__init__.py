"""Autoencoders with every derivative written by hand, on NumPy or CuPy. Start reading at layers/conv_definition.py.

The library in four functions:

    import scratch

    model = scratch.build("vqvae", (32, 32, 3), codes=256)       a new model, untrained
    run = scratch.train(model, images, epochs=3)                 trained on an array of images (N, 32, 32, 3)
    run = scratch.load("runs/vqvae-small-shapes")                a run that was trained before
    reconstructed = run.reconstruct(images)
    print(scratch.summary(model))                                layers, shapes and parameters
"""

__version__ = "0.1.0"
__all__ = ["build", "load", "summary", "train"]


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
    from scratch.runs.library import new_model

    return new_model(model, shape, dtype, seed, device, options)


def train(model, images, *, held_out=None, out=None, progress=True, **options):
    """Train a model on an array of images.

    model      the name of a system, such as "vqvae"; or a model that `build` made, whose weights are trained on, where
               they are; or a run with a folder, which goes on from where it was saved, as if it had not been stopped
    images     a NumPy array (N, H, W, C), or (N, H, W) of grey images: uint8 from 0 to 255, or floats from 0 to 1
    held_out   images of the same shape and type that are never trained on, or how many of `images` to hold out, chosen
               by the seed; None: a tenth
    out        the folder of the run; None: nothing is written
    progress   print a line an epoch (of more than 20 epochs, one every 25 updates), and within an epoch show a bar in
               a terminal or a notebook
    options    those of training and of the model: epochs, batch_size, lr, seed, device, preset, codes, …
               (docs/reference/options.md); for a model that is built already, those of training; for a run, those that
               may change, such as epochs, which counts all epochs of the run. What is not given has the preset's value.

    Returns the finished run (runs/trained.py): reconstruct(images), encode(images), decode(latents), sample(count),
    evaluate(images), metrics(), and `model`. The same seed gives the same weights, bit for bit on one machine.

    Raises InputError, a ValueError, for images or options that cannot be used, and Diverged (training/errors.py)
    where a loss is no longer finite. At Ctrl-C it ends the update it is in, saves, and raises KeyboardInterrupt, which
    says how to go on.
    """
    from scratch.runs.library import train_on_array

    return train_on_array(model, images, held_out, out, progress, options, print_line)


def print_line(line):
    """Print a line at once, also where the output is no terminal."""
    print(line, flush=True)


def load(folder, device="cpu", which="last"):
    """A run that was trained before, from its folder: reconstruct, encode, decode, sample, evaluate, metrics.

    folder   as `train` or the command line wrote it, text or a path
    device   where its model computes: "cpu", "gpu" or "gpu:N"
    which    of its weights: "last", or "best", where it was trained with keep="best"

    Raises InputError, a ValueError, where the folder holds no run, or one that is damaged.
    """
    from scratch.runs.library import load_run

    return load_run(folder, device, which)


def summary(model):
    """The layers of a model as a table: the kind of each, the shape of its output, and its number of parameters.

    model   what `build` made, or a run, whose model it takes

    Returns text: print(scratch.summary(model)). Raises InputError for anything else.
    """
    from scratch.runs.library import summary_of

    return summary_of(model)
