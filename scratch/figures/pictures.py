"""Pictures of a run: each function returns a Matplotlib figure, `png` the bytes of its file."""

import io

import numpy as np

from data_utils import printable
from scratch.arrays import unwarned
from scratch.figures.canvas import new_figure, whole_numbers
from scratch.figures.text import DPI, LINE, any_letter, fold, legend, lines, title, width_of
from scratch.options.errors import InputError

GAP = 2  # white pixels between images


def png(figure):
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    with any_letter(), unwarned():  # axes of numbers near the largest that a float holds
        if layout := figure.get_layout_engine():  # once: savefig would draw the whole figure a first time for it
            figure.set_dpi(DPI)
            layout.execute(figure)
            figure.set_layout_engine(None)
        figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def tile(images):
    """Images (N, H, W, C) side by side, as one (H, N·(W + GAP) − GAP, 3) picture in [0, 1]. C is 1 or 3.

    Raises InputError for another C.
    """
    N, H, W, C = images.shape
    if C not in (1, 3):
        raise InputError(f"a picture shows images of 1 or 3 channels, and these have {C}: draw another run.")
    strip = np.ones((H, N * (W + GAP) - GAP, 3))
    for n in range(N):
        strip[:, n * (W + GAP) : n * (W + GAP) + W] = np.clip(images[n], 0, 1)
    return strip


def image_rows(rows, heading):
    """A figure with a row of images (N, H, W, C) for every (label, images), under a heading."""
    columns = max(len(images) for _, images in rows)
    longest = max(width_of(printable(label), 9) for label, _ in rows)
    inches = max(3, longest / 3)  # a row has room for four lines
    label_width = max(width_of(line, 9) for label, _ in rows for line in lines(label, inches, 9)) + 0.18
    width = max(columns * 0.75 + label_width, 4.0)
    heading = fold(heading, width - 0.2, 10)
    head = max(0.42, 0.11 + 10 * LINE * (heading.count("\n") + 1))
    height = len(rows) * 0.78 + head + 0.03
    figure = new_figure(figsize=(width, height))
    figure.suptitle(heading, fontsize=10, y=1 - 0.08 / height, va="top")
    for index, (label, images) in enumerate(rows):
        bottom = 1 - (head + (index + 1) * 0.78) / height
        axes = figure.add_axes((label_width / width, bottom, 1 - (label_width + 0.05) / width, 0.74 / height))
        axes.imshow(tile(images), interpolation="nearest", aspect="equal")
        axes.set_anchor("W")
        axes.set_axis_off()
        beside = (label_width - 0.08) / width, bottom + 0.37 / height
        figure.text(*beside, fold(label, inches, 9), ha="right", va="center", fontsize=9)
    return figure


def loss_curves(metrics):
    """Each loss term over the epochs, on the training and the held-out images; of a codebook also the codes in use."""
    common = set.intersection(*map(set, metrics))  # the lines of a run that two versions trained may hold other names
    ours = [name.removeprefix("held_out_") for name in metrics[0] if name.startswith("held_out_") and name in common]
    names = [name for name in ours if not name.startswith("epoch_perplexity")]
    columns = min(3, len(names)) or 1
    depth = -(-len(names) // columns) or 1
    figure = new_figure(figsize=(3.6 * columns, 2.7 * depth), layout="constrained")
    epochs = [entry["epoch"] for entry in metrics]
    for index, name in enumerate(names):
        axes = figure.add_subplot(depth, columns, index + 1)
        for label, key in (("training", name), ("held out", f"held_out_{name}")):
            if key in common:
                axes.plot(epochs, [entry[key] for entry in metrics], marker=".", label=label)
        title(axes, "PSNR (dB)" if name == "psnr" else name.replace("_", " "))
        axes.set_xlabel("epoch")
        whole_numbers(axes.xaxis)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


@unwarned()  # axes of numbers near the largest that a float holds
def run_curves(runs, names):
    """Metrics of several runs over their epochs. `runs` is {label: metrics}; each of the `names` has a panel."""
    columns = min(2, len(names))
    depth = -(-len(names) // columns)
    figure = new_figure(figsize=(5 * columns, 3 * depth), layout="constrained")
    for index, name in enumerate(names):
        axes = figure.add_subplot(depth, columns, index + 1)
        curves = [axes.plot([entry["epoch"] for entry in metrics], [entry[name] for entry in metrics], marker=".")[0]
                  for metrics in runs.values()]
        if "codes_used" in name or "perplexity" in name:  # from a collapsed codebook to a whole one
            axes.set_yscale("log")
        title(axes, name.replace("_", " "))
        axes.set_xlabel("epoch")
        whole_numbers(axes.xaxis)
        axes.grid(alpha=0.3)
    legend(figure, curves, runs, inches=1.5 * columns, loc="outside right upper")
    return figure


def codebook_use(counts_by_level):
    """The share of positions at which each code is used, the most frequent first: a curve for each {level: counts}."""
    figure = new_figure(figsize=(6, 3), layout="constrained")
    axes = figure.add_subplot()
    titles = []
    for level, counts in counts_by_level.items():
        level = level.replace("_", " ")
        used = int((counts > 0).sum())
        share = np.sort(counts)[::-1] / counts.sum()
        axes.step(np.arange(1, used + 1), share[:used], where="mid", marker="." if used < 2 else None, label=level)
        titles.append(f"{used} of {len(counts)} {level}".strip())
    if len(titles) > 1:
        axes.legend(fontsize=8)
    whole_numbers(axes.xaxis)
    axes.set_yscale("log")
    axes.set_xlabel("code, by frequency")
    axes.set_ylabel("share of all positions")
    title(axes, f"{' and '.join(titles)} codes used on the held-out images")
    return figure


def kl_per_dimension(kl):
    """The KL of each latent dimension, averaged over images, in falling order."""
    figure = new_figure(figsize=(6, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(np.arange(1, len(kl) + 1), np.sort(kl)[::-1], width=1.0 if len(kl) > 64 else 0.8)
    whole_numbers(axes.xaxis)
    axes.set_xlabel("latent dimension, by its KL")
    axes.set_ylabel("KL to the prior (nats)")
    title(axes, f"rate: {np.sum(kl):.4g} nats, over {len(kl)} dimensions, on the held-out images")
    return figure


def explained_variance(shares, points, data_name):
    """The shares of variance that PCA's first 1, 2, … components explain as a curve, and runs as points beside it.

    points is {label: [(numbers in the code, share), …]}; a line joins the points of a label.
    """
    figure = new_figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    curves = axes.plot(np.arange(1, len(shares) + 1), shares, color="0.5")
    for runs in points.values():
        curves += axes.plot(*zip(*sorted(runs), strict=True), "o:", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("numbers in the code")
    axes.set_ylabel("share of variance explained")
    title(axes, f"held-out images of {data_name}")
    axes.grid(alpha=0.3)
    legend(axes, curves, ["PCA", *points], inches=3)
    return figure


def score_histograms(pairs, areas, inside_label, outside_label):
    """Histograms of the scores of images from inside and from outside, a panel for each score.

    pairs is {score: (inside (m,), outside (n,))}, areas {score: AUROC}. Bars are shares of each set; the outermost bars
    count all scores beyond the 0.5th and the 99.5th percentile of both sets.
    """
    columns = min(2, len(pairs))
    depth = -(-len(pairs) // columns)
    figure = new_figure(figsize=(4.5 * columns, 2.6 * depth + 0.4), layout="constrained")
    for index, (name, sets) in enumerate(pairs.items()):
        axes = figure.add_subplot(depth, columns, index + 1)
        low, high = np.percentile(np.concatenate(sets), [0.5, 99.5])
        if np.float32(low) == np.float32(high):  # all scores are the same: one bar in the middle
            margin = max(1.0, abs(low)) / 2
            low, high = low - margin, high + margin
        bars = []
        for scores in sets:
            shares = np.full(len(scores), 1 / len(scores))
            edges = np.linspace(low, high, 61)
            bars.append(axes.hist(scores.clip(low, high), bins=edges, weights=shares, alpha=0.55)[2])
        title(axes, f"{name.replace('_', ' ').replace('elbo', 'ELBO')}: AUROC {areas[name]:.3f}")
        axes.set_ylabel("share of the set")
        axes.grid(alpha=0.3)
    labels = inside_label, outside_label
    legend(figure, bars, labels, inches=1.6 * columns, size=9, loc="outside lower center", ncols=2)
    return figure


def neighbours(queries, found, heading):
    """Each of the queries (Q, H, W, C) beside its neighbours, in a row for each {label: (Q, k, H, W, C)}."""
    rows, blank = [], np.ones_like(queries[:1])
    for number, query in enumerate(queries):
        for index, (label, images) in enumerate(found.items()):
            first = query[None] if index == 0 else blank
            rows.append((label, np.concatenate([first, blank, images[number]])))
    return image_rows(rows, heading)
