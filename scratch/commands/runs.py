"""What the command line does with a run: train it, judge it, draw it."""

import json
from pathlib import Path

import numpy as np

from data_utils import load
from scratch.accelerate import accelerate_optimizer
from scratch.accelerate.cpu.workers import ParallelTrainer, sensible_workers
from scratch.accelerate.gpu.check import choose_form
from scratch.arrays import device_module
from scratch.commands.shortages import memory_for
from scratch.figures import pictures as figures
from scratch.instruments.denoising import denoising, new_corruption
from scratch.instruments.report import check_samples, measure, report_measures
from scratch.options.errors import InputError
from scratch.options.training import resolve, resolve_resumed
from scratch.runs.run import Run, describe_data, versions
from scratch.runs.trained import (
    Trained,
    build_model,
    draw_pictures,
    interpolation_figure,
    reconstruction_figure,
    sample_figure,
    save_picture,
    variation_figure,
)
from scratch.training.loop import Interrupted, Progress, Trainer, fit, make_optimizer, prepare, steps_to_do


def make_trainer(options, image_shape):
    """The scratch side of `train`: a model and its optimiser on their device."""
    device_module(options["device"])  # complains before anything is built
    rng = np.random.default_rng(options["seed"])
    on_gpu = options["device"] != "cpu"
    model = build_model({**options, "plain": options["plain"] or on_gpu}, image_shape, options["device"], rng)
    optimizer = make_optimizer(model.named_parameters(), options)
    if not options["plain"] and not on_gpu:
        accelerate_optimizer(optimizer)
    elif not options["plain"] and (problem := choose_form(model, optimizer, image_shape)):
        print(problem)
    workers = number_of_workers(options, model)
    if workers > 1:
        trainer = ParallelTrainer(model, optimizer, options["seed"], workers)
    else:
        trainer = Trainer(model, optimizer, options["seed"], options["device"])
    return trainer, model.parameter_count()


def number_of_workers(options, model):
    """What --workers says; where it says nothing, a sensible number. Raises InputError where there can be but one."""
    device, workers = options["device"], options["workers"]
    if workers is None:
        coupled = any(part.couples_examples for part in model.modules())
        return 1 if options["plain"] or device != "cpu" or coupled else sensible_workers(options["batch_size"])
    if workers > 1 and (options["plain"] or device != "cpu"):
        where = "--plain" if options["plain"] else f"--device {device}"
        raise InputError(f"--workers {workers} asks for threads that share a batch on the CPU; {where} has none such.")
    return workers


def train(arguments, make_trainer=make_trainer, program="scratch"):
    """Train a new run, or continue one. torch_ref passes its own `make_trainer`."""
    start = continue_run if arguments.resume else begin_run
    run, data, trainer, progress = start(arguments, make_trainer, program)
    try:
        fit(trainer, data, run, progress, on_epoch=report_epoch)
    except Interrupted:
        print(f"Stopped and saved. Go on with: python -m {program} train --resume {run.folder}")
        return 130
    if run.metrics():
        draw_pictures(run, data)
    return 0


def begin_run(arguments, make_trainer, program):
    """(run, data, trainer, progress) of a new run."""
    options = resolve(arguments)
    data = load_data(options, arguments.download)
    trainer, parameters = make_trainer(options, data.train.shape[1:])
    config = {
        "program": program,
        "options": options,
        "data": describe_data(data),
        "parameters": parameters,
        "versions": versions(),
    }
    run = Run.create(arguments.out or free_folder(options), config)
    print(f"{options['model']} with {parameters:,} parameters on {data.describe()}; writing to {run.folder}")
    with memory_for(options["batch_size"], options["device"]):
        prepare(trainer, data, options)
    return run, data, trainer, Progress()


def continue_run(arguments, make_trainer, program):
    """(run, data, trainer, progress) of a run as it was when it was last saved."""
    run, tensors, position = Run.resume(arguments.resume)
    if run.config["program"] != program:
        raise InputError(f"{run.folder} was trained by {run.config['program']}: continue it there.")
    run.config["options"] = resolve_resumed(arguments, run.options)
    data = load_data(run.options, arguments.download)
    if describe_data(data) != run.config["data"]:
        raise InputError(f"the data has changed since {run.folder} was trained: {data.describe()}, "
                         f"where the run had {run.config['data']}.")
    trainer, _ = make_trainer(run.options, data.train.shape[1:])
    try:
        progress = run.restore(trainer, tensors, position)
    except (KeyError, ValueError) as error:
        raise InputError(f"{run.folder}/resume.safetensors does not fit its own config: {error}.") from None
    run.write_config()
    for name, now in trainer.environment().items():
        if (before := position["environment"].get(name)) != now:
            print(f"Note: {name} was {before}, is now {now}: the run goes on, but not bit for bit as before.")
    print(f"Continuing {run.folder} after {progress.epoch - 1} epoch(s) and {progress.step} step(s).")
    if not steps_to_do(progress, run.options, len(data.train)):
        end = "steps" if run.options["steps"] else "epochs"
        print(f"Its {run.options[end]} {end[:-1]}(s) are done; a larger --{end} trains on.")
    return run, data, trainer, progress


def load_data(options, download=False):
    """The images that a run's options name."""
    return load(options["data"], root=options["data_root"], download=download, limit=options["limit"],
                image_size=options["image_size"], channels=options.get("image_channels"), seed=options["seed"])


def free_folder(options):
    """runs/MODEL-PRESET-DATA, with a number behind it if that one is taken."""
    data = options["data"].partition(":")[0]
    name = Path("runs") / f"{options['model']}-{options['preset']}-{data}"
    folder, number = name, 1
    while folder.exists():
        number += 1
        folder = name.with_name(f"{name.name}-{number}")
    return folder


def report_epoch(metrics):
    """The line of an epoch."""
    shown = {name: value for name, value in metrics.items() if name not in ("epoch", "seconds", "images_per_second")}
    line = "  ".join(f"{name} {value:.4g}" for name, value in shown.items() if not name.startswith("held_out_"))
    held_out = {name.removeprefix("held_out_"): value for name, value in shown.items() if name.startswith("held_out_")}
    line += "  | held out: loss {loss:.4g}  PSNR {psnr:.2f} dB".format(**held_out)
    print(f"epoch {metrics['epoch']}: {line}  | {metrics['seconds']:.1f} s, "
          f"{metrics['images_per_second']:.0f} images/s", flush=True)


def open_run(arguments, folder=None):
    """The run that a command is about, or another one, with its model."""
    run = Run.open(folder or arguments.run)
    if arguments.batch_size:
        run.options["batch_size"] = arguments.batch_size
    return Trained(run, arguments.device)


def images_for(trained, arguments, data=None):
    """The images that the arguments name, or else the run's own options; or those of the data set `data`.

    Images of another set than the run's are brought to the size and the channels that the run takes.
    """
    wanted = {name: getattr(arguments, name) for name in ("data", "data_root", "limit")}
    wanted["data"] = data or wanted["data"]
    options = {**trained.options, **{name: value for name, value in wanted.items() if value is not None}}
    if options["data"] != trained.options["data"]:
        options["image_size"], _, options["image_channels"] = trained.run.config["data"]["image_shape"]
        options["limit"] = arguments.limit
    data = load_data(options, arguments.download)
    check_images(trained, data)
    return data


def check_images(trained, data):
    """Raises InputError where the images are not of the shape that the run was trained on."""
    H, W, C = trained.run.config["data"]["image_shape"]
    if data.train.shape[1:] != (H, W, C):
        raise InputError(f"{trained.run.folder} takes images of {H}×{W}×{C}; {data.describe()}: choose other --data.")


def destination(arguments, trained, name):
    """Where a command writes: --out, or the run's own folder."""
    return Path(arguments.out) if arguments.out else trained.run.folder / name


def evaluate(arguments):
    """Print every term, rate, distortion and ELBO, PSNR and SSIM, the codes or units in use, and what is denoised."""
    trained = open_run(arguments)
    check_samples(trained, arguments.importance_samples)
    data = images_for(trained, arguments)
    metrics = measure_all(trained, data.held_out, arguments.importance_samples, arguments.corruption)
    if arguments.json:
        print(json.dumps({"data": data.name, "images": len(data.held_out), **metrics}))
        return 0
    print(f"{trained.run.folder} on {len(data.held_out)} held-out images of {data.name}:")
    report_measures(metrics)
    if kl := metrics.get("kl_per_dimension"):
        save_picture(figures.kl_per_dimension(kl), trained.run.folder / picture_name("kl_per_dimension", trained, data))
    return 0


def measure_all(trained, images, samples=None, corruption=None):
    """{name: value} of held-out images (uint8): what training says of them, and what the instruments add.

    What is denoised is the corruption given, such as "gaussian:0.3", or else the run's own, if it has one.
    """
    metrics = {name.removeprefix("held_out_"): value for name, value in trained.evaluate(images).items()}
    metrics |= measure(trained, images, samples)
    if corruption:
        metrics |= {"corruption": corruption, **denoising(trained, images, new_corruption(trained, corruption))}
    elif trained.model.corruption:
        metrics |= denoising(trained, images)
    return metrics


def picture_name(stem, trained, data):
    """STEM.png, or STEM-DATA.png of other data than the run's own."""
    own = data.name == trained.options["data"]
    return f"{stem}.png" if own else f"{stem}-{data.name.replace(':', '-').replace('/', '-')}.png"


def reconstruct(arguments):
    """Draw held-out images over their reconstructions, and print the PSNR over all of them.

    Of images of another data set than the run's it is printed beside that of its own.
    """
    trained = open_run(arguments)
    data = images_for(trained, arguments)
    sets, own = [data], trained.options["data"]
    if data.name != own:
        sets.append(images_for(trained, arguments, own))
    runs = [trained, *(open_run(arguments, folder) for folder in arguments.beside)]
    for other in runs:
        check_images(other, data)
    x = trained.floats(data.held_out[: arguments.count])
    name = picture_name("reconstructions", trained, data)
    save_picture(reconstruction_figure(runs, x, data.name), destination(arguments, trained, name))
    for other in runs:
        for measured in sets:
            psnr = other.evaluate(measured.held_out)["held_out_psnr"]
            print(f"{other.run.folder}: PSNR {psnr:.2f} dB over {len(measured.held_out)} held-out images "
                  f"of {measured.name}")
    return 0


def sample(arguments):
    """Draw new images."""
    trained = open_run(arguments)
    training_images = None if trained.options["model"] == "vae" else images_for(trained, arguments).train
    figure = sample_figure(trained, training_images, arguments.count, arguments.seed)
    save_picture(figure, destination(arguments, trained, "samples.png"))
    return 0


def held_out_images(trained, data, indices):
    """The held-out images of these numbers. Raises InputError where there are not so many."""
    if max(indices) >= len(data.held_out):
        raise InputError(f"there is no held-out image {max(indices)}: {data.name} has {len(data.held_out)}, from 0.")
    return trained.floats(data.held_out[list(indices)])


def variations(arguments):
    """Draw one image's code again and again."""
    trained = open_run(arguments)
    data = images_for(trained, arguments)
    figure = variation_figure(trained, held_out_images(trained, data, arguments.index), arguments.count, arguments.seed)
    save_picture(figure, destination(arguments, trained, "variations.png"))
    return 0


def interpolate(arguments):
    """Draw the way between two images through the latent space."""
    trained = open_run(arguments)
    data = images_for(trained, arguments)
    a, b = held_out_images(trained, data, arguments.between)
    figure = interpolation_figure(trained, a, b, arguments.steps)
    save_picture(figure, destination(arguments, trained, "interpolation.png"))
    return 0


COMPARED = ("reconstruction", "held_out_psnr", "codes_used", "epoch_perplexity")  # drawn by `curves` where runs have it


def labelled(folders):
    """{label: folder}: the folders' names, or where two are alike the whole paths."""
    names = [Path(folder).resolve().name for folder in folders]
    return dict(zip(names if len(set(names)) == len(names) else map(str, folders), folders, strict=True))


def curves(arguments):
    """Draw metrics of several runs over their epochs, in one figure."""
    runs = {label: Run.open(folder).metrics() for label, folder in labelled(arguments.runs).items()}
    for label, metrics in runs.items():
        if not metrics:
            raise InputError(f"{label} has finished no epoch yet: there is nothing to draw of it.")
    common = set.intersection(*(set(entry) for metrics in runs.values() for entry in metrics)) - {"epoch"}
    wanted = arguments.metric or [name for name in COMPARED if name in common]
    for name in wanted:
        if name not in common:
            raise InputError(f"not every run has a metric {name!r}; they share {', '.join(sorted(common))}.")
    save_picture(figures.run_curves(runs, wanted), Path(arguments.out))
    return 0
