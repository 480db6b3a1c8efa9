"""The commands that draw what a run makes of images: reconstruct, sample, variations, interpolate."""

from scratch.commands.cli import say
from scratch.commands.options import whole
from scratch.commands.shared import (
    add_run_command,
    check_images,
    destination,
    held_out_images,
    images_for,
    open_run,
    picture_name,
    save_picture,
)
from scratch.figures.of_run import (
    PICTURED,
    interpolation_figure,
    reconstruction_figure,
    sample_figure,
    variation_figure,
)
from scratch.runs.session import ARRAY


def add(subparsers):
    """The commands and their options."""
    command = add_run_command(subparsers, "reconstruct", reconstruct, out="reconstructions.png")
    command.add_argument("--count", type=whole(1), default=PICTURED, metavar="N", help="how many images (default: 10)")
    command.add_argument("--beside", nargs="+", default=[], metavar="RUN", help="more runs, a row each")
    command = add_run_command(subparsers, "sample", sample, out="samples.png")
    command.add_argument("--count", type=whole(1), default=20, metavar="N", help="how many images (default: 20)")
    command.add_argument("--seed", type=whole(0), default=0, metavar="N", help="seed of the draws (default: 0)")
    command = add_run_command(subparsers, "variations", variations, out="variations.png")
    command.add_argument("--index", type=whole(0), nargs="+", default=[0], metavar="I",
                         help="which held-out images (default: 0)")
    command.add_argument("--count", type=whole(1), default=PICTURED, metavar="N",
                         help="draws of each image (default: 10)")
    command.add_argument("--seed", type=whole(0), default=0, metavar="N", help="seed of the draws (default: 0)")
    command = add_run_command(subparsers, "interpolate", interpolate, out="interpolation.png")
    command.add_argument("--between", type=whole(0), nargs=2, default=[0, 1], metavar="I",
                         help="the two held-out images (default: 0 1)")
    command.add_argument("--steps", type=whole(2), default=PICTURED, metavar="N", help="how many images (default: 10)")


def reconstruct(arguments):
    """Draw held-out images over their reconstructions, and print the PSNR over all of them.

    Where the images are of another data set, the PSNR of the run's own is printed too.
    """
    trained = open_run(arguments)
    data = images_for(trained, arguments)
    sets, own = [data], trained.options["data"]
    if own not in (data.name, ARRAY):
        sets.append(images_for(trained, arguments, own))
    runs = [trained, *(open_run(arguments, folder) for folder in arguments.beside)]
    for other in runs:
        check_images(other, data)
    path = destination(arguments, trained, picture_name("reconstructions", trained, data), runs)
    x = trained.floats(data.held_out[: arguments.count])
    lines = []
    for other in runs:
        for measured in sets:
            psnr = other.evaluate(measured.held_out)["held_out_psnr"]
            lines.append(f"{other.run.folder}: PSNR {psnr:.2f} dB over {len(measured.held_out)} held-out images "
                         f"of {measured.name}")
    save_picture(reconstruction_figure(runs, x, data.name), path, arguments)
    for line in lines:
        say(line)
    return 0


def sample(arguments):
    """Draw new images, from the simple priors that the run's model has."""
    trained = open_run(arguments)
    path = destination(arguments, trained, "samples.png")
    training_images = images_for(trained, arguments).train if trained.needs_training_images() else None
    save_picture(sample_figure(trained, training_images, arguments.count, arguments.seed), path, arguments)
    return 0


def variations(arguments):
    """Draw images from several draws of one image's code."""
    trained = open_run(arguments)
    data = images_for(trained, arguments)
    path = destination(arguments, trained, "variations.png")
    x = held_out_images(trained, data, arguments.index)
    save_picture(variation_figure(trained, x, arguments.count, arguments.seed), path, arguments)
    return 0


def interpolate(arguments):
    """Draw the way between two images through the latent space."""
    trained = open_run(arguments)
    data = images_for(trained, arguments)
    a, b = held_out_images(trained, data, arguments.between)
    path = destination(arguments, trained, "interpolation.png")
    save_picture(interpolation_figure(trained, a, b, arguments.steps), path, arguments)
    return 0
