"""Do images show what their captions ask for? Two ways to read the words off an image of a shape.

    the judge    a classifier that was trained on drawn shapes (models/judge.py)
    the pixels   the place, the size and the hues, measured without a network

An image is right in a kind of word if the word that was read is the one its caption says.
"""

import numpy as np

from data_utils import KINDS, captions, composed, draw, meaning, random_factors, word_indices
from data_utils.shapes import RANGES
from scratch.instruments.retrieval import nearest

MEASURED = ("size", "colour", "row", "column", "ground")  # the kinds that are measured on the pixels
TEST_STREAM, OTHERS_STREAM = 2, 3  # of the seed; 0 and 1 are the training and the held-out images
PEAK = 24  # pixels that show the shape's own colour; the smallest shape covers 37 of 32×32
CAPTIONS, EACH = 32, 8  # the captions of the measure of diversity, and the images of each
DRAWN_FOR_ONE = 200_000  # images among which those of a composition are looked for


def hue(colours):
    """(N,) in [0, 1), the angle of colours (N, 3) on the colour circle: 0 red, 1/3 green, 2/3 blue."""
    red, green, blue = colours.T
    most, least = colours.max(axis=1), colours.min(axis=1)
    spread = np.where(most > least, most - least, 1)
    sixths = np.select(
        [most == red, most == green], [(green - blue) / spread, 2 + (blue - red) / spread], 4 + (red - green) / spread)
    return sixths / 6 % 1


def measured_factors(images):
    """The place, the size and the hues of shapes, from pixels (N, S, S, 3) alone: {factor: (N,)}.

    The ground is the median of the outermost pixels. A pixel belongs to the shape by the share a of its distance from
    the ground, 1 for the `PEAK` pixels that are farthest away.

        x, y    the mean place of all pixels, weighted by a
        size    the distance of the farthest pixel with a > ¼ from there
        hues    those of the ground, and of the `PEAK` pixels together

    For an image without a shape the numbers mean nothing.
    """
    images = images.astype(np.float64)
    N, S, _, _ = images.shape
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    ground = np.median(border, axis=1)
    distance = np.sqrt(((images - ground[:, None, None]) ** 2).sum(axis=3)).reshape(N, -1)
    top = np.argsort(distance, axis=1)[:, -PEAK:]
    peak = np.take_along_axis(distance, top, axis=1).mean(axis=1, keepdims=True)
    a = np.clip(distance / np.maximum(peak, 1e-9), 0, 1)
    a[a < 0.2] = 0  # what a reconstruction leaves of noise
    weight = a / np.maximum(a.sum(axis=1, keepdims=True), 1e-9)
    down, right = (place.ravel() + 0.5 for place in np.indices((S, S)))
    x, y = weight @ right, weight @ down
    away = np.hypot(right - x[:, None], down - y[:, None])
    colour = np.take_along_axis(images.reshape(N, -1, 3), top[:, :, None], axis=1).mean(axis=1)
    return {"x": x / S, "y": y / S, "size": np.where(a > 0.25, away, 0).max(axis=1) / S, "colour": hue(colour),
            "background": hue(ground)}


def measured_words(images):
    """{kind: (N,) index of the word} of the kinds that `measured_factors` measures."""
    factors = measured_factors(images)
    unknown = {name: np.zeros(len(images), np.int64) for name in RANGES.keys() - factors.keys()}
    found = word_indices({**unknown, **factors})
    return {kind: found[kind] for kind in MEASURED}


def judged_words(judge, images):
    """{kind: (N,) index of the word}, as the judge, a finished run, reads them."""
    found = judge.in_batches(judge.model.words, judge.floats(images))
    return dict(zip(KINDS, found.T, strict=True))


def shares_right(read, wanted):
    """{kind: share of images whose word is the wanted one, "all": share of images with all words right}."""
    right = {kind: words == wanted[kind] for kind, words in read.items()}
    return {**{kind: float(hits.mean()) for kind, hits in right.items()},
            "all": float(np.logical_and.reduce(list(right.values())).mean())}


def words_table(judge, images, wanted):
    """{"judge": shares_right, "pixels": shares_right} of images whose captions say the wanted words."""
    return {"judge": shares_right(judged_words(judge, images), wanted),
            "pixels": shares_right(measured_words(images), wanted)}


def unseen_images(count, size, seed):
    """(images, factors) of shapes that no training has seen."""
    factors = random_factors(count, seed, TEST_STREAM)
    return draw(factors, size), factors


def composition(without, count, seed):
    """The factors of `count` shapes, or as many as are found, that show one of the compositions."""
    factors = random_factors(DRAWN_FOR_ONE, seed, OTHERS_STREAM)
    chosen = np.flatnonzero(composed(factors, without))[:count]
    return {name: values[chosen] for name, values in factors.items()}


def root_mean_squares(images, others):
    """(N,): the root mean squared difference of each image from its partner, per number, of a range of 1."""
    difference = (images.astype(np.float64) - others).reshape(len(images), -1)
    return np.sqrt((difference * difference).mean(axis=1))


def distances_to_nearest(images, training):
    """(N,): how far each image is from the nearest training image, a root mean square per number."""
    flat, of_training = (part.reshape(len(part), -1).astype(np.float32) for part in (images, training))
    near = nearest(of_training, flat, 1)[:, 0]
    return root_mean_squares(images, training[near])


def diversity(images):
    """The mean distance of two images of one caption, for images (M, J, S, S, C) of M captions: root mean squares per
    number, averaged over all pairs."""
    J = images.shape[1]
    pairs = [(i, j) for i in range(J) for j in range(i)]
    return float(np.mean([root_mean_squares(images[:, i], images[:, j]).mean() for i, j in pairs]))


def images_of(caption, count, size, seed):
    """(count, size, size, 3) uint8: drawn shapes that a caption fits, all else at random."""
    said = meaning(caption)
    factors = random_factors(DRAWN_FOR_ONE, seed, OTHERS_STREAM)
    words = word_indices(factors)
    fits = np.logical_and.reduce([words[kind] == KINDS[kind][1].index(word) for kind, word in said.items()])
    chosen = np.flatnonzero(fits)[:count]
    return draw({name: values[chosen] for name, values in factors.items()}, size)


def judgement(prior, decoder, judge, training, without, count, seed, **choosing):
    """What a prior's images show, beside real ones: a dict of

        "words"         {name: words_table} of real, reconstructed and generated images, of the generated ones with the
                        captions of others, and, where `without` is given, of images that show it
        "composition"   `without`, where it is given
        "nearest"       the median distance to the nearest training image
        "diversity"     the mean distance of two images of one caption

    prior, decoder, judge   finished runs: of a prior with captions, of the codes that it writes, of a judge
    training                the images (N, S, S, 3) whose codes the prior learned from, floats
    without                 compositions such as "red triangle", or None
    choosing                how the prior chooses codes, see Trained.write
    """
    size, of_it = decoder.shape[0], composition(without, count, seed) if without else {}
    images, factors = unseen_images(count, size, seed)
    texts, wanted = captions(factors, seed, stream=TEST_STREAM, complete=True), word_indices(factors)
    drawn, reconstructed = prior.sample(count, seed, text=texts, **choosing), decoder.reconstruct(images)
    others = {kind: np.roll(index, 1) for kind, index in wanted.items()}
    found = {"images": count, "words": {
        "real images": words_table(judge, images, wanted),
        "reconstructed": words_table(judge, reconstructed, wanted),
        "generated": words_table(judge, drawn, wanted),
        "generated, captions shuffled": words_table(judge, drawn, others)}}
    if without:
        texts, wanted = captions(of_it, seed, stream=OTHERS_STREAM, complete=True), word_indices(of_it)
        found["composition"] = without
        found["words"] |= {
            f"{without}, real images": words_table(judge, draw(of_it, size), wanted),
            f"{without}, generated": words_table(
                judge, prior.sample(len(texts), seed, text=texts, **choosing), wanted)}
    found["nearest"] = {
        name: float(np.median(distances_to_nearest(part, training)))
        for name, part in (("generated", drawn), ("held out, reconstructed", reconstructed),
                           ("held out", decoder.floats(images)))}
    chosen = captions(factors, seed, stream=TEST_STREAM)[:CAPTIONS]
    real = np.stack([decoder.floats(images_of(text, EACH, size, seed)) for text in chosen])
    made = prior.sample(len(chosen) * EACH, seed, text=[text for text in chosen for _ in range(EACH)], **choosing)
    found["diversity"] = {
        "generated": diversity(made.reshape(real.shape)),
        "real, reconstructed": diversity(decoder.reconstruct(real.reshape(made.shape)).reshape(real.shape)),
        "real": diversity(real)}
    return found
