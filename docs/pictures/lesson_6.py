"""The picture of lesson 6: the codebook after the page's own simulation, without and with cures."""

import contextlib
import functools
import io

from docs import pages
from docs.pictures.style import picture

SHOWN = ("gradient alone", "moving averages", "k-means", "restarts", "entropy, τ = 0.3", "cosine")


@functools.cache
def simulations():
    """{name of a cure: (codes, how often each was chosen)} and the last latents, from the code of the page."""
    page = {"__name__": "page"}
    for kind, block in pages.blocks((pages.DOCS / "lessons" / "6_codebooks.md").read_text(encoding="utf-8")):
        if kind == "code" and "simulate" not in page:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(pages.inside(block), "<code of the page>", "exec"), page)
    found = {}
    for name in SHOWN:
        quantizer, counts, _ = page["simulate"](**page["CURES"][name])
        found[name] = quantizer.code_vectors(), counts
    return found, page["latents"](page["STEPS"] - 1)


@picture(7.6, 5.4)
def cures(figure, colours):
    """One panel a cure: latents, codes in use, dead codes."""
    found, z = simulations()
    panels = figure.subplots(2, 3).flat
    for axes, (name, (codes, counts)) in zip(panels, found.items(), strict=True):
        used = counts > 0
        axes.plot(*z[::2].T, ".", color=colours.ink, alpha=0.45, markersize=4, markeredgewidth=0)
        axes.plot(*codes[~used].T, "x", color=colours.two, markersize=7)
        axes.plot(*codes[used].T, "o", color=colours.one, markersize=5)
        axes.set(xlim=(-4.1, 4.1), ylim=(-4.1, 4.1), aspect="equal", xticks=[], yticks=[],
                 title=f"{name}: {used.sum()} of {len(used)}")
        axes.spines[["top", "right"]].set_visible(True)
        for spine in axes.spines.values():
            spine.set_color(colours.faint)
    panels[0].text(0.55, 0.25, "dead", color=colours.two)
    panels[0].text(-2.7, 0.12, "in use", color=colours.one, va="center")
