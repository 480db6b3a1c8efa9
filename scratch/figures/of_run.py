"""Pictures of a finished run: its reconstructions, samples, variations and interpolations."""

import numpy as np

from scratch.bottlenecks.vector_quantizer import code_counts
from scratch.figures import pictures as figures
from scratch.instruments.denoising import of_corrupted

PICTURED = 10  # images in a row
CAPTIONS = {  # what the pictures of `pictures_of` show
    "curves.png": "loss, terms and PSNR over the epochs, on training and held-out images",
    "reconstructions.png": "held-out images, and what the model makes of them",
    "samples.png": "new images, decoded from codes that a prior draws",
    "interpolation.png": "the way from one held-out image to another through the codes",
    "variations.png": "held-out images, decoded from several draws of their codes",
    "codebook.png": "how often each code is used, the most frequent first",
}


def pictures_of(trained, metrics, data):
    """Yields (file name, figure) of all the pictures that training leaves in a run's folder."""
    yield "curves.png", figures.loss_curves(metrics)
    if trained.model.writes_codes:
        yield "samples.png", written_figure(trained, PICTURED if trained.model.labels else 20, seed=0)
    if not trained.model.has_images:
        return
    held_out = trained.floats(data.held_out[: max(PICTURED, 2)])
    yield "reconstructions.png", reconstruction_figure([trained], held_out, data.name)
    if trained.model.bottleneck.priors:
        yield "samples.png", sample_figure(trained, data.train, 20, seed=0)
    if len(held_out) > 1:
        yield "interpolation.png", interpolation_figure(trained, *held_out[:2], PICTURED)
    if trained.model.bottleneck.random:
        yield "variations.png", variation_figure(trained, held_out[:3], PICTURED, seed=0)
    if trained.codes:
        grids = trained.model.bottleneck.by_codebook(trained.encode(data.held_out))
        counts = {level: code_counts(indices, trained.codes) for level, indices in grids.items()}
        yield "codebook.png", figures.codebook_use(counts)


def reconstruction_figure(runs, images, data_name):
    """The images over their reconstructions, a row for each of the trained runs. A run with a corruption has two more
    rows: the corrupted images, and their reconstructions. A row is named after the model, or after the run where two
    runs have the same model.
    """
    rows, models = [("original", images)], [trained.options["model"] for trained in runs]
    names = models if len(set(models)) == len(models) else [trained.run.folder.resolve().name for trained in runs]
    for name, trained in zip(names, runs, strict=True):
        rows.append((name, trained.reconstruct(images)))
        if trained.model.corruption:
            model = trained.model
            seen, denoised = of_corrupted(trained, images, lambda _, seen, model=model: [seen, model.reconstruct(seen)])
            rows += [(trained.options["corruption"], seen), ("denoised", denoised)]
    return figures.image_rows(rows, f"held-out images of {data_name} and their reconstructions")


def sample_figure(trained, training_images, count, seed):
    """New images from every prior that the model has. Each prior has its own rows, and the title names it."""
    rng = np.random.default_rng(seed)
    rows, captions = [], []
    for prior in trained.priors(training_images):
        images = trained.decode(prior.draw(count, rng, trained.dtype))
        captions.append(prior.caption)
        rows += in_rows(prior.label, images)
    return figures.image_rows(rows, f"{trained.options['model']} samples: " + "\n".join(captions))


def written_figure(trained, count, seed, **choosing):
    """New images, decoded from codes that a learned prior writes. Where it writes after labels and none is given, each
    label has `count` images; where it writes after captions and none is given, it writes a caption for each row itself.
    Given captions have `count` images each."""
    heading, labels = "images decoded from codes that the prior wrote", range(max(trained.model.labels, 1))
    if trained.model.text_length and "text" not in choosing:
        captions, shown = trained.write_captions(-(-count // PICTURED), seed, **choosing), []
        for number, caption in enumerate(captions):
            known = np.repeat(caption[None], PICTURED, axis=0)
            codes = trained.written(np.zeros(PICTURED, np.int64), known, seed + number, **choosing)
            shown.append((trained.text_of(caption), trained.referred("of").decode(codes)))
        return figures.image_rows(shown, f"{heading}, after captions that it wrote, too")
    if "text" in choosing:
        texts = choosing.pop("text")
        rows = [row for number, text in enumerate(texts)
                for row in in_rows(text, trained.sample(count, seed + number, text=text, **choosing))]
    elif "label" in choosing or len(labels) == 1:
        rows = in_rows("", trained.sample(count, seed, **choosing))
    else:
        rows = [row for label in labels
                for row in in_rows(str(label), trained.sample(count, seed + label, label=label, **choosing))]
    return figures.image_rows(rows, heading)


def in_rows(label, images):
    """Rows of at most PICTURED images. The first row has the label."""
    return [("" if start else label, images[start : start + PICTURED]) for start in range(0, len(images), PICTURED)]


def completion_figure(trained, images, rows, kept, count, seed, **choosing):
    """Images over their reconstructions and over `count` continuations of the codes of their upper part.

    rows   the images as the prior's examples: label, caption and codes
    kept   how many rows of the grid of codes stay
    """
    decoder = trained.referred("of")
    shown = [("original", images), ("reconstructed", decoder.reconstruct(images))]
    for number in range(count):
        written = trained.complete(rows, kept, seed + number, **choosing)
        shown.append((f"continued {number + 1}", decoder.decode(written)))
    return figures.image_rows(shown, f"the codes below row {kept} were written by the prior")


def likelihood_figure(images, bits):
    """The images that cost the fewest bits, and those that cost the most."""
    order = np.argsort(bits)
    rows = [("most likely", images[order[:PICTURED]]), ("least likely", images[order[::-1][:PICTURED]])]
    return figures.image_rows(rows, f"codes of {bits[order[0]]:.0f} bits and of {bits[order[-1]]:.0f}")


def interpolation_figure(trained, a, b, steps):
    """Images decoded on the way from image a to image b through the latent space, under the two originals."""
    strip = trained.interpolate(a, b, steps)
    ends = np.ones_like(strip)
    ends[0], ends[-1] = a, b
    return figures.image_rows([("originals", ends), ("decoded", strip)],
                              f"{trained.options['model']}: from one image to another through the latent space")


def variation_figure(trained, images, count, seed):
    """Each image beside the images that `count` draws of its code decode to. Raises InputError where the code is not
    drawn at random."""
    draws = trained.variations(images, count, np.random.default_rng(seed))
    rows = [
        ("original, then draws", np.concatenate([image[None], drawn]))
        for image, drawn in zip(images, draws, strict=True)
    ]
    return figures.image_rows(
        rows, f"{trained.options['model']}: one image, decoded from z drawn again and again from q(z | x)")
