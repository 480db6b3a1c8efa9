"""What the commands on a finished run have in common: the run, the images, where to write."""

import itertools
import math
import os
import shlex
from pathlib import Path

from tqdm.auto import tqdm

from data_utils import printable
from scratch.commands.cli import say
from scratch.commands.options import add_data_options, read_one, whole
from scratch.figures.pictures import png
from scratch.instruments.baseline import mean_image_error
from scratch.losses import psnr
from scratch.models.system import find_system
from scratch.options.errors import InputError
from scratch.options.resolve import check_names, resolve, run_options
from scratch.runs.descriptions import FILES, WEIGHTS
from scratch.runs.examples import examples_of
from scratch.runs.files import check_writable, present, write_atomically
from scratch.runs.run import Run, same_file
from scratch.runs.session import ARRAY
from scratch.runs.trained import NotFinite, Trained
from scratch.training.errors import Diverged
from scratch.training.loop import BAR
from scratch.training.progress import epoch_line
from scratch.training.world import world

CORRUPTION_HELP = ("also measure how much of this noise the run removes: gaussian:SIGMA, masking:P or "
                   "salt_and_pepper:P")
VERDICTS = (  # (share of the mean image's error that is left, at most; what that says)
    (0.02, "it is close to the images"), (0.1, "it is good, with details missing"),
    (0.4, "it is coarse, and longer training may help"), (0.9, "little is learned yet, so train longer"),
    (1, "it is hardly better than the mean image"), (math.inf, "it is worse than the mean image, so train longer"))
OF_A_SWEEP = ("evaluation.json", "sweep.json", ".lock")  # beside FILES, what no command writes over


def add_run_command(subparsers, name, function, data=True, out=None, about_images=True):
    """The parser of a command on a run.

    data           does it take other images?
    out            what it writes, where it takes --out
    about_images   does it need a model of images?
    """
    summary = function.__doc__.splitlines()[0]
    parser = subparsers.add_parser(name, help=summary, description=summary)
    parser.add_argument("run", metavar="RUN", help="the folder that train wrote")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default), gpu or gpu:N")
    parser.add_argument("--batch-size", type=whole(1), metavar="N", help="images at a time (default: the run's own)")
    add_which(parser)
    if data:
        add_data_options(parser)
    if out:
        parser.add_argument("--out", metavar="FILE", help=f"where to write (default: {out} in the run's folder, "
                                                                "with a number where there is one)")
    parser.set_defaults(run_command=function, about_images=about_images)
    return parser


def add_which(parser):
    """--which, of the weights that training kept."""
    parser.add_argument("--which", choices=tuple(WEIGHTS), default="last", help="the weights of the last epoch "
                        "(default), or those of the best, where training kept them")


def open_run(arguments, folder=None):
    """The run in `folder`, or the one that the command names, with its model."""
    run = Run.open(folder or arguments.run)
    if arguments.batch_size:
        run.options["batch_size"] = arguments.batch_size
    if codes_from := getattr(arguments, "codes_from", None):
        check_names(find_system(run.options["model"]), {"of": codes_from},
                    run_options(find_system(run.options["model"])))
        run.options["of"] = codes_from
    trained = Trained(run, arguments.device, which=arguments.which)
    trained.ranks = world()
    if arguments.about_images:
        trained.needs_images(arguments.command)
    return trained


def images_for(trained, arguments, data=None):
    """The examples of the data set `data`, or of the one that the arguments name, or else of the run's own.

    Images of another set than the run's own are brought to the size and the channels that the run takes.
    """
    wanted = {name: read_one(name, text) for name in ("data", "data_root", "limit")
              if (text := getattr(arguments, name)) is not None}
    if data:
        wanted["data"] = data
    options = {**trained.options, **wanted}
    system = find_system(options["model"])
    check_names(system, wanted, run_options(system))
    if options.get("data") == trained.options.get("data") == ARRAY:
        raise InputError(f"{printable(trained.run.folder)} was trained on an array of images, which it does not keep: "
                         f"name others with --data.")
    if options.get("data") != trained.options.get("data"):
        options["image_size"], _, options["image_channels"] = trained.shape
        options |= {"limit": wanted.get("limit"), "drawn": None, "without": None, "skip_unreadable": False}
    data = examples_of(trained, options, arguments.download)
    check_images(trained, data)
    return data


def check_images(trained, data):
    """Raises InputError where the examples have another shape than those that the run was trained on."""
    if data.train.shape[1:] != trained.shape:
        size = "×".join(map(str, trained.shape))
        raise InputError(f"{printable(trained.run.folder)} takes images of {size}; {data.describe()}: "
                         f"choose other data.")


def held_out_images(trained, data, indices):
    """The held-out images of these numbers. Raises InputError where the set has fewer."""
    if max(indices) >= len(data.held_out):
        raise InputError(f"held-out image {max(indices)} was asked for, and {printable(data.name)} has those from 0 to "
                         f"{len(data.held_out) - 1}: choose one of these.")
    return trained.floats(data.held_out[list(indices)])


def destination(arguments, trained, name, others=()):
    """Where a command writes: --out, or `name` in the run's own folder. Raises InputError as check_output does.

    Commands ask before they compute: a place that cannot be written is told at once.
    """
    if arguments.out is None:
        path = trained.run.folder / name
        check_output(path, trained.run)
        return path
    path = Path(arguments.out)
    check_output(path, trained.run, *(other.run for other in others))
    for option in ("data", "against"):
        if data := getattr(arguments, option, None) or trained.options.get("data"):
            check_not_read(path, data)
    return path


def check_output(path, *runs):
    """Raises InputError where no file can be written at `path`, or where it would replace a file of one of the runs, of
    another run or of a sweep."""
    path = Path(path)
    check_writable(path)
    for run in runs:
        run.check_destination(path)
    place = Path(os.path.realpath(path))
    if place.name in (*FILES, *OF_A_SWEEP) and (present(place) or present(place.parent / "config.json")):
        raise InputError(f"{printable(path)} is a file of a run or of a sweep: choose another name.")


def check_not_read(path, data_name):
    """Raises InputError where `path` is a picture of the folder that the command reads its images from."""
    kind, _, folder = data_name.partition(":")
    if kind != "folder" or "\0" in folder or not present(path):
        return
    if Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents:
        raise InputError(f"{printable(path)} is in the folder of the images that the command reads: "
                         f"choose another name.")


def check_other_file(path, read):
    """Raises InputError where `path` is the file that the command reads."""
    if same_file(path, read):
        raise InputError(f"the command would write {printable(path)} over the file that it reads: choose another name.")


def bar(total, title, unit):
    """How far a long command is, on the error stream; nothing where that is a file or a pipe."""
    return tqdm(total=total, desc=title, unit=unit, leave=False, disable=None, bar_format=BAR)


def save_picture(figure, path, arguments=None):
    """Write a figure as PNG, complete or not at all, and say where. `arguments` are those of a command that draws it,
    as for `save`; without them it is one of the pictures that training or a sweep keeps up to date."""
    content = png(figure)
    if arguments is not None:
        return save(content, path, arguments)
    write_atomically(path, content)
    say(f"wrote {path}")


def save(content, path, arguments):
    """Write what a command has made, complete or not at all, and say where. Nothing is replaced silently: without --out
    the file gets a number where another has its name, such as arithmetic-2.png; with --out the line says what was
    replaced."""
    path = place_for(path, arguments, content)
    replaced = present(path) and getattr(arguments, "out", None) is not None
    write_atomically(path, content)
    say(f"wrote {path}" + (", in place of the file that was there" if replaced else ""))


def place_for(path, arguments, content=None):
    """`path`, or, where no --out was given and a file of another content has that name, the first of path-2, path-3, …
    that is free."""
    path, found = Path(path), Path(path)
    for number in itertools.count(2):
        if getattr(arguments, "out", None) is not None or not present(found):
            return found
        if content is not None and found.stat().st_size == len(content) and found.read_bytes() == content:
            return found
        found = path.with_stem(f"{path.stem}-{number}")


def save_pictures(folder, pictures, captions=None):
    """Write every (file name, figure) that training leaves, and say where; `captions` {file name: what it shows} are
    said too. Raises Diverged if the model's images are not finite."""
    try:
        for name, figure in pictures:
            write_atomically(folder / name, png(figure))
            say(f"wrote {folder / name}" + (f": {captions[name]}" if captions else ""))
    except NotFinite as error:
        raise Diverged(f"{error.problem} after training") from None


def picture_name(stem, trained, data):
    """STEM.png, or STEM-DATA.png where the data are not the run's own."""
    own = data.name == trained.options.get("data", data.name)
    return f"{stem}.png" if own else f"{stem}-{in_a_file_name(data.name)}.png"


def in_a_file_name(name):
    """The name of a data set as a part of a file name: without : and /, and at most its last 60 characters."""
    return name.replace(":", "-").replace("/", "-")[-60:]


def labelled(folders):
    """{label: folder}: each folder's name, or its whole path where two names are the same."""
    names = [Path(folder).resolve().name for folder in folders]
    labels = names if len(set(names)) == len(names) else folders
    return dict(zip(map(printable, labels), folders, strict=True))


def verdict_of(found, data, trained):
    """Sentences on how good the reconstructions of held-out images are, beside the mean image, and how much of the code
    is in use. `found` are held-out metrics without their prefix."""
    error, baseline = 10 ** (-found["psnr"] / 10), mean_image_error(data.train, data.held_out)
    mean = f"the mean image in place of every reconstruction has {psnr(baseline):.2f} dB"
    sentences = [f"PSNR {found['psnr']:.2f} dB on {len(data.held_out)} held-out images; {mean}."]
    if baseline > 0:
        share = error / baseline
        word = next(word for most, word in VERDICTS if share <= most)
        sentences.append(f"The model leaves {share:.1%} of the mean image's squared error; {word}.")
    for name, count in found.items():
        if name.startswith("codes_used"):
            level = name.removeprefix("codes_used").replace("_", " ")
            sentences.append(f"{count} of {trained.codes}{level} codes are in use.")
    if "active_units" in found:
        sentences.append(f"{found['active_units']} of {trained.options['latent_dim']} units are active: their means "
                         f"differ from image to image.")
    return sentences


def command_of(config, folder):
    """The `train` command that begins a run with the options of this config."""
    options = config["options"]
    usual = resolve(options["model"], {"preset": options["preset"]})
    words = ["python", "-m", config["program"], "train", options["model"], "--preset", options["preset"]]
    for name, value in options.items():
        if value != usual[name] and value is not None and value is not False:
            option = f"--{name.replace('_', '-')}"
            value = ",".join(map(str, value)) if isinstance(value, list) else value
            words += [option] if value is True else [f"{option}={value}"]
    return shlex.join([*words, f"--out={folder}"])


def report_epoch(metrics, shares):
    """Print the line of an epoch."""
    say(epoch_line(metrics, shares))
