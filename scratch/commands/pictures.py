"""The commands that draw what a run makes of images: reconstruct, sample, variations, interpolate."""

import numpy as np

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
from scratch.commands.writing import CODES_FROM, add_writing_options, choosing, open_prior
from scratch.figures.of_run import (
    PICTURED,
    completion_figure,
    interpolation_figure,
    likelihood_figure,
    reconstruction_figure,
    sample_figure,
    variation_figure,
    written_figure,
)
from scratch.options.errors import InputError
from scratch.runs.examples import examples_of, load_examples
from scratch.runs.session import ARRAY


def add(subparsers):
    """The commands and their options."""
    command = add_run_command(subparsers, "reconstruct", reconstruct, out="reconstructions.png")
    command.add_argument("--count", type=whole(1), default=PICTURED, metavar="N", help="how many images (default: 10)")
    command.add_argument("--beside", nargs="+", default=[], metavar="RUN", help="more runs, a row each")
    command = add_run_command(subparsers, "sample", sample, out="samples.png")
    command.add_argument("--count", type=whole(1), default=20, metavar="N", help="how many images (default: 20)")
    add_writing_options(command)
    command.set_defaults(about_images=False)
    command = add_run_command(subparsers, "complete", complete, data=False, out="completions.png",
                              about_images=False)
    command.add_argument("--rows", type=whole(0), required=True, metavar="R", help="rows of codes that are kept")
    command.add_argument("--index", type=whole(0), nargs="+", default=list(range(PICTURED)), metavar="I",
                         help="which held-out images (default: the first 10)")
    command.add_argument("--count", type=whole(1), default=3, metavar="N", help="continuations of each (default: 3)")
    add_writing_options(command)
    command = add_run_command(subparsers, "likelihood", likelihood, data=False, out="likelihood.png",
                              about_images=False)
    command.add_argument("--codes-from", metavar="RUN", help=CODES_FROM)
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
    """Draw new images, from the simple priors that the run's model has, or from codes that a learned prior writes."""
    trained = open_run(arguments)
    given = choosing(arguments, trained)
    if trained.model.writes_codes:
        if arguments.data is not None:
            raise InputError("names images, and a learned prior writes their codes: leave it out.", "data")
        path = destination(arguments, trained, "samples.png")
        save_picture(written_figure(trained, arguments.count, arguments.seed, **given), path, arguments)
        return 0
    trained.needs_images("sample")
    path = destination(arguments, trained, "samples.png")
    training_images = images_for(trained, arguments).train if trained.needs_training_images() else None
    save_picture(sample_figure(trained, training_images, arguments.count, arguments.seed), path, arguments)
    return 0


def one_for_all(texts, count):
    """A text for each of `count` images, from as many or from one. Raises InputError for another number."""
    if len(texts) not in (1, count):
        raise InputError(f"holds {len(texts)} captions for {count} images: give one for all of them, or one for each.",
                         "text")
    return texts * count if len(texts) == 1 else texts


def complete(arguments):
    """Keep the upper part of held-out images, as codes, and let a learned prior write the rest."""
    trained = open_prior(arguments)
    given, decoder = choosing(arguments, trained), trained.referred("of")
    images = held_out_images(decoder, load_examples(decoder.options), arguments.index)
    rows = examples_of(trained).held_out[arguments.index]
    if "label" in given:
        rows[:, 0] = given.pop("label")
    if "text" in given:
        rows[:, 1 : 1 + trained.model.text_length] = trained.tokens_of(one_for_all(given.pop("text"), len(rows)))
    path = destination(arguments, trained, "completions.png")
    figure = completion_figure(trained, images, rows, arguments.rows, arguments.count, arguments.seed, **given)
    save_picture(figure, path, arguments)
    return 0


def likelihood(arguments):
    """Print the bits of held-out images' codes by a learned prior; draw the most and the least likely images."""
    trained = open_prior(arguments)
    decoder = trained.referred("of")
    path = destination(arguments, trained, "likelihood.png")
    bits = trained.bits_of(examples_of(trained).held_out)
    images = decoder.floats(load_examples(decoder.options).held_out)
    save_picture(likelihood_figure(images, bits), path, arguments)
    low, median, high = np.quantile(bits, (0.05, 0.5, 0.95))
    say(f"{len(bits)} held-out images: {bits.mean():.1f} bits an image for their codes; 5 % below {low:.1f}, half "
        f"below {median:.1f}, 5 % above {high:.1f}")
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
