"""What the shapes look like, in words: captions from the factors, and the words from a caption.

Six kinds of words describe an image. Each word stands for a range of a factor:

    kind      factor      words, in the order of the factor
    size      size        small, medium, large: thirds of [1/6, 1/3)
    colour    colour      red, yellow, green, cyan, blue, pink: sixths of the colour circle, centred on 0, 1/6, ..., 5/6
    shape     shape       pill, square, triangle, plus
    row       y           top, middle, bottom: thirds of [1/3, 2/3)
    column    x           left, centre, right: thirds of [1/3, 2/3)
    ground    background  the colours' words again

The grammar has several wordings, and a caption may leave out some kinds:

    caption  = thing | thing ", " rest | rest ", " thing        rest: place and ground, in either order
    thing    = "a " [size " "] [colour " "] (shape | "shape")
    place    = "at the top left" | "in the top left corner" | "at the top" | "on the left" | "in the middle" | ...
    ground   = "on dark blue" | "on a dark blue ground" | "before a blue background"

So one image has many captions, and one caption fits many images.
"""

import re

import numpy as np

from data_utils.errors import DataError, integer, printable
from data_utils.shapes import RANGES, SHAPES

HUES = ("red", "yellow", "green", "cyan", "blue", "pink")
KINDS = {  # kind -> (the factor, its words)
    "size": ("size", ("small", "medium", "large")),
    "colour": ("colour", HUES),
    "shape": ("shape", SHAPES),
    "row": ("y", ("top", "middle", "bottom")),
    "column": ("x", ("left", "centre", "right")),
    "ground": ("background", HUES),
}
LEFT_OUT = 0.2  # the probability that a caption says nothing of a kind
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def word_indices(factors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Which word of each kind is true of each image: kind -> (N,) integers, indices into the words of ``KINDS``.

    Values at or beyond the ends of a range get the nearest word; a hue counts modulo 1.

    Raises DataError if a factor is missing.
    """
    if missing := [factor for factor, _ in KINDS.values() if factor not in factors]:
        raise DataError(f"the factor {missing[0]!r} is missing: expected the factors of shapes, {', '.join(RANGES)}")
    found = {}
    for kind, (factor, words) in KINDS.items():
        value, count = np.asarray(factors[factor]), len(words)
        if factor == "shape":
            found[kind] = value.astype(np.int64)
        elif words is HUES:
            found[kind] = np.floor(value * count + 0.5).astype(np.int64) % count
        else:
            low, high = RANGES[factor]
            found[kind] = np.clip((count * (value - low) / (high - low)).astype(np.int64), 0, count - 1)
    return found


def captions(factors: dict[str, np.ndarray], seed: int = 0, *, complete: bool = False) -> list[str]:
    """A caption for each image, its wording and what it leaves out drawn at random.

    complete   True: nothing is left out, and every caption has words of all six kinds

    Image i's caption follows from its factors, the seed and i alone. Raises DataError as ``word_indices`` does, and
    unless the seed is an integer ≥ 0.
    """
    indices, seed = word_indices(factors), integer(seed, "the seed", 0)
    count = len(indices["shape"])
    written = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        said = {kind: words[indices[kind][number]] for kind, (_, words) in KINDS.items()}
        if not complete:
            kept = rng.random(len(KINDS)) >= LEFT_OUT
            kept[rng.integers(len(KINDS))] = True  # a caption says something
            said = {kind: word for (kind, word), keep in zip(said.items(), kept, strict=True) if keep}
        written.append(_sentence(said, rng))
    return written


def _sentence(said: dict[str, str], rng: np.random.Generator) -> str:
    """The caption that says these words."""
    thing = " ".join(["a", *(said[kind] for kind in ("size", "colour") if kind in said), said.get("shape", "shape")])
    place, ground = _place(said.get("row"), said.get("column"), rng), _ground(said.get("ground"), rng)
    rest = [part for part in (place, ground) if part]
    if len(rest) == 2 and rng.random() < 0.5:
        rest.reverse()
    if not rest:
        return thing
    if rng.random() < 0.3:
        return f"{' '.join(rest)}, {thing}"
    return f"{thing} {' '.join(rest)}"


def _place(row: str | None, column: str | None, rng: np.random.Generator) -> str:
    """Words for a place, such as "at the top left"; "" for none."""
    corner = row in ("top", "bottom") and column in ("left", "right")
    if row and column:
        if corner and rng.random() < 0.5:
            return f"in the {row} {column} corner"
        return f"{'in' if row == 'middle' else 'at'} the {row} {column}"
    if row:
        return f"in the {row}" if row == "middle" else f"at the {row}"
    if column:
        return "in the centre" if column == "centre" else f"on the {column}"
    return ""


def _ground(ground: str | None, rng: np.random.Generator) -> str:
    """Words for the ground, such as "on dark blue"; "" for none."""
    if not ground:
        return ""
    return (f"on dark {ground}", f"on a dark {ground} ground", f"before a {ground} background")[rng.integers(3)]


GROUND = re.compile(rf"(?:on dark|on a dark|before a) ({'|'.join(HUES)})\b")


def meaning(caption: str) -> dict[str, str]:
    """The words that a caption of the shapes says, by kind; a kind that it leaves out is missing.

    A hue is the ground's where it stands after "on dark", "on a dark" or "before a", and the shape's elsewhere.

    Raises DataError for two different words of one kind, such as "a red blue square".
    """
    found: dict[str, str] = {}

    def say(kind: str, word: str) -> None:
        if found.setdefault(kind, word) != word:
            raise DataError(f"the caption {printable(caption)!r} says {found[kind]} and {word}: expected one {kind}")

    text = caption.casefold()
    for ground in GROUND.findall(text):
        say("ground", ground)
    for word in re.findall(r"\w+", GROUND.sub(" ", text)):
        for kind, (_, words) in KINDS.items():
            if kind != "ground" and word in words:
                say(kind, word)
    return found


def label_captions(data: str, labels: np.ndarray, names: tuple[str, ...] = ()) -> list[str]:
    """Captions from labels: "a handwritten seven" of mnist, "a photo of a ship" of another set with these names.

    Raises DataError for a label without a name.
    """
    if data == "mnist":
        names, sentence = DIGITS, "a handwritten {}"
    else:
        sentence = "a photo of {} {}"
    written = []
    for label in labels:
        if not 0 <= label < len(names):
            raise DataError(f"the label {label} of {printable(data)} has no name: expected 0 to {len(names) - 1}")
        name = names[int(label)].lower()
        article = "an" if name[0] in "aeiou" else "a"
        written.append(sentence.format(name) if data == "mnist" else sentence.format(article, name))
    return written
