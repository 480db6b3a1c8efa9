"""The commands in the space of a run's codes: traverse, corners, arithmetic, aggregate, mig."""

import math
from functools import partial

import numpy as np

from data_utils import printable
from scratch.commands.cli import say, say_json
from scratch.commands.options import argument, whole
from scratch.commands.shared import (
    add_run_command,
    bar,
    check_output,
    destination,
    held_out_images,
    images_for,
    open_run,
    save_picture,
)
from scratch.figures import pictures as figures
from scratch.figures.latents import grid_figure, image_grid, information_figure, scatter_figure
from scratch.figures.of_run import PICTURED
from scratch.instruments.library import scipy_module
from scratch.instruments.mutual_information import check_gaussian, information_of_run
from scratch.instruments.vector_codes import (
    bilinear,
    check_vector_code,
    code_space,
    grid_of_codes,
    mean_difference,
    traversal,
)
from scratch.options.errors import InputError
from scratch.options.option import Real

LARGEST_FACTOR = 1e6  # of a direction: the decoder has seen no code beyond it


def add(subparsers):
    """The commands and their options."""
    above_zero = argument(Real(0, included=False, below=LARGEST_FACTOR))
    command = add_run_command(subparsers, "traverse", traverse, out="traversals.png")
    command.add_argument("--index", type=whole(0), default=0, metavar="I", help="which held-out image (default: 0)")
    command.add_argument("--dimensions", type=whole(1), default=10, metavar="N",
                         help="how many dimensions (default: 10)")
    command.add_argument("--span", type=above_zero, default=3.0, metavar="S",
                         help="move each dimension from −S to S (default: 3)")
    command.add_argument("--steps", type=whole(2), default=PICTURED, metavar="N",
                         help="images of each dimension (default: 10)")
    command = add_run_command(subparsers, "corners", corners, out="corners.png")
    command.add_argument("--index", type=whole(0), nargs=4, default=[0, 1, 2, 3], metavar="I",
                         help="the four held-out images (default: 0 1 2 3)")
    command.add_argument("--steps", type=whole(2), default=8, metavar="N",
                         help="images along each side of the grid (default: 8)")
    command = add_run_command(subparsers, "arithmetic", arithmetic, out="arithmetic.png")
    command.add_argument("--factor", required=True, metavar="NAME", help="a factor of the images: shape, colour, size, "
                         "rotation, x, y or background of shapes, label of torchvision's sets")
    for end in ("from", "to"):
        command.add_argument(f"--{end}", required=True, dest=f"{end}_value", metavar="VALUE",
                             help="a value of the factor by its name or number, such as square or 2, or LOW..HIGH")
    command.add_argument("--amount", type=above_zero, default=1.0, metavar="A",
                         help="the largest multiple of the difference that is added (default: 1)")
    command.add_argument("--steps", type=whole(2), default=5, metavar="N", help="rows (default: 5)")
    command.add_argument("--count", type=whole(1), default=PICTURED, metavar="N", help="images a row (default: 10)")
    command = add_run_command(subparsers, "aggregate", aggregate, out="aggregate.png")
    command.add_argument("--colour", metavar="FACTOR", help="the factor that colours the points (default: the first)")
    command = add_run_command(subparsers, "mig", mig, out="mig.png")
    command.add_argument("--json", action="store_true", help="print the numbers as JSON, draw nothing")


def traverse(arguments):
    """Draw what single dimensions of the code do to an image: those of the largest KL, or variance of an AE's codes."""
    trained = open_run(arguments)
    check_vector_code(trained, "traverse")
    data = images_for(trained, arguments)
    path = destination(arguments, trained, "traversals.png")
    x = held_out_images(trained, data, [arguments.index])
    space, code = code_space(trained, data.held_out), trained.encode(x)[0]
    blank = np.ones((arguments.steps - 2, *x.shape[1:]))
    rows = [("original, decoded", np.concatenate([x, trained.decode(code[None]), blank]))]
    for dimension in space.most_important(arguments.dimensions):
        images = trained.decode(traversal(code, space, dimension, arguments.span, arguments.steps))
        rows.append((f"z{dimension}  {space.unit.format(space.importance[dimension])}", images))
    units = space.units
    title = (f"{trained.options['model']}: held-out image {arguments.index} of {data.name}, one dimension moved\n"
             f"from −{arguments.span:g} to {arguments.span:g} {units}")
    save_picture(figures.image_rows(rows, title), path, arguments)
    return 0


def mig(arguments):
    """Print and draw the mutual information of a VAE's dimensions and the known factors, and the gap (MIG)."""
    trained = open_run(arguments)
    check_gaussian(trained)
    scipy_module("special", "the mutual information gap")
    data = images_for(trained, arguments)
    path = None if arguments.json else destination(arguments, trained, "mig.png")
    with bar(math.ceil(len(data.train) / trained.options["batch_size"]), "mig", "batch") as shown:
        trained.on_batch = shown.update
        found = information_of_run(trained, data)
    gaps = found.gaps
    if arguments.json:
        factors = {name: {"gap": float(gap), "entropy": float(entropy), "nats": nats.tolist()}
                   for name, gap, entropy, nats in zip(found.names, gaps, found.entropies, found.nats.T, strict=True)}
        say_json({"mig": found.mig, "factors": factors})
        return 0
    say(f"{trained.run.folder} on {len(data.train)} training images of {data.name}: the two dimensions that say most")
    for name, gap, entropy, nats in zip(found.names, gaps, found.entropies, found.nats.T, strict=True):
        best = np.argsort(-nats)[:2]
        told = "  ".join(f"z{dimension} {nats[dimension]:.3f}" for dimension in best)
        say(f"  {name:10}  gap {gap:.3f}  of {entropy:.3f} nats: {told}")
    say(f"  mutual information gap {found.mig:.4f}")
    save_picture(information_figure(found), path, arguments)
    return 0


def aggregate(arguments):
    """Draw where the codes of the held-out images lie beside the prior; where a code is two numbers, also a grid."""
    trained = open_run(arguments)
    check_vector_code(trained, "aggregate")
    data = images_for(trained, arguments)
    path, grid_path = destination(arguments, trained, "aggregate.png"), trained.run.folder / "code_grid.png"
    space = code_space(trained, data.held_out)
    if space.codes.shape[1] < 2:
        raise InputError(f"aggregate draws two dimensions, and the code of {printable(trained.run.folder)} has one: "
                         f"name another run.")
    has_grid = space.codes.shape[1] == 2 and arguments.out is None
    if has_grid:
        check_output(grid_path, trained.run)
    colour, values = colours(data, arguments.colour)
    save_picture(scatter_figure(space, colour, values, data.name, partial(data.named, colour)), path, arguments)
    if has_grid:
        codes, steps = grid_of_codes(space), 16
        images = trained.decode(codes.reshape(-1, 2).astype(trained.dtype)).reshape(steps, steps, *trained.shape)
        save_picture(grid_figure(images, trained.options["model"], space), grid_path, arguments)
    return 0


def colours(data, name):
    """(the factor that colours the points, its values): the one of that name, or the first where `name` is None."""
    factors = data.held_out_factors
    if name is None:
        name = next(iter(factors), None)
    elif name not in factors:
        raise unknown_factor("--colour", name, factors, data)
    return name, factors.get(name)


def unknown_factor(flag, name, factors, data):
    """The InputError for a factor that the images do not have."""
    if not factors:
        return InputError(f"{flag} {name} names a factor, and the images of {printable(data.name)} have none: choose "
                          f"other --data.")
    return InputError(f"{flag} {name!r} is not a factor of {printable(data.name)}: choose among "
                      f"{printable(', '.join(factors))}.")


def corners(arguments):
    """Draw images decoded from codes between those of four images: a grid with the four in its corners."""
    trained = open_run(arguments)
    check_vector_code(trained, "corners")
    data = images_for(trained, arguments)
    path = destination(arguments, trained, "corners.png")
    x = held_out_images(trained, data, arguments.index)
    codes = bilinear(trained.encode(x), arguments.steps)
    images = trained.decode(codes.reshape(-1, codes.shape[-1])).reshape(*codes.shape[:2], *x.shape[1:])
    title = f"{trained.options['model']}: codes between those of held-out images {', '.join(map(str, arguments.index))}"
    save_picture(image_grid(images, title), path, arguments)
    return 0


def arithmetic(arguments):
    """Draw images of one value of a factor, with the mean difference to the codes of another value added."""
    trained = open_run(arguments)
    check_vector_code(trained, "arithmetic")
    data = images_for(trained, arguments)
    path = destination(arguments, trained, "arithmetic.png")
    known, chosen = (values_of(factors, arguments, data) for factors in (data.factors, data.held_out_factors))
    direction = mean_difference(trained.encode(data.train), known, 0, 1)
    x = trained.floats(data.held_out[chosen == 0][: arguments.count])
    codes = trained.encode(x)
    rows = [("original", x)]
    for amount in np.linspace(0, arguments.amount, arguments.steps):
        label = "decoded" if amount == 0 else f"+ {amount:g} d"
        rows.append((label, trained.decode(codes + np.asarray(amount * direction, codes.dtype))))
    low, high = (named(data, arguments.factor, text) for text in (arguments.from_value, arguments.to_value))
    title = f"{trained.options['model']}, {data.name}; d: mean code of {arguments.factor} {high} minus that of {low}"
    save_picture(figures.image_rows(rows, title), path, arguments)
    return 0


def interval(data, factor, text, flag):
    """(low, high) of a text: a value of a factor by its name or number, which is both, or LOW..HIGH. Raises InputError.
    """
    names = data.value_names.get(factor, ())
    if text in names:
        return names.index(text), names.index(text)
    try:
        low, _, high = text.partition("..")
        return float(low), float(high or low)
    except ValueError:
        known = f" (its values are called {', '.join(names)})" if names else ""
        raise InputError(f"{flag}: expected a value of {factor}{known} or LOW..HIGH, got {text!r}.") from None


def named(data, factor, text):
    """The values that a text of the command line stands for, in a title: by name where they have one."""
    low, high = interval(data, factor, text, "")
    return data.named(factor, low) if low == high else f"{low:g}..{high:g}"


def values_of(factors, arguments, data):
    """(N,): 0 where the factor has the value of --from, 1 where it has that of --to, −1 elsewhere.

    Raises InputError for an unknown factor, and for a value that no image has.
    """
    if arguments.factor not in factors:
        raise unknown_factor("--factor", arguments.factor, factors, data)
    values = factors[arguments.factor]
    marks = np.full(len(values), -1)
    for mark, (flag, text) in enumerate((("--from", arguments.from_value), ("--to", arguments.to_value))):
        low, high = interval(data, arguments.factor, text, flag)
        inside = (values >= low) & (values <= high)
        if not inside.any():
            raise InputError(f"no image of {printable(data.name)} has a {arguments.factor} of {printable(text)}: "
                             f"choose from {values.min():g} to {values.max():g}.")
        marks[inside] = mark
    return marks
