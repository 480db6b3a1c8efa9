"""Folders of pictures: every format arrives as the same square RGB bytes, and what cannot be used is named."""

import numpy as np
import pytest
from PIL import Image

from data_utils import DataError, load

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def halves(width=40, height=40, mode="RGB"):
    """A picture whose upper half is red, the lower blue."""
    picture = Image.new(mode, (width, height), RED)
    picture.paste(BLUE, (0, height // 2, width, height))
    return picture


def load_twice(folder, picture, file, **options):
    """Save one picture under two names, load the folder, return the one image that both became."""
    for copy in ("a", "b"):
        picture.save(folder / f"{copy}{file}", **options)
    data = load(f"folder:{folder}", image_size=8)
    np.testing.assert_array_equal(data.train, data.held_out)
    return data.train[0]


def assert_colour(pixels, colour, tolerance=0):
    assert np.abs(pixels.astype(int) - colour).max() <= tolerance


def numbered(folder, count):
    """``count`` plain pictures, whose red value is their number."""
    for number in range(count):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(folder / f"{number:03}.png")


def numbers(images):
    return images[:, 0, 0, 0].tolist()


# --- formats --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [".png", ".jpg", ".JPEG", ".webp", ".bmp", ".tiff", ".gif", ".ppm"])
def test_formats(tmp_path, file):
    image = load_twice(tmp_path, halves(), file)
    assert image.shape == (8, 8, 3)
    assert image.dtype == np.uint8
    assert_colour(image[:3], RED, tolerance=3)  # jpg and webp lose a little
    assert_colour(image[5:], BLUE, tolerance=3)


def test_cmyk(tmp_path):
    assert_colour(load_twice(tmp_path, halves().convert("CMYK"), ".tiff")[:3], RED)


def test_eight_bit_grey(tmp_path):
    assert_colour(load_twice(tmp_path, Image.new("L", (9, 9), 77), ".png"), 77)


@pytest.mark.parametrize(("stored", "expected"), [(0, 0), (257 * 90, 90), (65535, 255)])
def test_sixteen_bit_grey(tmp_path, stored, expected):
    picture = Image.fromarray(np.full((9, 9), stored, np.uint16))
    assert_colour(load_twice(tmp_path, picture, ".png"), expected)


def test_transparency_shows_white(tmp_path):
    picture = halves(mode="RGBA")
    picture.putalpha(Image.fromarray(np.repeat([[255], [0]], 20, axis=0).repeat(40, axis=1).astype(np.uint8)))
    image = load_twice(tmp_path, picture, ".png")
    assert_colour(image[:3], RED)
    assert_colour(image[5:], WHITE)


def test_half_transparency_mixes_with_white(tmp_path):
    assert_colour(load_twice(tmp_path, Image.new("RGBA", (9, 9), (0, 0, 0, 51)), ".png"), 204)


def test_a_transparent_palette_entry_shows_white(tmp_path):
    picture = Image.fromarray(np.repeat([[0], [1]], 20, axis=0).repeat(40, axis=1).astype(np.uint8), "L")
    picture = picture.convert("P")
    picture.putpalette([*RED, *BLUE])
    image = load_twice(tmp_path, picture, ".gif", transparency=1)
    assert_colour(image[:3], RED)
    assert_colour(image[5:], WHITE)


def test_an_animation_gives_its_first_frame(tmp_path):
    later = [Image.new("RGB", (9, 9), BLUE)]
    image = load_twice(tmp_path, Image.new("RGB", (9, 9), RED), ".gif", save_all=True, append_images=later)
    assert_colour(image, RED)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the stored picture must be turned clockwise
    image = load_twice(tmp_path, halves().transpose(Image.Transpose.ROTATE_90), ".jpg", exif=exif, quality=95)
    assert_colour(image[:3], RED, tolerance=3)
    assert_colour(image[5:], BLUE, tolerance=3)


def test_the_middle_is_cut_out(tmp_path):
    wide = Image.new("RGB", (60, 20), BLUE)
    wide.paste(RED, (20, 0, 40, 20))
    image = load_twice(tmp_path, wide, ".png")
    assert_colour(image[:, 1:-1], RED)  # the outermost columns take in a trace of their neighbours


# --- which pictures -------------------------------------------------------------------------------------------------


def test_subfolders_are_searched_and_hidden_and_other_files_are_not(tmp_path):
    for name in ("deep/er/a.png", "b.png", ".hidden.png", ".thumbnails/c.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), RED).save(path)
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "folder.png").mkdir()
    data = load(f"folder:{tmp_path}")
    assert data.describe() == f"folder:{tmp_path}: 1 training and 1 held-out images of 32×32×3"
    assert data.factors == data.held_out_factors == {}


@pytest.mark.parametrize(("count", "held_out"), [(2, 1), (9, 1), (30, 3)])
def test_a_tenth_is_held_out_but_at_least_one(tmp_path, count, held_out):
    numbered(tmp_path, count)
    data = load(f"folder:{tmp_path}", image_size=1)
    assert len(data.held_out) == held_out
    assert sorted(numbers(data.train) + numbers(data.held_out)) == list(range(count))


def test_the_seed_chooses_what_is_held_out(tmp_path):
    numbered(tmp_path, 30)
    held_out = [tuple(numbers(load(f"folder:{tmp_path}", image_size=1, seed=seed).held_out)) for seed in (0, 0, 1, 2)]
    assert held_out[0] == held_out[1]
    assert len(set(held_out)) == 3


def test_a_limit_keeps_the_first_of_each_split(tmp_path):
    numbered(tmp_path, 30)
    full = load(f"folder:{tmp_path}", image_size=1)
    part = load(f"folder:{tmp_path}", image_size=1, limit=2)
    np.testing.assert_array_equal(part.train, full.train[:2])
    np.testing.assert_array_equal(part.held_out, full.held_out[:2])


def test_the_home_folder_may_be_written_as_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # the name of it on Windows
    numbered(tmp_path, 2)
    assert len(load("folder:~").train) == 1


# --- refusals -------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        load(f"folder:{tmp_path / 'nowhere'}")


def test_a_user_that_is_not_there():
    with pytest.raises(DataError, match=r"there is no folder '~nobody-of-this-name'"):
        load("folder:~nobody-of-this-name")


def test_a_file_instead_of_a_folder(tmp_path):
    halves().save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"there is no folder .*a\.png"):
        load(f"folder:{tmp_path / 'a.png'}")


def test_no_path():
    with pytest.raises(DataError, match="'folder:' was given without a path"):
        load("folder:")


@pytest.mark.parametrize("files", [[], ["notes.txt"]], ids=["empty", "no pictures"])
def test_a_folder_without_pictures(tmp_path, files):
    for name in files:
        (tmp_path / name).write_text("not a picture")
    with pytest.raises(DataError, match="holds no pictures"):
        load(f"folder:{tmp_path}")


def test_a_single_picture(tmp_path):
    halves().save(tmp_path / "a.png")
    with pytest.raises(DataError, match="only one picture: two are needed"):
        load(f"folder:{tmp_path}")


@pytest.mark.parametrize("file", ["bad.png", "bad.jpg", "bad.tiff", "bad.gif", "bad.webp"])
def test_a_truncated_picture_is_named(tmp_path, file):
    halves().save(tmp_path / "good.png")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / file)
    whole = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=f"the picture .*{file}.* cannot be read .*repair it or take it away") as caught:
        load(f"folder:{tmp_path}")
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("content", [b"", b"this is text"], ids=["empty", "text"])
def test_a_file_that_only_claims_to_be_a_picture_is_named(tmp_path, content):
    halves().save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=r"the picture .*bad\.png.* cannot be read"):
        load(f"folder:{tmp_path}")


def test_floating_point_pixels_are_refused(tmp_path):
    for name in ("a.tiff", "b.tiff"):
        Image.fromarray(np.ones((9, 9), np.float32)).save(tmp_path / name)
    with pytest.raises(DataError, match=r"[ab]\.tiff.* floating-point numbers have no agreed white"):
        load(f"folder:{tmp_path}")


def test_a_decompression_bomb_is_named(tmp_path, monkeypatch):
    halves().save(tmp_path / "a.png")
    halves().save(tmp_path / "b.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow raises above twice this number
    with pytest.raises(DataError, match=r"the picture .*[ab]\.png.* cannot be read .*decompression bomb"):
        load(f"folder:{tmp_path}")
