"""The commands that draw what a run makes of images: reconstruct, sample, variations, interpolate."""

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
from scratch.runs.schema import shown


def add(subparsers):
    """The commands and their options."""
    command = add_run_command(subparsers, "reconstruct", reconstruct, out="reconstructions.png")
    command.add_argument("--count", type=whole(1), default=PICTURED, metavar="N", help="images (default: 10)")
    command.add_argument("--beside", nargs="+", default=[], metavar="RUN", help="more runs, a row each")
    command = add_run_command(subparsers, "sample", sample, out="samples.png")
    command.add_argument("--count", type=whole(1), default=20, metavar="N", help="images (default: 20)")
    command.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of the draws (default: 0)")
    command = add_run_command(subparsers, "variations", variations, out="variations.png")
    command.add_argument("--index", type=whole(0), nargs="+", default=[0], metavar="I", help="which held-out images")
    command.add_argument("--count", type=whole(1), default=PICTURED, metavar="N", help="draws of each (default: 10)")
    command.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of the draws (default: 0)")
    command = add_run_command(subparsers, "interpolate", interpolate, out="interpolation.png")
    command.add_argument("--between", type=whole(0), nargs=2, default=[0, 1], metavar="I", help="held-out images")
    command.add_argument("--steps", type=whole(2), default=PICTURED, metavar="N", help="images (default: 10)")


def reconstruct(arguments):
    """Draw held-out images over their reconstructions, and print the PSNR over all of them.

    Of images of another data set than the run's it is printed beside that of its own.
    """
    trained = open_run(arguments)
    trained.needs_images("reconstruct")
    data = images_for(trained, arguments)
    sets, own = [data], trained.options["data"]
    if data.name != own:
        sets.append(images_for(trained, arguments, own))
    runs = [trained, *(open_run(arguments, folder) for folder in arguments.beside)]
    for other in runs:
        check_images(other, data)
    x = trained.floats(data.held_out[: arguments.count])
    name = picture_name("reconstructions", trained, data)
    lines = []
    for other in runs:
        for measured in sets:
            psnr = other.evaluate(measured.held_out)["held_out_psnr"]
            lines.append(f"{shown(other.run.folder)}: PSNR {psnr:.2f} dB over {len(measured.held_out)} held-out images "
                         f"of {shown(measured.name)}")
    save_picture(reconstruction_figure(runs, x, data.name), destination(arguments, trained, name))
    print("\n".join(lines))
    return 0


def sample(arguments):
    """Draw new images."""
    trained = open_run(arguments)
    trained.needs_images("sample")
    training_images = images_for(trained, arguments).train if trained.needs_training_images() else None
    figure = sample_figure(trained, training_images, arguments.count, arguments.seed)
    save_picture(figure, destination(arguments, trained, "samples.png"))
    return 0


def variations(arguments):
    """Draw one image's code again and again."""
    trained = open_run(arguments)
    trained.needs_images("variations")
    data = images_for(trained, arguments)
    figure = variation_figure(trained, held_out_images(trained, data, arguments.index), arguments.count, arguments.seed)
    save_picture(figure, destination(arguments, trained, "variations.png"))
    return 0


def interpolate(arguments):
    """Draw the way between two images through the latent space."""
    trained = open_run(arguments)
    trained.needs_images("interpolate")
    data = images_for(trained, arguments)
    a, b = held_out_images(trained, data, arguments.between)
    figure = interpolation_figure(trained, a, b, arguments.steps)
    save_picture(figure, destination(arguments, trained, "interpolation.png"))
    return 0
