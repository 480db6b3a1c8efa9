"""Captions: what the shapes look like in words, the words of a caption, and the captions of other sets.

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

from data_utils.core import Data
from data_utils.errors import DataError, advice, integer, nearest, shown
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


def captions(
    factors: dict[str, np.ndarray], seed: int = 0, *, stream: int = 0, complete: bool = False
) -> list[str]:
    """A caption for each image, its wording and what it leaves out drawn at random.

    stream     streams of one seed are independent, as in ``shapes``: 0 is for training, 1 is held out
    complete   True: nothing is left out, and every caption has words of all six kinds

    Image i's caption follows from its factors, the seed, the stream and i alone. Raises DataError as ``word_indices``
    does, and unless seed and stream are integers ≥ 0.
    """
    indices, seed, stream = word_indices(factors), integer(seed, "the seed", 0), integer(stream, "the stream", 0)
    count = len(indices["shape"])
    rng = np.random.default_rng([seed, stream, len(RANGES)])  # the next after the random streams of the factors
    draws = rng.random((count, len(KINDS) + 5))  # a row an image: more images only add rows
    kept = draws[:, : len(KINDS)] >= (0 if complete else LEFT_OUT)
    always, *wording = draws[:, len(KINDS) :].T
    kept[np.arange(count), (len(KINDS) * always).astype(np.int64)] = True  # a caption says something
    said = []  # for each kind, the word that each caption says; "" where it says none
    for (kind, (_, words)), keep in zip(KINDS.items(), kept.T, strict=True):
        known = ("", *words)
        said.append([known[number] for number in np.where(keep, indices[kind] + 1, 0).tolist()])
    return list(map(_sentence, *said, *(column.tolist() for column in wording)))


def _sentence(
    size: str, colour: str, shape: str, row: str, column: str, ground: str,
    corner: float, wording: float, order: float, front: float,
) -> str:
    """The caption that says these words, "" for none. The last four are in [0, 1) and choose between wordings."""
    thing = " ".join(["a", *filter(None, (size, colour)), shape or "shape"])
    rest = list(filter(None, (_place(row, column, corner < 0.5), _ground(ground, int(3 * wording)))))
    if order < 0.5:
        rest.reverse()
    if not rest:
        return thing
    if front < 0.3:
        return f"{' '.join(rest)}, {thing}"
    return f"{thing} {' '.join(rest)}"


def _place(row: str, column: str, as_corner: bool) -> str:
    """Words for a place, such as "at the top left"; "" for none."""
    if row and column:
        if as_corner and row != "middle" and column != "centre":
            return f"in the {row} {column} corner"
        return f"{'in' if row == 'middle' else 'at'} the {row} {column}"
    if row:
        return f"in the {row}" if row == "middle" else f"at the {row}"
    if column:
        return "in the centre" if column == "centre" else f"on the {column}"
    return ""


def _ground(ground: str, wording: int) -> str:
    """Words for the ground, such as "on dark blue"; "" for none."""
    if not ground:
        return ""
    return (f"on dark {ground}", f"on a dark {ground} ground", f"before a {ground} background")[wording]


GROUND = re.compile(rf"(?:on dark|on a dark|before a) ({'|'.join(HUES)})\b(?: ground\b| background\b)?")
FILLERS = re.compile(r"\b(?:a|(?:at|in|on) the|shape|corner)\b")  # what else a caption says


def meaning(caption: str) -> dict[str, str]:
    """The words that a caption of the shapes says, by kind; a kind that it leaves out is missing.

    A hue is the ground's where it stands after "on dark", "on a dark" or "before a", and the shape's elsewhere.

    Raises DataError for two different words of one kind, such as "a red blue square".
    """
    found: dict[str, str] = {}

    def say(kind: str, word: str) -> None:
        if found.setdefault(kind, word) != word:
            raise DataError(f"{shown(caption)} says {found[kind]} and {word}: expected one {kind}")

    text = caption.casefold()
    for ground in GROUND.findall(text):
        say("ground", ground)
    for word in re.findall(r"\w+", GROUND.sub(" ", text)):
        for kind, (_, words) in KINDS.items():
            if kind != "ground" and word in words:
                say(kind, word)
    return found


def composed(factors: dict[str, np.ndarray], without: str) -> np.ndarray:
    """(N,) bool: True where an image shows all words of at least one composition.

    without   compositions such as "red triangle" or "red triangle, small plus on dark blue", separated by commas

    Raises DataError as ``word_indices`` does, for a word that no caption says, and for a composition without words.
    """
    wanted, indices = _compositions(without), word_indices(factors)
    found = np.zeros(len(indices["shape"]), bool)
    for said in wanted:
        found |= np.logical_and.reduce([indices[kind] == KINDS[kind][1].index(word) for kind, word in said.items()])
    return found


def _compositions(without: str) -> list[dict[str, str]]:
    """The words of each composition, by kind. Unlike in a caption, an unknown word is an error."""
    if not isinstance(without, str):
        raise DataError(f"the compositions {shown(without)} were given: expected a text such as 'red triangle'")
    known = list(dict.fromkeys(word for _, words in KINDS.values() for word in words))
    found = []
    for part in without.split(","):
        for word in re.findall(r"\S+", FILLERS.sub(" ", GROUND.sub(" ", part.casefold()))):
            if word not in known:
                raise DataError(
                    f"the composition {shown(part.strip())} has the unknown word {shown(word)}: "
                    f"{advice(nearest(word, known), 'known are')} {', '.join(known)}, and of a ground 'on dark blue'"
                )
        said = meaning(part)
        if not said:
            raise DataError(
                f"the compositions {shown(without)} have one that says nothing: expected words such as 'red triangle'"
            )
        found.append(said)
    return found


DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CLOTHES = {"t-shirt/top": "a t-shirt or top", "trouser": "a pair of trousers"}  # names that are no words for one thing


def label_captions(data: str, labels: np.ndarray, names: tuple[str, ...] = ()) -> list[str]:
    """Captions from labels: "a handwritten seven" of mnist, "a photo of the digit seven" of svhn, "a photo of a ship"
    of another set with these names.

    Raises DataError for a label without a name.
    """
    if data in ("mnist", "svhn"):
        start = "a handwritten" if data == "mnist" else "a photo of the digit"
        known = [f"{start} {digit}" for digit in DIGITS]
    else:
        known = [f"a photo of {_with_article(name.lower())}" for name in names]
    for label in np.unique(labels):
        if not 0 <= label < len(known):
            expected = f"expected 0 to {len(known) - 1}" if known else "name the labels"
            raise DataError(f"the label {label} of {data} has no name: {expected}")
    return [known[label] for label in np.asarray(labels).tolist()]


def _with_article(name: str) -> str:
    return CLOTHES.get(name) or f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def captions_of(data: Data, seed: int = 0) -> tuple[list[str], list[str]]:
    """The captions of the training images and of the held-out ones, in their order.

    Those of ``shapes`` are drawn (``captions``, the held-out ones from another stream of the seed), a folder has its
    own, and a set with labels has one for each label (``label_captions``).

    Raises DataError for data without captions, and unless the seed is an integer ≥ 0.
    """
    seed = integer(seed, "the seed", 0)
    if data.texts is not None:
        return list(data.texts), list(data.held_out_texts)
    if data.factors.keys() >= RANGES.keys():
        return captions(data.factors, seed, stream=0), captions(data.held_out_factors, seed, stream=1)
    if "label" in data.factors:
        names = data.value_names.get("label", ())
        return tuple(label_captions(data.name, factors["label"], names)
                     for factors in (data.factors, data.held_out_factors))
    raise DataError(data.texts_missing or f"{data.name} has no captions: choose shapes, a set with labels such as "
                                          f"mnist, or a folder of pictures with their texts")
