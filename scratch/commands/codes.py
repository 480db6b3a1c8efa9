"""The commands on codes: write them, read them back, count their bits, compare them with PCA's."""

from pathlib import Path

import numpy as np

from data_utils import printable
from scratch.commands.cli import say, say_json
from scratch.commands.options import whole
from scratch.commands.shared import (
    add_run_command,
    check_images,
    check_other_file,
    check_output,
    destination,
    images_for,
    labelled,
    open_run,
    place_for,
    save_picture,
)
from scratch.figures import pictures as figures
from scratch.figures.of_run import PICTURED
from scratch.instruments.bits import rates
from scratch.instruments.coder import coded, range_coder
from scratch.instruments.pca import beside_pca, explained_by_components, principal_components
from scratch.instruments.vector_codes import check_vector_code
from scratch.losses import psnr
from scratch.options.errors import InputError
from scratch.runs.examples import examples_of
from scratch.runs.files import present
from scratch.runs.latents import read_latents, write_latents, write_npz
from scratch.runs.references import reference
from scratch.runs.run import Run
from scratch.runs.trained import Trained
from scratch.training.world import World

WAYS = {"fixed": "equally many bits for each code", "entropy": "codes by frequency", "prior": "codes by the prior"}


def add(subparsers):
    """The commands and their options."""
    command = add_run_command(subparsers, "encode", encode, out="codes.npz")
    command.add_argument("--split", choices=("held-out", "train"), default="held-out",
                         help="which images (default: held-out)")
    command.set_defaults(for_ranks=True)
    command = add_run_command(subparsers, "decode", decode, data=False, out="decoded.npz")
    command.add_argument("file", metavar="FILE", help="the .npz that encode wrote")
    command = add_run_command(subparsers, "bits", bits)
    command.add_argument("--prior", metavar="RUN", help="a learned prior over this run's codes, whose bits count, too")
    command.add_argument("--coder", type=whole(1), metavar="N",
                         help="with --prior: write and read N images with an arithmetic coder")
    command.add_argument("--json", action="store_true", help="print the numbers as JSON")
    command = add_run_command(subparsers, "pca", pca, out="pca.png")
    command.add_argument("beside", nargs="*", metavar="RUN", help="more runs, a point each")
    command.add_argument("--json", action="store_true", help="print the numbers as JSON, draw nothing")


def encode(arguments):
    """Write the latents of images to a .npz: z or μ (N, Z) as `latents`, or code indices (N, h, w) as `codes`."""
    trained = open_run(arguments)
    data = images_for(trained, arguments)
    images = data.train if arguments.split == "train" else data.held_out
    path = place_for(destination(arguments, trained, "codes.npz"), arguments)
    replaced = ", in place of the file that was there" if present(path) else ""
    latents = trained.encode(images)
    if trained.ranks.rank > 0:
        return 0
    trained.ranks = World()  # the first rank writes by itself
    written = write_latents(path, trained, latents)
    arrays = " and ".join(f"{name} {array.shape} {array.dtype}" for name, array in written.items())
    say(f"wrote {path}{replaced}: {arrays} of {len(images)} images")
    return 0


def decode(arguments):
    """Decode the latents that `encode` wrote: write the images (uint8) to a .npz and the first of them to a picture."""
    trained = open_run(arguments)
    path = destination(arguments, trained, "decoded.npz")
    if path.suffix == ".png":
        raise InputError(f"--out {printable(path)} names a picture; decode writes arrays, and a picture beside them: "
                         f"give --out {printable(path.with_suffix('.npz'))}.")
    path = place_for(path, arguments)
    check_output(path.with_suffix(".png"), trained.run)
    for written in (path, path.with_suffix(".png")):
        check_other_file(written, arguments.file)
    latents = read_latents(Path(arguments.file), trained)
    images = trained.decode(latents)
    replaced = ", in place of the file that was there" if present(path) else ""
    write_npz(path, images=np.rint(255 * images.clip(0, 1)).astype(np.uint8))
    say(f"wrote {path}{replaced}: images {images.shape}")
    title = f"{trained.options['model']}: decoded from {Path(arguments.file).name}"
    save_picture(figures.image_rows([("decoded", images[:PICTURED])], title), path.with_suffix(".png"), arguments)
    return 0


def pca(arguments):
    """Print and draw how much of the images' variance each run explains, beside PCA with as many components."""
    runs = {label: open_run(arguments, folder)
            for label, folder in labelled([arguments.run, *arguments.beside]).items()}
    first = next(iter(runs.values()))
    data = images_for(first, arguments)
    for trained in runs.values():
        check_vector_code(trained, "pca")
        check_images(trained, data)
    path = None if arguments.json else destination(arguments, first, "pca.png", runs.values())
    components = principal_components(data.train)
    shares = explained_by_components(components, data.held_out)
    found = {label: beside_pca(trained, components, shares, data.held_out) for label, trained in runs.items()}
    if arguments.json:
        say_json(found)
        return 0
    for label, run in found.items():
        line = (f"{label}: {run['numbers']} numbers explain {run['explained']:.4%} of the variance of "
                f"{len(data.held_out)} held-out images of {data.name}, PCA {run['pca_explained']:.4%}")
        if "angles" in run:
            line += f"; angles to PCA's space: median {np.median(run['angles']):.2f}°, largest {run['angles'][-1]:.2f}°"
        say(line)
        if "rate" in run:
            say(f"  rate {run['rate']:.2f} nats, {run['active_units']} active units; water-filling over the training "
                f"images' components {run['water_filling_rate']:.2f} nats, {run['water_filling_units']} units")
    points = {label: [(found[name]["numbers"], found[name]["explained"]) for name in names]
              for label, names in alike_but_in_size(runs).items()}
    save_picture(figures.explained_variance(shares, points, data.name), path, arguments)
    return 0


def alike_but_in_size(runs):
    """{label: names} of {name: run}: runs that differ only in the size of their code, as a sweep's do, form a group.

    A group's label is the options in which it differs from the others, or its model where it differs in none. The label
    of a group of one is that run's name. Options that some of the runs lack are not compared.
    """
    options = {name: trained.options for name, trained in runs.items()}
    common = set.intersection(*map(set, options.values())) - {"latent_dim"}
    differing = sorted(option for option in common if len({str(own[option]) for own in options.values()}) > 1)
    groups = {}
    for name, own in options.items():
        label = ", ".join(f"{option.replace('_', ' ')} {own[option]}" for option in differing) or own["model"]
        groups.setdefault(label, []).append(name)
    return {label if len(names) > 1 else names[0]: names for label, names in groups.items()}


def bits(arguments):
    """Print the bits of held-out images as codes, as JPEG of the same error, and as PNG."""
    trained = open_run(arguments)
    prior, data = prior_of(trained, arguments), images_for(trained, arguments)
    if arguments.coder:
        check_coder(trained, prior)
    found = rates(trained, data)
    if prior:
        rows = examples_of(prior).held_out
        found["prior"] = float(prior.bits_of(rows).mean())
        if arguments.coder:
            found["coder"] = coded(trained, prior, rows[: arguments.coder], data.held_out[: arguments.coder])
    if arguments.json:
        say_json(found)
    else:
        report(found)
    return 0


def check_coder(trained, prior):
    """Raises InputError where there are no probabilities that a coder could use."""
    if prior is None:
        raise InputError("needs the probabilities of codes: give a learned prior with --prior.", "coder")
    if not trained.model.reconstruction.of_grey_levels:
        raise InputError(f"needs the probabilities of 8-bit values, and {printable(trained.run.folder)} has the "
                         f"likelihood {trained.options['likelihood']}: train it with --likelihood "
                         f"discretized_logistic.", "coder")
    range_coder()


def prior_of(trained, arguments):
    """The learned prior that --prior names, or None. Raises InputError unless it learned the codes of this very run."""
    if arguments.prior is None:
        return None
    if any(getattr(arguments, name) is not None for name in ("data", "limit")):
        raise InputError("has learned the codes of the run's own images: leave other images out.", "prior")
    run = Run.open(arguments.prior)
    kept = run.config.get("references", {}).get("of", {}).get("fingerprint")
    if kept != reference("run", trained.run.folder)["fingerprint"]:
        raise InputError(f"{printable(arguments.prior)} is no prior over the codes of {printable(trained.run.folder)}: "
                         f"name a run of train prior --of {printable(trained.run.folder)}.", "prior")
    run.options["of"] = str(trained.run.folder)
    return Trained(run, arguments.device)


def report(found):
    """Print what `rates` found as a table."""
    H, W, C = found["image_shape"]
    say(f"{found['model']} on {found['images']} held-out images of {found['data']}, {H}×{W}×{C}:")
    say()
    say(f"{'':51}{'bits an image':>14}{'bits per dim.':>14}{'squared error':>15}{'PSNR':>10}")

    def row(name, bits, mse=None):
        error = "" if mse is None else f"{mse:15.3e}{psnr(mse):7.2f} dB"
        say(f"{name:51}{bits:14.1f}{bits / (H * W * C):14.3f}{error}")

    K, jpeg = found["codes"], found["jpeg"]
    grids = " + ".join("×".join(map(str, level["grid"])) for level in found["levels"].values())
    row(f"codes, log2 {K} bits for each of {grids}", found["fixed"], found["mse"])
    row("codes, by their frequency of use", found["entropy"], found["mse"])
    if len(found["levels"]) > 1:
        for name, level in found["levels"].items():
            row(f"  of these the {name} level", level["entropy"])
    if "prior" in found:
        row("codes, by the prior", found["prior"], found["mse"])
    if "pixels" in found:
        row("pixels, given the codes", found["pixels"])
        for way, name in WAYS.items():
            if way in found:
                row(f"codes and pixels, {name}", found[way] + found["pixels"])
    row(f"JPEG, quality {jpeg['quality']}, whole files", jpeg["bits"], jpeg["mse"])
    row(f"JPEG, quality {jpeg['quality']}, without the header", jpeg["bits_without_header"], jpeg["mse"])
    row("PNG, whole files, lossless", found["png"])
    say()
    say(f"Frequencies: of {found['training_images']} training images, one added to each count. "
        "JPEG's header: all of a file")
    say("but the data of its scan. A dimension is one number of an image.")
    if "coder" in found:
        coder = found["coder"]
        say(f"An arithmetic coder wrote {coder['images']} images with {coder['bits']:.1f} bits each, where their "
            f"probabilities promise {coder['bound']:.1f} ({coder['bits'] / coder['bound'] - 1:+.2%}). Read again, each "
            f"was the same, bit for bit.")
