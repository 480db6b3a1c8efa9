"""A report of runs as a page: what each is, its curves, pictures, codes and measures; several beside each other."""

from dataclasses import dataclass, field

from scratch.figures.of_run import CAPTIONS, PICTURED, pictures_of, reconstruction_figure
from scratch.figures.page import Section, page
from scratch.figures.pictures import kl_per_dimension, loss_curves, run_curves

DRAWN = ("curves.png", "codebook.png")  # the pictures that are lines and text
COMPARED = ("held_out_loss", "held_out_psnr", "codes_used", "epoch_perplexity")
SHOWN = {"codes_used": "codes used", "active_units": "active units", "rate": "rate (nats)", "elbo": "ELBO (nats)"}


@dataclass
class Reported:
    """A run in a report.

    label        its name there
    trained      the run with its model
    metrics      an entry an epoch
    command      the command line that begins such a run
    data         the images it was trained on, or None, with the reason in `missing`
    measures     {name: (value as text, unit)} on the held-out images
    kl           the mean KL of each dimension, where there is one
    verdict      sentences on how good it is
    layers       the table of its layers as text
    """

    label: str
    trained: object
    metrics: list
    command: str
    data: object = None
    missing: str = ""
    measures: dict = field(default_factory=dict)
    kl: list | None = None
    verdict: list = field(default_factory=list)
    layers: str = ""


def report_page(runs):
    """The page of some Reported runs as text."""
    sections = [section_of(run, f"run{number}") for number, run in enumerate(runs, 1)]
    if len(runs) == 1:
        return page(f"Report of {runs[0].label}", subtitle_of(runs[0]), sections)
    return page(f"{len(runs)} runs beside each other", ", ".join(run.label for run in runs),
                [comparison(runs), *sections])


def subtitle_of(run):
    """A run in one line."""
    options, config = run.trained.options, run.trained.run.config
    return (f"{options['model']}, preset {options['preset']}, {config['parameters']:,} parameters, "
            f"{len(run.metrics)} epochs of {config['data']['training_images']} training images of "
            f"{config['data']['name']}")


def comparison(runs):
    """The section that sets the runs beside each other: figures, curves, reconstructions of the same images."""
    section = Section("Beside each other", anchor="all")
    extra = [name for name in SHOWN if any(name in run.measures for run in runs)]
    section.table(
        ["run", "model", "data", "parameters", "epochs", "held-out loss", "PSNR", *(SHOWN[name] for name in extra)],
        [[run.label, run.trained.options["model"], run.trained.run.config["data"]["name"],
          f"{run.trained.run.config['parameters']:,}", str(len(run.metrics)), last(run, "held_out_loss", "{:.4g}"),
          last(run, "held_out_psnr", "{:.2f} dB"), *(run.measures.get(name, ("", ""))[0] for name in extra)]
         for run in runs])
    section.text("Losses can be compared between runs of one model with the same weights and likelihood; the PSNR "
                 "between all runs on the same images.", "faint")
    curves = {run.label: run.metrics for run in runs if run.metrics}
    common = set.intersection(*(set(entry) for metrics in curves.values() for entry in metrics)) if curves else set()
    if len(curves) > 1 and (names := [name for name in COMPARED if name in common]):
        section.drawing(run_curves(curves, names), "Metrics that all runs have, over their epochs.")
    first = runs[0]
    alike = [run.trained for run in runs if run.trained.model.has_images and run.trained.shape == first.trained.shape]
    if first.data is not None and first.trained in alike and len(alike) > 1:
        images = first.trained.floats(first.data.held_out[:PICTURED])
        figure = reconstruction_figure(alike, images, first.data.name)
        section.picture(figure, f"The same held-out images of {first.data.name} through each run.")
    return section


def last(run, name, form):
    """A metric of the last epoch as text; empty where the run has none."""
    return form.format(run.metrics[-1][name]).replace("inf", "∞") if run.metrics and name in run.metrics[-1] else ""


def section_of(run, anchor):
    """The section of one run."""
    section = Section(run.label, anchor=anchor)
    section.text(f"{subtitle_of(run)}.")
    for sentence in run.verdict:
        section.text(sentence)
    if run.missing:
        section.text(f"Without pictures and measures: {run.missing}")
    drawn = "curves.png"
    if run.data is not None:
        for name, figure in pictures_of(run.trained, run.metrics, run.data) if run.metrics else ():
            (section.drawing if name in DRAWN else section.picture)(figure, CAPTIONS[name])
    elif run.metrics:
        section.drawing(loss_curves(run.metrics), CAPTIONS[drawn])
    if run.kl:
        section.drawing(kl_per_dimension(run.kl), "The KL of each dimension to the prior: one near 0 carries nothing.")
    if run.measures:
        section.table(["measure", "on held-out examples", ""],
                      [[name.replace("_", " "), value, unit] for name, (value, unit) in run.measures.items()])
    section.text("Such a run begins with:")
    section.folded("the command line", run.command)
    section.folded("every option", "\n".join(f"{name:20} {value}" for name, value in run.trained.options.items()))
    section.folded("layers, shapes and parameters", run.layers)
    section.folded("versions", "\n".join(f"{name:20} {value}"
                                         for name, value in run.trained.run.config["versions"].items()))
    return section
