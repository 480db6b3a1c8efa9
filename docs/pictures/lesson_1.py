"""The pictures of lesson 1: a graph of numbers with its gradients, and the products of a linear layer as shapes."""

import math

from matplotlib.patches import Circle, Rectangle

from docs.pictures.style import picture

RADIUS = 0.3


def edge(axes, start, end, colours, value, gradient, share=0.5, apart=0.16):
    """An arrow from circle to circle. `value` goes forward along it, `gradient` comes back.

    Both are written at `share` of its length, one above and one below, `apart` from the line.
    """
    (x0, y0), (x1, y1) = start, end
    length = math.hypot(x1 - x0, y1 - y0)
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    gap = RADIUS + 0.05
    axes.annotate("", (x1 - gap * dx, y1 - gap * dy), (x0 + gap * dx, y0 + gap * dy), arrowprops={
        "arrowstyle": "-|>", "color": colours.ink, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0})
    x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
    turn = math.degrees(math.atan2(dy, dx))
    for text, side, colour in ((value, 1, colours.ink), (gradient, -1, colours.two)):
        axes.text(x - side * apart * dy, y + side * apart * dx, text, ha="center", va="center", color=colour,
                  rotation=turn, rotation_mode="anchor")


@picture(7.6, 3.3)
def number_graph(figure, colours):
    """y₁ = w x, y₂ = y₁ + x, L = y₂² at x = 2, w = 3."""
    axes = figure.subplots()
    axes.set(xlim=(-0.75, 7.1), ylim=(-0.75, 2.55), aspect="equal")
    axes.axis("off")
    w, x, product, total, square, end = (0, 1.9), (0, 0), (2.1, 1.25), (4.0, 0.65), (5.55, 0.65), (7.25, 0.65)
    for text, place in (("$w$", w), ("$x$", x), ("$\\times$", product), ("$+$", total), ("$y_2^2$", square)):
        colour = colours.one if place in (w, x) else colours.ink
        axes.add_patch(Circle(place, RADIUS, facecolor="none", edgecolor=colour, linewidth=1.5))
        axes.text(*place, text, ha="center", va="center", color=colour, fontsize=14)
    edge(axes, w, product, colours, "3", "2 · 16 = 32")
    edge(axes, x, product, colours, "2", "3 · 16 = 48")
    edge(axes, x, total, colours, "2", "16", 0.6)
    edge(axes, product, total, colours, "$y_1 = 6$", "16")
    edge(axes, total, square, colours, "$y_2 = 8$", "2 · 8 · 1", apart=0.2)
    edge(axes, square, end, colours, "$L = 64$", "1", apart=0.2)
    axes.text(0, -0.45, "48 + 16 = 64", ha="center", va="top", color=colours.two)
    axes.text(0, 2.3, "32", ha="center", va="bottom", color=colours.two)


@picture(7.6, 2.1)
def layer_shapes(figure, colours):
    """y = x W, dx = dy Wᵀ and dW = xᵀ dy as rectangles of N, C and O."""
    N, C, O = 1.5, 0.8, 0.5
    products = (
        ("forward", (("$y$", N, O, "$N$", "$O$"), ("$x$", N, C, "$N$", "$C$"), ("$W$", C, O, "$C$", "$O$"))),
        ("sum over the outputs", (("$dx$", N, C, "$N$", "$C$"), ("$dy$", N, O, "$N$", "$O$"),
                                  ("$W^\\mathsf{T}$", O, C, "$O$", "$C$"))),
        ("sum over the images", (("$dW$", C, O, "$C$", "$O$"), ("$x^\\mathsf{T}$", C, N, "$C$", "$N$"),
                                 ("$dy$", N, O, "$N$", "$O$"))),
    )
    for axes, (title, factors) in zip(figure.subplots(1, 3, width_ratios=(3.6, 3.8, 4.1)), products, strict=True):
        axes.axis("off")
        axes.set_title(title)
        at = 0.0
        for number, (name, height, width, rows, columns) in enumerate(factors):
            if number == 1:
                axes.text(at - 0.36, 0, "=", ha="center", va="center")
            gradient = name.startswith("$d")
            axes.add_patch(Rectangle((at, -height / 2), width, height, facecolor="none", linewidth=1.5,
                                     edgecolor=colours.two if gradient else colours.one))
            axes.text(at + width / 2, 0, name, ha="center", va="center", fontsize=12,
                      color=colours.two if gradient else colours.one)
            axes.text(at + width / 2, height / 2 + 0.05, columns, ha="center", va="bottom", fontsize=9)
            axes.text(at - 0.05, 0, rows, ha="right", va="center", fontsize=9)
            at += width + (0.68 if number == 0 else 0.36)
        axes.set(xlim=(-0.3, at - 0.2), ylim=(-0.85, 1.05), aspect="equal")
