"""Coloured shapes on a plain ground: a data set that is drawn when it is asked for, with every factor known.

An image follows from seven numbers, drawn independently and uniformly:

    factor      range        meaning
    shape       0, 1, 2, 3   pill, square, triangle, plus (the order of ``SHAPES``)
    colour      [0, 1)       hue of the shape on the colour circle: 0 red, 1/3 green, 2/3 blue
    size        [1/6, 1/3)   R, from the centre to the farthest point, as a fraction of the image side
    rotation    [0, 2π)      θ in radians, clockwise; the shape looks the same again after 2π / symmetry,
                             where the symmetry is 2, 4, 3, 4 for the four shapes (``SYMMETRY``)
    x           [1/3, 2/3)   centre, from the left edge, as a fraction of the image side
    y           [1/3, 2/3)   centre, from the top edge, as a fraction of the image side
    background  [0, 1)       hue of the ground, which is dark where the shape is bright

The size is at most 1/3 and the centre at least 1/3 from every edge. So the whole shape is always in view.

One image is drawn in four steps, here for the pixel with its centre at (column + 1/2, row + 1/2); lengths in pixels:

    1. In coordinates that have their origin at the shape's centre and turn with it, the pixel lies at (u, v):
           u =  cos θ · dx + sin θ · dy        dx = column + 1/2 - x · S
           v = -sin θ · dx + cos θ · dy        dy = row    + 1/2 - y · S        S: the image side
    2. d(u, v) is its signed distance from the shape's outline, negative inside (``_distance``).
    3. The shape covers nearly this share of the pixel:
           a = clip(1/2 - d, 0, 1)
       a is 1 inside, 0 outside, and between them on the outline. So the edge is smooth.
    4. pixel = background + a · (colour - background), for red, green and blue; times 255, rounded.
"""

from collections.abc import Sequence

import numpy as np

from data_utils.errors import LARGEST_COUNT, DataError, check_memory, integer, shown

SHAPES = ("pill", "square", "triangle", "plus")
SYMMETRY = (2, 4, 3, 4)  # how many rotations within a full turn give the same picture

RANGES = {  # factor -> [from, to)
    "shape": (0, len(SHAPES)),
    "colour": (0, 1),
    "size": (1 / 6, 1 / 3),
    "rotation": (0, 2 * np.pi),
    "x": (1 / 3, 2 / 3),
    "y": (1 / 3, 2 / 3),
    "background": (0, 1),
}

LARGEST_SIDE = 4096  # pixels; a single image of this side takes 50 MB
# Bounds the memory. An array of float64 then takes 64 kB. Larger ones glibc may fetch from the system anew each time.
_PIXELS_AT_ONCE = 2**13


def shapes(
    count: int, size: int = 32, seed: int = 0, stream: int = 0, kinds: Sequence[int] = range(len(SHAPES))
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw ``count`` random images: returns (images (N, size, size, 3) uint8, factors name -> (N,)).

    The same (seed, stream) gives the same images on any machine, and a larger ``count`` only adds images at the end.
    Streams of one seed are independent: 0 is for training, 1 is held out.

    kinds   the values that the factor shape may have, all four unless given. They change no other factor: for two
            choices of kinds, image i differs in its shape alone.

    Raises DataError unless count, seed and stream are integers ≥ 0, size is one from 4 to 4096 and the kinds are some
    from 0 to 3.
    """
    count, size = integer(count, "a number of shapes of", 0, LARGEST_COUNT), _checked_side(size)
    check_memory(count, size, size, 3)
    factors = random_factors(count, seed, stream, kinds)
    return draw(factors, size), factors


def random_factors(
    count: int, seed: int = 0, stream: int = 0, kinds: Sequence[int] = range(len(SHAPES))
) -> dict[str, np.ndarray]:
    """The factors of ``shapes`` without the images: name -> (N,)."""
    seed, stream = integer(seed, "the seed", 0), integer(stream, "the stream", 0)
    kinds = [integer(kind, "a kind of shape of", 0, len(SHAPES) - 1) for kind in kinds]
    if not kinds:
        raise DataError("no kind of shape was given: expected at least one number from 0 to 3")
    factors = {}
    for number, (name, (low, high)) in enumerate(RANGES.items()):
        # Every factor has a random stream of its own: so they are independent, and image i does not depend on count.
        uniform = np.random.default_rng([seed, stream, number]).random(count)
        if name == "shape":
            factors[name] = np.asarray(kinds, np.int64)[(len(kinds) * uniform).astype(np.int64)]
        else:
            factors[name] = low + (high - low) * uniform
    return factors


def draw(factors: dict[str, np.ndarray], size: int = 32) -> np.ndarray:
    """Draw the images that the factors describe: returns (N, size, size, 3) uint8.

    Each factor is an array of length N, or one number for all images. So one factor can run through its range while
    the others stay fixed:

        draw({**still, "rotation": np.linspace(0, np.pi, 8)})

    Values outside the ranges of the module's table are drawn, too. A shape may then leave the image.

    Raises DataError if a factor is missing or unknown, their lengths differ, a value is not finite, a shape is not
    0, 1, 2 or 3, or size is not an integer from 4 to 4096.
    """
    size = _checked_side(size)
    if factors.keys() != RANGES.keys():
        given = ", ".join(map(str, factors))
        raise DataError(f"the factors {given} were given: expected exactly {', '.join(RANGES)}")
    columns = [np.atleast_1d(factors[name]) for name in RANGES]
    for name, column in zip(RANGES, columns, strict=True):
        if column.ndim > 1 or column.dtype.kind not in "iuf" or not np.isfinite(column).all():
            raise DataError(f"the factor {name!r} was given as {shown(factors[name])}: expected finite numbers (N,)")
    if len({len(column) for column in columns} - {1}) > 1:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in zip(RANGES, columns, strict=True))
        raise DataError(f"factors of different lengths were given ({lengths}): expected one length, or 1")
    values = dict(zip(RANGES, np.broadcast_arrays(*columns), strict=True))
    if not np.isin(values["shape"], range(len(SHAPES))).all():
        raise DataError(f"a factor 'shape' must be an integer from 0 to {len(SHAPES) - 1}: {', '.join(SHAPES)}")

    count = len(values["shape"])
    check_memory(count, size, size, 3)
    images = np.empty((count, size, size, 3), np.uint8)
    step = max(1, _PIXELS_AT_ONCE // size**2)
    for kind in range(len(SHAPES)):
        members = np.flatnonzero(values["shape"] == kind)
        for start in range(0, len(members), step):
            part = members[start : start + step]
            images[part] = _draw_one_kind(kind, {name: value[part] for name, value in values.items()}, size)
    return images


def _checked_side(size: int) -> int:
    return integer(size, "for shapes, an image size in pixels of", 4, LARGEST_SIDE)


def _draw_one_kind(kind: int, factors: dict[str, np.ndarray], size: int) -> np.ndarray:
    """Steps 1 to 4 of the module docstring for n images of the same shape: (n, size, size, 3) uint8.

    It computes in float64. Cosines may differ in the last bit from machine to machine; the rounded bytes still agree.
    """
    x, y, radius, angle = (factors[name][:, None, None] for name in ("x", "y", "size", "rotation"))  # (n, 1, 1)
    centres = np.arange(size) + 0.5
    dx = centres[None, None, :] - x * size  # (n, 1, size)
    dy = centres[None, :, None] - y * size  # (n, size, 1)
    u = np.cos(angle) * dx + np.sin(angle) * dy  # (n, size, size)
    v = np.cos(angle) * dy - np.sin(angle) * dx

    coverage = np.clip(0.5 - _distance(kind, u, v, radius * size), 0, 1)

    colour = _rgb(factors["colour"], saturation=0.7, value=1.0)[:, None, None, :]  # (n, 1, 1, 3)
    ground = _rgb(factors["background"], saturation=0.5, value=0.25)[:, None, None, :]
    pixels = np.empty((*coverage.shape, 3), np.uint8)
    for channel in range(3):  # one after the other: NumPy is slow along an axis of 3
        from_ground = (colour - ground)[..., channel]
        pixels[..., channel] = np.rint(255 * (ground[..., channel] + coverage * from_ground))
    return pixels


def _distance(kind: int, u: np.ndarray, v: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Signed distance in pixels of (u, v) from the outline of a shape whose farthest point is at ``radius``.

    For straight sides it is max(distances from the sides). This is exact except beyond a corner, where the true
    distance is larger; so the corner stays sharp.
    """
    if kind == 0:  # pill: all points within radius/2 of a line as long as radius
        return np.hypot(np.maximum(np.abs(u) - radius / 2, 0), v) - radius / 2
    if kind == 1:  # square: half its diagonal is the radius
        return np.maximum(np.abs(u), np.abs(v)) - radius / np.sqrt(2)
    if kind == 2:  # triangle with equal sides, one corner up: its sides pass the centre at radius/2
        return np.maximum(v, np.sqrt(3) / 2 * np.abs(u) - v / 2) - radius / 2
    # plus: two crossed bars three times as long as wide, their corners at (long, long/3)
    long = radius * 3 / np.sqrt(10)
    across = np.maximum(np.abs(u) - long, np.abs(v) - long / 3)
    upright = np.maximum(np.abs(u) - long / 3, np.abs(v) - long)
    return np.minimum(across, upright)


def _rgb(hue: np.ndarray, saturation: float, value: float) -> np.ndarray:
    """Red, green and blue in [0, 1] of hues (n,), shape (n, 3).

    With n = 5, 3, 1 for red, green, blue and k = (n + 6 · hue) mod 6, a channel is
    value · (1 - saturation · clip(min(k, 4 - k), 0, 1)).
    """
    k = (np.array([5, 3, 1]) + 6 * hue[:, None]) % 6
    return value * (1 - saturation * np.clip(np.minimum(k, 4 - k), 0, 1))
