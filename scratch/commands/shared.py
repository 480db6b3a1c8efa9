"""What the commands on a finished run have in common: the run, the images, where to write."""

from pathlib import Path

from scratch.commands.options import add_data_options, read_one, whole
from scratch.commands.shortages import runs_with
from scratch.figures.pictures import save_figure
from scratch.models.system import find_system
from scratch.options.errors import InputError
from scratch.runs.run import Run
from scratch.runs.schema import shown
from scratch.runs.trained import NotFinite, Trained
from scratch.training.progress import Diverged, epoch_line

CORRUPTION_HELP = ("how much of a noise a run takes away, whatever it was trained with: gaussian:SIGMA, masking:P or "
                   "salt_and_pepper:P")


def add_run_command(subparsers, name, function, data=True, out=None):
    """A command on a run that exists."""
    summary = function.__doc__.splitlines()[0]
    parser = subparsers.add_parser(name, help=summary, description=summary)
    parser.add_argument("run", metavar="RUN", help="the folder that train wrote")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default), gpu or gpu:N")
    parser.add_argument("--batch-size", type=whole(1), metavar="N", help="images at a time (default: the run's own)")
    if data:
        add_data_options(parser)
    if out:
        parser.add_argument("--out", metavar="FILE", help=f"where to write (default: {out} in the run's folder)")
    parser.set_defaults(run_command=function)
    return parser


def open_run(arguments, folder=None):
    """The run that a command is about, or another one, with its model."""
    run = Run.open(folder or arguments.run)
    if arguments.batch_size:
        run.options["batch_size"] = arguments.batch_size
    runs_with(arguments, {**run.options, "device": arguments.device})
    return Trained(run, arguments.device)


def images_for(trained, arguments, data=None):
    """The examples that the arguments name, or else the run's own options; or those of the data set `data`.

    Images of another set than the run's are brought to the size and the channels that the run takes.
    """
    wanted = {name: read_one(name, text) for name in ("data", "data_root", "limit")
              if (text := getattr(arguments, name)) is not None}
    if data:
        wanted["data"] = data
    options = {**trained.options, **wanted}
    if options["data"] != trained.options["data"]:
        options["image_size"], _, options["image_channels"] = trained.shape
        options["limit"] = wanted.get("limit")
    data = find_system(options["model"]).load_data(options, arguments.download)
    check_images(trained, data)
    return data


def check_images(trained, data):
    """Raises InputError where the examples are not of the shape that the run was trained on."""
    if data.train.shape[1:] != trained.shape:
        size = "×".join(map(str, trained.shape))
        raise InputError(f"{trained.run.folder} takes images of {size}; {data.describe()}: choose other data.")


def held_out_images(trained, data, indices):
    """The held-out images of these numbers. Raises InputError where there are not so many."""
    if max(indices) >= len(data.held_out):
        raise InputError(f"there is no held-out image {max(indices)}: {data.name} has {len(data.held_out)}, from 0.")
    return trained.floats(data.held_out[list(indices)])


def destination(arguments, trained, name):
    """Where a command writes: --out, or the run's own folder. Raises InputError for a file of the run itself."""
    path = Path(arguments.out) if arguments.out else trained.run.folder / name
    trained.run.check_destination(path)
    return path


def save_picture(figure, path):
    """Write a figure, and say where."""
    save_figure(figure, path)
    print(f"wrote {shown(path)}")


def save_pictures(folder, pictures):
    """Write every (file name, figure) that training leaves. Raises Diverged where the model's images are not finite."""
    try:
        for name, figure in pictures:
            save_picture(figure, folder / name)
    except NotFinite as error:
        raise Diverged(f"{error.problem} after training") from None


def picture_name(stem, trained, data):
    """STEM.png, or STEM-DATA.png of other data than the run's own."""
    own = data.name == trained.options["data"]
    return f"{stem}.png" if own else f"{stem}-{data.name.replace(':', '-').replace('/', '-')}.png"


def labelled(folders):
    """{label: folder}: the folders' names, or where two are alike the whole paths."""
    names = [Path(folder).resolve().name for folder in folders]
    labels = names if len(set(names)) == len(names) else folders
    return dict(zip(map(shown, labels), folders, strict=True))


def report_epoch(metrics):
    """Print the line of an epoch."""
    print(epoch_line(metrics), flush=True)
