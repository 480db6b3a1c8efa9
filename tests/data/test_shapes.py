"""The drawn shapes: reproducible, and every factor does to the pixels what its description says."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from data_utils import DataError, draw, load, shapes
from data_utils.pictures import fit_channels
from data_utils.shapes import RANGES, SHAPES, SYMMETRY

KINDS = range(len(SHAPES))
STILL = {"shape": 0, "colour": 0.1, "size": 0.25, "rotation": 0.4, "x": 0.5, "y": 0.5, "background": 0.6}
PURE = {0: 0.0, 1: 1 / 3, 2: 2 / 3}  # channel -> the hue that lights up this channel most


def coverage(images):
    """How much of each pixel the shape covers, (N, S, S) in [0, 1], recovered from images with a plain ground."""
    ground = images[:, :1, :1, :].astype(float)
    away = np.abs(images - ground).sum(axis=-1)
    return away / away.max(axis=(1, 2), keepdims=True)


# --- reproducible ---------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_images_and_another_seed_or_stream_others():
    images, factors = shapes(20, seed=4)
    again, factors_again = shapes(20, seed=4)
    np.testing.assert_array_equal(images, again)
    for name in RANGES:
        np.testing.assert_array_equal(factors[name], factors_again[name])
    for other, other_factors in (shapes(20, seed=5), shapes(20, seed=4, stream=1)):
        assert not (images == other).all(axis=(1, 2, 3)).any()
        assert all((factors[name] != other_factors[name]).any() for name in RANGES)


def test_the_images_are_the_same_on_every_machine():
    images, _ = shapes(64, seed=0)
    expected = "49050b27ed22dabfc5f12c686e7f405cd3e72d7a388dfac9a4f22cfec5175ca6"
    assert hashlib.sha256(images.tobytes()).hexdigest() == expected


def test_fewer_images_are_the_first_of_more():
    # 200 images of one kind and more: enough to be drawn in several parts
    many, many_factors = shapes(900, seed=1)
    few, few_factors = shapes(37, seed=1)
    np.testing.assert_array_equal(few, many[:37])
    for name in RANGES:
        np.testing.assert_array_equal(few_factors[name], many_factors[name][:37])


def test_images_can_be_drawn_again_from_their_factors():
    images, factors = shapes(300, size=17, seed=2)
    np.testing.assert_array_equal(draw(factors, 17), images)
    some = [3, 250, 8]
    np.testing.assert_array_equal(draw({name: value[some] for name, value in factors.items()}, 17), images[some])


# --- the factors ----------------------------------------------------------------------------------------------------


def test_factors_fill_their_ranges_and_are_independent():
    _, factors = shapes(4000, size=4, seed=3)
    for name, (low, high) in RANGES.items():
        values = factors[name]
        assert values.shape == (4000,)
        assert low <= values.min() and values.max() < high
        counts, _ = np.histogram(values, bins=4, range=(low, high))
        assert (abs(counts - 1000) < 150).all()  # 1000 ± 27 expected
    correlation = np.corrcoef([factors[name] for name in RANGES])
    np.testing.assert_allclose(correlation, np.eye(len(RANGES)), atol=0.08)  # ± 0.016 expected


@pytest.mark.parametrize("size", [4, 5, 32, 65])
def test_every_shape_is_in_view_and_stands_out_from_its_ground(size):
    images, _ = shapes(200, size=size, seed=6)
    assert images.shape == (200, size, size, 3)
    assert images.dtype == np.uint8
    difference = np.abs(images.astype(int) - images[:, :1, :1]).max(axis=-1)
    if size >= 32:  # at size 4 no pixel need be covered whole
        assert (difference.max(axis=(1, 2)) > 150).all()
        frame = np.concatenate([difference[:, [0, -1]], difference[:, :, [0, -1]].swapaxes(1, 2)], axis=1)
        assert frame.max() < 100  # at most the soft edge of a shape touches the frame
    else:
        assert (difference.max(axis=(1, 2)) > 30).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_centroid_is_at_x_y(kind):
    x, y = np.array([0.35, 0.5, 0.61]), np.array([0.6, 0.45, 0.37])
    cover = coverage(draw({**STILL, "shape": kind, "x": x, "y": y}, 64))
    centres = np.arange(64) + 0.5
    mass = cover.sum(axis=(1, 2))
    np.testing.assert_allclose((cover.sum(axis=1) * centres).sum(axis=1) / mass, 64 * x, atol=0.1)
    np.testing.assert_allclose((cover.sum(axis=2) * centres).sum(axis=1) / mass, 64 * y, atol=0.1)


@pytest.mark.parametrize(
    ("kind", "area"),
    [(0, 1 + np.pi / 4), (1, 2.0), (2, 3 * np.sqrt(3) / 4), (3, 2.0)],  # of the shape with radius 1
    ids=SHAPES,
)
def test_the_area_grows_with_the_square_of_the_size(kind, area):
    size = np.array([1 / 6, 1 / 4, 1 / 3])
    cover = coverage(draw({**STILL, "shape": kind, "size": size}, 64))
    np.testing.assert_allclose(cover.sum(axis=(1, 2)), area * (64 * size) ** 2, rtol=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_the_farthest_point_is_at_the_size(kind):
    image = draw({**STILL, "shape": kind, "size": 0.3}, 256)
    centres = np.arange(256) + 0.5 - 128
    distance = np.hypot(centres[:, None], centres[None, :])
    assert distance[coverage(image)[0] > 0.5].max() == pytest.approx(0.3 * 256, abs=1.5)


@pytest.mark.parametrize("kind", KINDS)
def test_rotation_repeats_with_the_symmetry_of_the_shape_and_not_before(kind):
    period = 2 * np.pi / SYMMETRY[kind]
    start, whole, half = draw({**STILL, "shape": kind, "rotation": 0.4 + period * np.array([0, 1, 0.5])}).astype(int)
    assert np.abs(start - whole).max() <= 1  # a byte may round the other way
    assert np.abs(start - half).max() > 100


@pytest.mark.parametrize("kind", KINDS)
def test_rotation_turns_clockwise(kind):
    upright, turned = draw({**STILL, "shape": kind, "rotation": np.array([0.2, 0.2 + np.pi / 2])})
    clockwise = np.rot90(upright, k=-1)
    assert np.abs(turned.astype(int) - clockwise).max() <= 1
    pictures = draw({**STILL, "shape": kind, "rotation": np.array([0.1, -0.1])}).astype(int)
    assert np.abs(pictures[0] - pictures[1]).max() > 20


def test_an_unrotated_triangle_points_up_and_a_pill_lies_flat():
    pill, _, triangle, _ = coverage(draw({**STILL, "shape": np.arange(4), "rotation": 0}))
    width = (triangle > 0.5).sum(axis=1)
    assert (np.diff(width[width > 0]) >= 0).all()
    assert (pill > 0.5).any(axis=0).sum() == 16  # a diameter of 0.5 · 32
    assert (pill > 0.5).any(axis=1).sum() == 8


@pytest.mark.parametrize("kind", KINDS)
def test_moving_the_centre_by_whole_pixels_moves_the_picture(kind):
    start, moved = draw({**STILL, "shape": kind, "x": np.array([0.45, 0.45 + 3 / 32]), "y": np.array([0.5, 0.4375])})
    np.testing.assert_array_equal(moved, np.roll(start, (-2, 3), axis=(0, 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_moving_the_centre_by_part_of_a_pixel_shows_too(kind):
    start, moved = draw({**STILL, "shape": kind, "x": np.array([0.5, 0.5 + 0.3 / 32])}).astype(int)
    assert 10 < np.abs(start - moved).max() < 255 * 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_edges_are_smooth(kind):
    cover = coverage(draw({**STILL, "shape": kind}))[0]
    assert np.isclose(cover, 1).sum() > 50
    assert np.isclose(cover, 0).sum() > 500
    assert ((0.1 < cover) & (cover < 0.9)).sum() >= 20


@pytest.mark.parametrize("channel", PURE)
def test_colour_and_background_are_hues(channel):
    image = draw({**STILL, "colour": PURE[channel], "background": PURE[channel]})[0]
    for pixel in (image[16, 16].astype(int), image[0, 0].astype(int)):
        others = np.delete(pixel, channel)
        assert others[0] == others[1]
        assert pixel[channel] > 1.9 * others[0]
    assert image[16, 16].max() == 255
    assert image[0, 0].max() == 64


def test_colour_leaves_the_ground_and_background_leaves_the_shape():
    red, green = draw({**STILL, "colour": np.array([0, 1 / 3])})
    np.testing.assert_array_equal(red[0, 0], green[0, 0])
    assert (red[16, 16] != green[16, 16]).any()
    red, green = draw({**STILL, "background": np.array([0, 1 / 3])})
    np.testing.assert_array_equal(red[16, 16], green[16, 16])
    assert (red[0, 0] != green[0, 0]).any()


# --- refusals -------------------------------------------------------------------------------------------------------


def test_sizes_below_four_are_refused():
    with pytest.raises(DataError, match=r"for shapes, an image size in pixels of 3 was given: .* from 4 to 4096"):
        load("shapes", image_size=3)


@pytest.mark.parametrize("factors", [{"x": 0.5}, {**STILL, "sides": 3}], ids=["missing", "unknown"])
def test_missing_and_unknown_factors_are_refused(factors):
    with pytest.raises(DataError, match=r"the factors .*(x|sides) were given: expected exactly shape, colour, "):
        draw(factors)


@pytest.mark.parametrize("kind", [4, -1, 0.5])
def test_shapes_that_do_not_exist_are_refused(kind):
    with pytest.raises(DataError, match="integer from 0 to 3: pill, square, triangle, plus"):
        draw({**STILL, "shape": kind})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"x": np.nan}, "'x' was given as nan: expected finite numbers"),
        ({"colour": "red"}, "'colour' was given as 'red': expected finite numbers"),
        ({"size": np.ones((2, 2))}, r"'size' was given as array\(\[\[1\., 1\.\], \[1\., 1\.\]\]\): expected"),
        ({"x": [0.5, 0.5], "y": [0.5, 0.5, 0.5]}, "different lengths were given .*x 2, y 3.*expected one length"),
    ],
)
def test_factors_that_cannot_be_drawn_are_refused(wrong, message):
    with pytest.raises(DataError, match=message):
        draw({**STILL, **wrong})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(count=-1), "number of shapes of -1 .*expected an integer from 0 to 1000000000"),
        (dict(count=2.5), r"number of shapes of 2\.5 "),
        (dict(count=1, size=8.0), r"image size in pixels of 8\.0 .*expected an integer from 4 to 4096"),
        (dict(count=1, seed=-1), "seed -1 .*expected an integer ≥ 0"),
        (dict(count=1, stream="a"), "stream 'a' .*expected an integer ≥ 0"),
        (dict(count=1, kinds=[4]), "kind of shape of 4 .*from 0 to 3"),
        (dict(count=1, kinds=[]), "no kind of shape"),
    ],
)
def test_what_shapes_cannot_draw_is_refused(given, message):
    with pytest.raises(DataError, match=message):
        shapes(**given)


# --- load -----------------------------------------------------------------------------------------------------------


def test_load_gives_ten_thousand_and_one_thousand():
    data = load("shapes", image_size=4)
    assert data.describe() == "shapes: 10000 training and 1000 held-out images of 4×4×3"
    assert {name: len(values) for name, values in data.factors.items()} == dict.fromkeys(RANGES, 10_000)
    assert {name: len(values) for name, values in data.held_out_factors.items()} == dict.fromkeys(RANGES, 1_000)


def test_load_defaults_to_32_pixels_and_hands_on_seed_and_stream():
    data = load("shapes", limit=5, seed=9)
    np.testing.assert_array_equal(data.train, shapes(5, size=32, seed=9, stream=0)[0])
    np.testing.assert_array_equal(data.held_out, shapes(5, size=32, seed=9, stream=1)[0])
    np.testing.assert_array_equal(draw(data.held_out_factors), data.held_out)


def test_a_limit_between_the_splits_shortens_only_the_longer():
    data = load("shapes", limit=1500, image_size=4)
    assert (len(data.train), len(data.held_out)) == (1500, 1000)


# --- some of the shapes -----------------------------------------------------------------------------------------------


def test_kinds_left_out_change_nothing_but_the_shape():
    _, everything = shapes(300, seed=3)
    images, factors = shapes(300, seed=3, kinds=[0, 3])
    assert set(factors["shape"]) == {0, 3} and factors["shape"].dtype == everything["shape"].dtype
    for name in RANGES.keys() - {"shape"}:
        np.testing.assert_array_equal(factors[name], everything[name])
    np.testing.assert_array_equal(draw(factors), images)
    np.testing.assert_array_equal(shapes(300, seed=3, kinds=KINDS)[1]["shape"], everything["shape"])


def test_shapes_by_name():
    data = load("shapes:plus,square", limit=50, image_size=8)
    assert data.name == "shapes:plus,square" and len(data.train) == len(data.held_out) == 50
    for found in (data.factors["shape"], data.held_out_factors["shape"]):
        assert {SHAPES[kind] for kind in found} == {"plus", "square"}
    one, other = (load(name, limit=50, image_size=8).train for name in ("shapes:square,plus", "shapes"))
    np.testing.assert_array_equal(one, data.train)
    assert (one != other).any()


@pytest.mark.parametrize("name", ["shapes:", "shapes:circle", "shapes:pill,", "shapes:pill, plus"])
def test_a_shape_that_is_none_is_refused(name):
    with pytest.raises(DataError, match="pill, square, triangle, plus"):
        load(name)


# --- channels ---------------------------------------------------------------------------------------------------------


def test_grey_of_colours_is_the_luma_that_pillow_takes():
    images = load("shapes", limit=5, image_size=16).train
    grey = load("shapes", limit=5, image_size=16, channels=1)
    assert grey.train.shape == (5, 16, 16, 1) and grey.train.dtype == np.uint8 and grey.channels == 1
    pillow = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])
    assert np.abs(grey.train[..., 0].astype(int) - pillow).max() <= 1


def test_grey_thrice_is_grey_again():
    grey = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 1), np.uint8)
    thrice = fit_channels(grey, 3)
    assert thrice.shape == (2, 4, 4, 3) and (thrice == grey).all()
    np.testing.assert_array_equal(fit_channels(thrice, 1), grey)
    assert fit_channels(grey, 1) is grey
    with pytest.raises(DataError, match="2 channels"):
        load("shapes", channels=2)
