"""The pictures of lesson 2: patches as rows of a matrix, a convolution's matrix, and kernels that are added up."""

import numpy as np
from matplotlib.patches import Rectangle

from docs.pictures.style import picture

IMAGE = np.array([[1, 0, 2], [3, 1, 0], [0, 2, 1]])
KERNEL = np.array([[1, 2], [3, 4]])
GRADIENT = np.array([[1, 2], [0, -1]])
CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def text_of(number):
    return f"{number}".replace("-", "−")


def cells(axes, left, top, numbers, colours, marked=(), tint=None, size=0.6, shown=None,
          fontsize=11):
    """A grid of numbers with its upper left corner at (left, top); the cells in `marked` are tinted."""
    for (row, col), number in np.ndenumerate(numbers):
        corner = (left + col * size, top - (row + 1) * size)
        if (row, col) in marked:
            axes.add_patch(Rectangle(corner, size, size, facecolor=tint, edgecolor="none", alpha=0.3))
        axes.add_patch(Rectangle(corner, size, size, facecolor="none", edgecolor=colours.faint, linewidth=1))
        if shown is None or shown[row, col]:
            axes.text(corner[0] + size / 2, corner[1] + size / 2, text_of(number), ha="center", va="center",
                      fontsize=fontsize)


def frame(axes, left, top, rows, columns, colour, size=0.6, inset=0.0):
    """A coloured frame around a block of cells."""
    axes.add_patch(Rectangle((left + inset, top - rows * size + inset), columns * size - 2 * inset,
                             rows * size - 2 * inset, facecolor="none", edgecolor=colour, linewidth=2))


def colours_of_patches(colours):
    return (colours.one, colours.two, colours.three, colours.four)


@picture(7.6, 2.8)
def im2col(figure, colours):
    """The four 2 × 2 patches of a 3 × 3 image as the rows of P, and P w = y."""
    axes = figure.subplots()
    axes.axis("off")
    axes.set(xlim=(-0.3, 12.0), ylim=(-1.05, 3.75), aspect="equal")
    size = 0.6
    four = colours_of_patches(colours)
    cells(axes, 0, 2.1, IMAGE, colours, {(1, 1)}, colours.ink, size)
    for number, ((row, col), colour) in enumerate(zip(CORNERS, four, strict=True)):
        frame(axes, col * size, 2.1 - row * size, 2, 2, colour, size, 0.03 + 0.035 * number)
    axes.text(0.9, 2.45, "image $x$", ha="center", va="bottom")
    P = np.array([IMAGE[row : row + 2, col : col + 2].ravel() for row, col in CORNERS])
    centre = {(number, 3 - number) for number in range(4)}
    cells(axes, 4.2, 2.4, P, colours, centre, colours.ink, size)
    for number, ((row, col), colour) in enumerate(zip(CORNERS, four, strict=True)):
        y = 2.4 - (number + 0.5) * size
        frame(axes, 4.2, 2.4 - number * size, 1, 4, colour, size, 0.04)
        axes.text(4.05, y, f"patch ({row}, {col})", ha="right", va="center", color=colour, fontsize=10)
    axes.text(5.4, 2.75, "patches $P$", ha="center", va="bottom")
    axes.text(7.05, 1.2, "·", ha="center", va="center", fontsize=18)
    cells(axes, 7.5, 2.4, KERNEL.reshape(4, 1), colours, size=size)
    axes.text(7.8, 2.75, "kernel $w$", ha="center", va="bottom")
    axes.text(8.62, 1.2, "=", ha="center", va="center", fontsize=14)
    y = (P @ KERNEL.ravel())[:, None]
    cells(axes, 9.2, 2.4, y, colours, size=size)
    axes.text(9.5, 2.75, "$y$", ha="center", va="bottom")
    axes.text(10.3, 1.2, "=", ha="center", va="center", fontsize=14)
    cells(axes, 10.75, 1.8, y.reshape(2, 2), colours, size=size)
    for number, colour in enumerate(four):
        frame(axes, 9.2, 2.4 - number * size, 1, 1, colour, size, 0.04)
        row, col = CORNERS[number]
        frame(axes, 10.75 + col * size, 1.8 - row * size, 1, 1, colour, size, 0.04)
    axes.text(5.4, -0.35, "the middle pixel is copied to all four rows: backward adds its four gradients",
              ha="center", va="top", fontsize=10)


@picture(7.6, 2.4)
def matrix_of_convolution(figure, colours):
    """The 4 × 9 matrix A of the convolution; each row is the kernel at another place."""
    axes = figure.subplots()
    axes.axis("off")
    axes.set(xlim=(-1.3, 9.9), ylim=(-0.2, 3.1), aspect="equal")
    size, four = 0.6, colours_of_patches(colours)
    A = np.zeros((4, 9), int)
    for number, (row, col) in enumerate(CORNERS):
        for u, v in np.ndindex(2, 2):
            A[number, 3 * (row + u) + col + v] = KERNEL[u, v]
    for number, colour in enumerate(four):
        marked = {(number, int(k)) for k in np.flatnonzero(A[number])}
        cells(axes, 0, 2.4 - number * size, A[number : number + 1], colours,
              {(0, k) for _, k in marked}, colour, size)
    for row in range(3):
        axes.text((3 * row + 1.5) * size, 2.5, f"pixels of row {row}", ha="center", va="bottom", fontsize=9)
        frame(axes, 3 * row * size, 2.4, 4, 3, colours.ink, size)
    axes.text(-0.25, 1.2, "$A$ =", ha="right", va="center", fontsize=13)
    for y, text in ((1.75, "each row: the kernel\nat another place"),
                    (0.65, "each column: the weights\nthat meet one pixel")):
        axes.text(6.0, y, text, ha="left", va="center", fontsize=10, linespacing=1.4)


@picture(7.6, 1.9)
def stamps(figure, colours):
    """A transposed convolution: each number of the small grid times the kernel, added up in the large one."""
    axes = figure.subplots()
    axes.axis("off")
    size, four = 0.55, colours_of_patches(colours)
    axes.set(xlim=(-0.3, 14.4), ylim=(-0.55, 2.65), aspect="equal")
    cells(axes, 0, 1.4, GRADIENT, colours, size=size, fontsize=10)
    for (row, col), colour in zip(CORNERS, four, strict=True):
        frame(axes, col * size, 1.4 - row * size, 1, 1, colour, size, 0.02)
    axes.text(size, 2.05, "small", ha="center", va="bottom")
    left, total = 2.05, np.zeros((3, 3), int)
    for number, ((row, col), colour) in enumerate(zip(CORNERS, four, strict=True)):
        axes.text(left - 0.4, 0.85, "→" if number == 0 else "+", ha="center", va="center", fontsize=13)
        stamp, covered = np.zeros((3, 3), int), np.zeros((3, 3), bool)
        stamp[row : row + 2, col : col + 2] = GRADIENT[row, col] * KERNEL
        covered[row : row + 2, col : col + 2] = True
        total += stamp
        cells(axes, left, 0.85 + 1.5 * size, stamp, colours, set(map(tuple, np.argwhere(covered).tolist())), colour,
              size, covered, 10)
        axes.text(left + 1.5 * size, 2.05, f"{text_of(GRADIENT[row, col])} · kernel", ha="center", va="bottom",
                  color=colour, fontsize=10)
        left += 3 * size + 0.8
    axes.text(left - 0.4, 0.85, "=", ha="center", va="center", fontsize=13)
    cells(axes, left, 0.85 + 1.5 * size, total, colours, size=size, fontsize=10)
    axes.text(left + 1.5 * size, 2.05, "large", ha="center", va="bottom")
