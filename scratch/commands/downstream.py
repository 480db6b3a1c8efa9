"""The commands that measure the uses of a run's code: probe, retrieve, anomaly, and downstream, a table of all.

docs/reference/downstream.md says what the figures mean and what they cannot show.
"""

from functools import partial

import numpy as np

from data_utils import printable
from scratch.commands.cli import say, say_json
from scratch.commands.options import argument, whole
from scratch.commands.shared import (
    CORRUPTION_HELP,
    add_run_command,
    bar,
    check_images,
    destination,
    images_for,
    in_a_file_name,
    labelled,
    open_run,
    picture_name,
    save_picture,
)
from scratch.figures import pictures as figures
from scratch.instruments.anomaly import anomaly as judged
from scratch.instruments.denoising import denoising, new_corruption
from scratch.instruments.library import scipy_module
from scratch.instruments.probe import FITS, chance
from scratch.instruments.probe import probe as probed
from scratch.instruments.retrieval import NEIGHBOURS, nearest, retrieval
from scratch.instruments.vectors import labels, of_components, of_latents, of_pixels
from scratch.models.corruption import CORRUPTION
from scratch.options.errors import InputError


def add(subparsers):
    """The commands and their options."""
    against = "another data set, named as in --data, whose held-out images the scores should tell from the run's own"
    of_probe = add_run_command(subparsers, "probe", probe)
    of_retrieve = add_run_command(subparsers, "retrieve", retrieve, out="neighbours.png")
    of_retrieve.add_argument("--count", type=whole(1), default=4, metavar="N",
                             help="how many held-out images to draw (default: 4)")
    of_anomaly = add_run_command(subparsers, "anomaly", anomaly, out="anomaly-NAME.png")
    of_anomaly.add_argument("--against", required=True, metavar="NAME", help=against)
    of_all = add_run_command(subparsers, "downstream", downstream)
    of_all.add_argument("beside", nargs="*", metavar="RUN", help="more runs, a row each")
    of_all.add_argument("--against", metavar="NAME", help=against)
    of_all.add_argument("--corruption", type=argument(CORRUPTION.kind), metavar="KIND:AMOUNT", help=CORRUPTION_HELP)
    for parser in (of_probe, of_all):
        parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    for parser in (of_retrieve, of_anomaly):
        parser.add_argument("--json", action="store_true", help="print the numbers as JSON, draw nothing")


def spaces(trained, data):
    """The Vectors of a run, of as many principal components, and of the pixels."""
    latents = of_latents(trained, data)
    found = [latents, of_components(data, latents.numbers), of_pixels(data)]
    return [vectors for vectors in found if vectors]


def probe(arguments):
    """Print the accuracy of a linear classifier on the latents, beside PCA of the same size, pixels and chance."""
    scipy_module("optimize", "a linear probe")
    trained = open_run(arguments)
    data = images_for(trained, arguments)
    known = labels(data)
    with bar(None, "probe", "fit") as shown:
        compared = spaces(trained, data)
        shown.reset(len(compared) * len(known) * FITS)
        found = {vectors.label: {"numbers": vectors.numbers, **probed(vectors, data, trained.threads.map, shown.update)}
                 for vectors in compared}
    chances = {name: chance(*both) for name, both in known.items()}
    if arguments.json:
        say_json({**about(trained, data, known), "probes": found, "chance": chances})
        return 0
    report_labels(trained, data, known, "linear probes fitted to")
    for name in known:
        for label, entry in found.items():
            numbers, penalty = f"{entry['numbers']} numbers", entry[name]["penalty"]
            say(f"  {name:8}{label:10}{numbers:>14}   accuracy {entry[name]['accuracy']:.2%}   penalty {penalty:g}")
        say(f"  {name:8}{'chance':24}   accuracy {chances[name]:.2%}")
    return 0


def about(trained, data, known):
    """The run and the images of a printed result, for JSON."""
    training, _ = next(iter(known.values()))
    return {"run": str(trained.run.folder), "data": data.name, "images": len(data.held_out),
            "training_images": len(training)}


def report_labels(trained, data, known, what):
    """The line above a table of figures about labels."""
    of = about(trained, data, known)
    say(f"{of['run']} on {of['images']} held-out images of {data.name}; "
        f"{what} {of['training_images']} training images:")


def retrieve(arguments):
    """Print how often images and their nearest neighbours by latents share a label, beside PCA and pixels; draw some.
    """
    trained = open_run(arguments)
    data = images_for(trained, arguments)
    path = None if arguments.json else destination(arguments, trained, picture_name("neighbours", trained, data))
    known, compared = labels(data), spaces(trained, data)
    found = {vectors.label: {"numbers": vectors.numbers, **retrieval(vectors, data, trained.threads.map)}
             for vectors in compared}
    if arguments.json:
        say_json({**about(trained, data, known), "neighbours": NEIGHBOURS, "retrieval": found})
        return 0
    report_labels(trained, data, known, f"their {NEIGHBOURS} nearest among")
    for name in known:
        for label, entry in found.items():
            values = "   ".join(f"{score.replace('_', ' ')} {value:.2%}" for score, value in entry[name].items())
            say(f"  {name:8}{label:10}{entry['numbers']:>6} numbers   {values}")
    queries = data.held_out[: arguments.count]
    chosen = {}
    for vectors in compared:
        rows = nearest(vectors.train, vectors.held_out[: len(queries)], NEIGHBOURS)
        chosen[vectors.label] = trained.floats(data.train[rows])
    title = f"{trained.options['model']}: held-out images of {data.name} and the nearest training images"
    save_picture(figures.neighbours(trained.floats(queries), chosen, title), path, arguments)
    return 0


def anomaly(arguments):
    """Print how well a run's scores tell images of another data set from its own (AUROC), and draw the scores."""
    scipy_module("stats", "AUROC")
    trained = open_run(arguments)
    trained.needs_images("anomaly")
    data, outside = inside_and_outside(trained, arguments)
    name = f"anomaly-{in_a_file_name(outside.name)}.png"
    path = None if arguments.json else destination(arguments, trained, name)
    pairs, areas = judged(trained, data, outside)
    if arguments.json:
        say_json({"run": str(trained.run.folder), "data": data.name, "images": len(data.held_out),
                  "against": outside.name, "against_images": len(outside.held_out), "auroc": areas})
        return 0
    say(f"{trained.run.folder}: {len(data.held_out)} held-out images of {data.name} "
        f"against {len(outside.held_out)} of {outside.name}:")
    width = max(map(len, pairs))
    for name, (inner, outer) in pairs.items():
        say(f"  {name:{width}}  AUROC {areas[name]:.4f}   median {np.median(inner):.5g} inside, "
            f"{np.median(outer):.5g} outside")
    save_picture(figures.score_histograms(pairs, areas, data.name, outside.name), path, arguments)
    return 0


def inside_and_outside(trained, arguments):
    """(the run's data, the data to tell from it). Raises InputError where both are the same."""
    data, outside = images_for(trained, arguments), images_for(trained, arguments, arguments.against)
    if data.name == outside.name:
        raise InputError(f"--against {printable(outside.name)} names the run's own images: name another data set.")
    return data, outside


def downstream(arguments):
    """Print a Markdown table of the runs: probe, neighbours, anomaly detection and denoising."""
    scipy_module("optimize", "a linear probe")
    if arguments.against:
        scipy_module("stats", "AUROC")
    runs = {label: open_run(arguments, folder)
            for label, folder in labelled([arguments.run, *arguments.beside]).items()}
    first = next(iter(runs.values()))
    data = images_for(first, arguments)
    for trained in runs.values():
        check_images(trained, data)
    outside = inside_and_outside(first, arguments)[1] if arguments.against else None
    with bar((2 * len(runs) + 1) * len(labels(data)) * FITS, "downstream", "fit") as shown:
        measure = partial(of_labels, data=data, in_threads=first.threads.map, fitted=shown.update)
        table = {label: row(trained, data, outside, arguments.corruption, measure) for label, trained in runs.items()}
        sizes = sorted({table[label]["numbers"] for label in runs})
        shown.total = (len(runs) + len(sizes) + 1) * len(labels(data)) * FITS
        for numbers in sizes:
            if components := of_components(data, numbers):
                table[f"PCA, {numbers} numbers"] = measure(components)
        table["pixels"] = measure(of_pixels(data))
    if arguments.json:
        say_json({"data": data.name, "images": len(data.held_out), "against": arguments.against,
                  "corruption": arguments.corruption, "rows": table})
    else:
        print_table(table)
    return 0


def row(trained, data, outside, corruption, measure):
    """{column: value} of a run; `measure` gives those of its vectors."""
    found = measure(of_latents(trained, data))
    if outside:
        _, areas = judged(trained, data, outside)
        found |= {f"AUROC {spoken(name)}": area for name, area in areas.items()}
    if corruption:
        measured = denoising(trained, data.held_out, new_corruption(trained, corruption))
        found |= {f"{spoken(name)} (dB)": value for name, value in measured.items()}
    return found


def spoken(name):
    """The name of a measure as a heading."""
    return name.replace("_", " ").replace("elbo", "ELBO").replace("psnr", "PSNR")


def of_labels(vectors, data, in_threads, fitted):
    """{column: value} of vectors: how many numbers, and for each factor the probe's accuracy and the neighbours'."""
    found = {"numbers": vectors.numbers}
    neighbours = retrieval(vectors, data, in_threads)
    for name, entry in probed(vectors, data, in_threads, fitted).items():
        found |= {f"{name}: probe": entry["accuracy"], f"{name}: {NEIGHBOURS}-NN": neighbours[name]["knn_accuracy"],
                  f"{name}: P@{NEIGHBOURS}": neighbours[name][f"precision_at_{NEIGHBOURS}"]}
    return found


def print_table(table):
    """Print rows {label: {column: value}} in Markdown; a cell without a value stays empty."""
    columns = list(dict.fromkeys(column for found in table.values() for column in found))
    say("| | " + " | ".join(columns) + " |")
    say("|" + "---|" * (len(columns) + 1))
    for label, found in table.items():
        cells = (cell(column, found.get(column)) for column in columns)
        say(f"| {label.replace('|', '-')} | " + " | ".join(cells) + " |")


def cell(column, value):
    """A value of a column, in its unit."""
    if value is None or column == "numbers":
        return "" if value is None else str(value)
    if "(dB)" in column:
        return f"{value:.2f}"
    return f"{value:.4f}" if column.startswith("AUROC") else f"{value:.2%}"
