"""Folders of pictures: every format arrives as the same square RGB bytes, and what cannot be used is named."""

import json
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils import DataError, captions_of, load, pictures
from data_utils.pictures import find_pictures, picture_formats, read_picture

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


def tiff(path, pixels, sample_format=1, photometric=1, bits=None):
    """Write grey pixels (H, W) as an uncompressed TIFF by hand: Pillow writes neither 12 bits nor a white of zero."""
    height, width = pixels.shape
    bits = bits or 8 * pixels.dtype.itemsize
    if bits == 12:  # two pixels in three bytes
        first, second = pixels.reshape(-1, 2).astype(int).T
        data = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8).tobytes()
    else:
        data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height, 279: len(data),
            339: sample_format}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)


def grey_ramp(white, dtype):
    """(16, 16) of the 256 values i · white // 255, and the rounding-free bytes i that they stand for."""
    return (np.arange(256) * white // 255).reshape(16, 16).astype(dtype)


def assert_ramp(path):
    """Within the one step that flooring loses, a file of grey_ramp is the ramp from black to white."""
    difference = read_picture(path, 16)[..., 0].ravel().astype(int) - np.arange(256)
    assert set(difference) <= {0, -1}, path


@pytest.mark.parametrize("white", [255, 65535])
@pytest.mark.parametrize("dtype", [np.int32, np.uint32])
def test_in_32_bits_the_range_says_what_is_white(tmp_path, white, dtype):
    tiff(tmp_path / "a.tiff", grey_ramp(white, dtype), sample_format=2 if dtype == np.int32 else 1)
    with Image.open(tmp_path / "a.tiff") as opened:
        assert opened.mode == "I"
    assert_ramp(tmp_path / "a.tiff")


def test_32_bits_as_pillow_writes_them(tmp_path):
    Image.fromarray(grey_ramp(255, np.int32)).save(tmp_path / "a.tiff")
    assert_ramp(tmp_path / "a.tiff")


@pytest.mark.parametrize(
    ("low", "high", "dtype"), [(-1, 200, np.int32), (0, 65536, np.int32), (0, 2**31, np.uint32), (-5, 3, np.int16)]
)
def test_values_without_an_agreed_white_are_refused(tmp_path, low, high, dtype):
    pixels = np.zeros((8, 8), dtype)
    pixels[0, 0], pixels[0, 1] = low, high
    tiff(tmp_path / "a.tiff", pixels, sample_format=1 if dtype == np.uint32 else 2)
    with pytest.raises(DataError, match=rf"a\.tiff.*its grey values go from {low} to {high}, where 8 bits hold"):
        read_picture(tmp_path / "a.tiff", 8)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_a_dark_tiff_of_16_bits_stays_dark(tmp_path, dtype):
    tiff(tmp_path / "a.tiff", np.full((8, 8), 255, dtype), sample_format=2 if dtype == np.int16 else 1)
    assert_colour(read_picture(tmp_path / "a.tiff", 8), 0)


@pytest.mark.parametrize("file", ["a.png", "a.tiff", "a.pgm"])
def test_a_dark_picture_of_16_bits_stays_dark(tmp_path, file):
    picture = Image.fromarray(np.full((8, 8), 255, np.uint16))
    picture.save(tmp_path / file)
    assert_colour(read_picture(tmp_path / file, 8), 0)


def test_a_dark_png_of_16_bits_stays_dark_where_pillow_opens_it_in_32(tmp_path):
    """Older versions of Pillow give mode "I" for the PNG that newer ones give "I;16" for."""
    Image.fromarray(np.full((8, 8), 514, np.uint16)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened:
        older = opened.convert("I")
        older.format = opened.format
    assert older.mode == "I"
    assert_colour(np.asarray(pictures._eight_bit(older, older)), 2)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bits_in_either_byte_order(tmp_path, order):
    mode = "I;16" if order == "<" else "I;16B"
    pixels = grey_ramp(65535, np.dtype(np.uint16).newbyteorder(order))
    Image.frombytes(mode, (16, 16), pixels.tobytes()).save(tmp_path / "a.tiff")
    assert_ramp(tmp_path / "a.tiff")


def test_12_bits(tmp_path):
    tiff(tmp_path / "a.tiff", grey_ramp(4095, np.uint16), bits=12)
    assert_ramp(tmp_path / "a.tiff")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_white_of_zero_is_white(tmp_path, dtype):
    tiff(tmp_path / "a.tiff", np.zeros((8, 8), dtype), photometric=0)
    assert_colour(read_picture(tmp_path / "a.tiff", 8), 255)


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


# --- what is no picture ---------------------------------------------------------------------------------------------


def test_formats_that_pillow_cannot_read_are_no_pictures():
    assert {"PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "PPM", "FITS"} <= set(picture_formats())
    assert not {"HDF5", "BUFR", "GRIB", "WMF", "MPEG", "EPS", "PDF"} & set(picture_formats())


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(500)),
        ("a.bufr", b"BUFR" + bytes(500)),
        ("a.grib", b"GRIB" + bytes(3) + b"\1" + bytes(500)),
        ("a.emf", b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(500)),
        ("a.mpg", b"\0\0\1\xb3" + bytes(500)),
        ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"),
        ("a.ps", b"%!PS-Adobe-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"),
        ("a.pdf", b"%PDF-1.4\n"),
    ],
)
def test_such_files_are_passed_over_and_refused_as_pictures(tmp_path, file, content):
    (tmp_path / file).write_bytes(content)
    ending = Path(file).suffix
    with pytest.raises(DataError, match=rf"holds no pictures \(passed over: \{ending}\): put some there"):
        load(f"folder:{tmp_path}")
    numbered(tmp_path, 2)
    assert len(find_pictures(tmp_path)) == 2
    (tmp_path / file).rename(tmp_path / "z.png")  # under the name of a picture it is still none
    with pytest.raises(DataError, match=r"z\.png' cannot be read \(cannot identify"):
        load(f"folder:{tmp_path}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with a name")
def test_pipes_and_devices_are_passed_over(tmp_path):
    numbered(tmp_path, 2)
    os.mkfifo(tmp_path / "pipe.png")
    for device in ("/dev/zero", "/dev/random"):
        if os.path.exists(device):
            (tmp_path / f"{device[5:]}.png").symlink_to(device)
    assert [path.name for path in find_pictures(tmp_path)] == ["000.png", "001.png"]
    for name in ("pipe.png", "zero.png"):  # one that becomes such a thing while the folder is read
        with pytest.raises(DataError, match=rf"{name}' cannot be read \(it is not a regular file\)"):
            read_picture(tmp_path / name, 8)


@pytest.mark.parametrize("start", [b"", b"RIFF\0\0\0\0WEBPVP8 ", b"\0\0\0\x1cftypavif"], ids=["zeros", "webp", "avif"])
def test_an_enormous_file_is_refused_unread(tmp_path, start):
    with open(tmp_path / "a.png", "wb") as file:
        file.write(start)
        try:
            file.truncate(2**36)  # sparse: it takes no room
        except OSError:
            pytest.skip("this file system does not hold sparse files")
    with pytest.raises(DataError, match=r"a\.png' cannot be read \(its 68719476736 bytes are more than the 1073741824"):
        read_picture(tmp_path / "a.png", 8)


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


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 9), RED).save(path)


def found(folder):
    return [path.relative_to(folder).as_posix() for path in find_pictures(folder)]


def test_linked_folders_are_searched(tmp_path):
    picture(tmp_path / "elsewhere/cats/deep/a.png")
    picture(tmp_path / "elsewhere/b.png")
    picture(tmp_path / "pictures/dogs/c.png")
    (tmp_path / "pictures/cats").symlink_to(tmp_path / "elsewhere/cats")
    (tmp_path / "pictures/d.png").symlink_to(tmp_path / "elsewhere/b.png")
    assert found(tmp_path / "pictures") == ["cats/deep/a.png", "d.png", "dogs/c.png"]
    (tmp_path / "link").symlink_to("pictures")
    assert found(tmp_path / "link") == found(tmp_path / "pictures")


def test_a_folder_counts_once_under_its_own_path(tmp_path):
    picture(tmp_path / "elsewhere/a.png")
    picture(tmp_path / "pictures/m/b.png")
    for link in ("a", "z", "m/n"):
        (tmp_path / "pictures" / link).symlink_to(tmp_path / "pictures/m")
    assert found(tmp_path / "pictures") == ["m/b.png"]
    for link in ("x", "y"):  # a folder with links alone: the first one, in order
        (tmp_path / "pictures" / link).symlink_to(tmp_path / "elsewhere")
    assert found(tmp_path / "pictures") == ["m/b.png", "x/a.png"]


def test_links_in_circles_end(tmp_path):
    picture(tmp_path / "one/two/a.png")
    (tmp_path / "one/two/up").symlink_to("../..")
    (tmp_path / "one/self").symlink_to("self")
    (tmp_path / "one/b.png").symlink_to("b.png")
    (tmp_path / "ping").symlink_to("pong")
    (tmp_path / "pong").symlink_to("ping")
    assert found(tmp_path) == ["one/two/a.png"]


def test_links_to_nothing_and_hidden_links_are_passed_over(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / ".hidden/b.png")
    (tmp_path / "c.png").symlink_to("nothing.png")
    (tmp_path / "folder").symlink_to("nowhere")
    (tmp_path / ".link").symlink_to(".hidden")
    assert found(tmp_path) == ["a.png"]
    (tmp_path / "link").symlink_to(".hidden")  # a link with a name is a wish to see what is there
    assert found(tmp_path) == ["a.png", "link/b.png"]


def test_the_order_is_that_of_the_paths_as_text(tmp_path):
    names = ["b/a.png", "b.png", "b-a.png", "a/z/a.png", "B.png", "a.png", "é.png"]
    for name in names:
        picture(tmp_path / name)
    assert found(tmp_path) == sorted(names)


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


# --- captions -------------------------------------------------------------------------------------------------------


def written(folder, texts, count=30):
    """``count`` numbered pictures, those of ``texts`` {number: bytes} with a text beside them; the loaded folder."""
    numbered(folder, count)
    for number, text in texts.items():
        (folder / f"{number:03}.txt").write_bytes(text)
    return load(f"folder:{folder}", image_size=1)


def listed(folder, lines, count=3):
    """``count`` numbered pictures and a captions.jsonl of these lines; the loaded folder."""
    numbered(folder, count)
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "captions.jsonl").write_text(text, encoding="utf-8")
    return load(f"folder:{folder}", image_size=1)


def assert_captions(data):
    """Every picture has the caption that names its number."""
    for images, texts in zip((data.train, data.held_out), captions_of(data), strict=True):
        assert texts == [f"picture {number}" for number in numbers(images)]
    assert (list(data.texts), list(data.held_out_texts)) == captions_of(data)


def test_a_text_beside_each_picture(tmp_path):
    data = written(tmp_path, {number: f"\n picture {number} \r\n".encode() for number in range(30)})
    (tmp_path / "README.txt").write_text("not a caption")
    assert_captions(data)
    assert_captions(load(f"folder:{tmp_path}", image_size=1, limit=2, seed=5))
    grey = load(f"folder:{tmp_path}", image_size=1, channels=1)
    assert captions_of(grey) == captions_of(data)


def test_letters_of_all_languages(tmp_path):
    data = written(tmp_path, {0: "日本 é".encode(), 1: "\ufeff日本 é".encode()}, count=2)  # one begins with a mark
    assert captions_of(data) == (["日本 é"], ["日本 é"])


def test_one_file_for_all_captions(tmp_path):
    lines = [{"file_name": f"{number:03}.png", "text": f" picture {number} ", "more": 1} for number in range(30)]
    assert_captions(listed(tmp_path, [*reversed(lines), "", " "], count=30))


def test_one_file_names_pictures_of_subfolders(tmp_path):
    for name in ("cats/a.png", "b.png"):
        picture(tmp_path / name)
    data = listed(tmp_path, [{"file_name": "./cats/a.png", "text": "same"}, {"file_name": "b.png", "text": "same"}], 0)
    assert captions_of(data) == (["same"], ["same"])


def test_a_limit_asks_for_the_captions_of_its_pictures_alone(tmp_path):
    written(tmp_path, {})
    part = load(f"folder:{tmp_path}", image_size=1, limit=1)
    for number in numbers(part.train) + numbers(part.held_out):
        (tmp_path / f"{number:03}.txt").write_text(f"picture {number}")
    assert_captions(load(f"folder:{tmp_path}", image_size=1, limit=1))


def assert_no_captions(data, message):
    """The pictures are there; whoever asks for captions is told why there are none."""
    assert len(data.train) and data.texts is data.held_out_texts is None
    with pytest.raises(DataError, match=message):
        captions_of(data)


def test_a_folder_without_captions(tmp_path):
    (tmp_path / "README.txt").write_text("not a caption")
    assert_no_captions(
        written(tmp_path, {}), r"has no captions: put that of picture\.png into picture\.txt beside it, or a line "
                               r'{"file_name": "cats/1\.png", "text": "a cat"} in captions\.jsonl for each picture')


@pytest.mark.parametrize(("texts", "message"), [
    ({0: b"zero"}, r"of 3 pictures 2 have no caption, or an empty one, such as '.*00[12]\.png': put its caption into"),
    ({0: b"zero", 1: b"one", 2: b" \n"}, r"of 3 pictures 1 have .* such as '.*002\.png'"),
    ({0: b"zero", 1: b"\xff", 2: b"two"}, r"captions in '.*001\.txt' cannot be read .*decode byte 0xff.*: repair"),
    ({0: b"zero", 1: b"x" * (2**20 + 1), 2: b"two"}, r"001\.txt' cannot be read .its 1048577 bytes are more than the"),
], ids=["missing", "empty", "no UTF-8", "enormous"])
def test_texts_that_are_no_captions(tmp_path, texts, message):
    assert_no_captions(written(tmp_path, texts, count=3), message)


GOOD = [{"file_name": f"00{number}.png", "text": "a"} for number in range(3)]


@pytest.mark.parametrize(("lines", "message"), [
    (GOOD[:2], r"of 3 pictures 1 have .* such as '.*002\.png': give it a line {\"file_name\": "),
    ([*GOOD[:2], {"file_name": "002.png", "text": " "}], r"or an empty one, such as '.*002\.png'"),
    ([*GOOD, GOOD[1]], r"line 4 of '.*captions\.jsonl' names '001\.png', as a line above does: keep one"),
    ([*GOOD, {"file_name": "./001.png", "text": "b"}], "line 4 .* as a line above does"),
    ([*GOOD, {"file_name": "003.png", "text": "a"}], r"line 4 .* names '003\.png', which is no picture of the folder"),
    ([*GOOD, "{"], r"line 4 .* is no caption \(Expecting .*\): expected a line such as {\"file_name\": "),
    ([*GOOD, "[" * 100_000], "line 4 .* is no caption"),
    ([*GOOD, ["001.png", "a"]], r"line 4 .* is no caption \(file_name is missing, or not a text\)"),
    ([*GOOD, {"file_name": "001.png"}], r"is no caption \(text is missing, or not a text\)"),
    ([*GOOD, {"file_name": "001.png", "text": 3}], "text is missing, or not a text"),
    ([*GOOD[:2], {"file_name": "002.png", "text": "\udcff"}], "line 3 .* is no caption .*surrogates"),
])
def test_lines_that_are_no_captions(tmp_path, lines, message):
    assert_no_captions(listed(tmp_path, lines), message)


def test_both_ways_at_once(tmp_path):
    (tmp_path / "001.txt").write_text("one")
    assert_no_captions(listed(tmp_path, GOOD), r"has captions in captions\.jsonl and in '001\.txt': keep one of both")


def test_a_file_of_captions_that_is_none(tmp_path):
    (tmp_path / "captions.jsonl").mkdir()
    assert_no_captions(written(tmp_path, {}), r"captions\.jsonl' cannot be read \(it is not a regular file\)")
    (tmp_path / "captions.jsonl").rmdir()
    (tmp_path / "captions.jsonl").write_bytes(b"\xff")
    assert_no_captions(load(f"folder:{tmp_path}"), r"captions\.jsonl' cannot be read .*can't decode byte 0xff")


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


@pytest.mark.parametrize("limit", [None, 4])
def test_unreadable_pictures_are_passed_over_if_asked(tmp_path, limit):
    """The readable ones stay in the part and in the order that they would have with all readable."""
    numbered(tmp_path, 30)
    whole = load(f"folder:{tmp_path}", image_size=8)
    kept, held_out = numbers(whole.train), numbers(whole.held_out)
    broken = kept[1], kept[20], held_out[0]
    for number in range(30):
        (tmp_path / f"{number:03}.txt").write_text(f"number {number}")
    for number in broken:
        (tmp_path / f"{number:03}.png").write_bytes(b"no picture")
    data = load(f"folder:{tmp_path}", image_size=8, limit=limit, skip_unreadable=True)
    assert numbers(data.train) == [number for number in kept if number not in broken][:limit]
    assert numbers(data.held_out) == held_out[1:]
    assert data.texts == tuple(f"number {number}" for number in numbers(data.train))
    assert len(data.skipped) == (2 if limit else 3)  # those that were met
    assert all(f"{broken[index]:03}.png' cannot be read" in sentence
               for index, sentence in zip((0, 2) if limit else (0, 1, 2), data.skipped, strict=True))
    assert whole.skipped == ()


def test_where_no_picture_of_a_part_can_be_read_it_is_an_error(tmp_path):
    numbered(tmp_path, 5)
    held_out = numbers(load(f"folder:{tmp_path}", image_size=8).held_out)
    (tmp_path / f"{held_out[0]:03}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"none of 1 pictures, to train on or to hold out, can be read: the picture "):
        load(f"folder:{tmp_path}", skip_unreadable=True)


def test_floating_point_pixels_are_refused(tmp_path):
    for name in ("a.tiff", "b.tiff"):
        Image.fromarray(np.ones((9, 9), np.float32)).save(tmp_path / name)
    with pytest.raises(DataError, match=r"[ab]\.tiff.* floating-point numbers have no agreed white"):
        load(f"folder:{tmp_path}")


@pytest.mark.parametrize("where", ["", "below", "below/link"])
def test_a_folder_that_cannot_be_read_says_so(tmp_path, monkeypatch, where):
    numbered(tmp_path, 2)
    (tmp_path / "below").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "below/link").symlink_to(tmp_path / "elsewhere")
    closed, scandir = os.path.join(tmp_path, where).rstrip("/"), os.scandir

    def guarded(path="."):
        if os.fspath(path) == closed:
            raise PermissionError(13, "Permission denied", closed)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(DataError, match=f"the folder '{closed}' cannot be read .Permission denied.: change its perm"):
        load(f"folder:{tmp_path}")


def test_a_path_that_cannot_be_followed_says_so(tmp_path, monkeypatch):
    numbered(tmp_path, 2)
    stat = os.stat

    def guarded(path, **options):
        if os.fspath(path) == os.fspath(closed):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", guarded)
    closed = tmp_path
    with pytest.raises(DataError, match=f"the folder '{tmp_path}' cannot be read .Permission denied."):
        load(f"folder:{tmp_path}")
    closed = tmp_path / "001.png"
    with pytest.raises(DataError, match=f"the picture '{closed}' cannot be read .Permission denied."):
        load(f"folder:{tmp_path}")


def test_a_picture_that_may_not_be_opened_is_named(tmp_path, monkeypatch):
    numbered(tmp_path, 2)

    def refuse(path, **options):
        raise PermissionError(13, "Permission denied", os.fspath(path))

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(DataError, match=r"the picture '.*/00.\.png' cannot be read \(.*Permission denied"):
        load(f"folder:{tmp_path}")


@pytest.mark.parametrize("name", ["a\nb\x1b[31m.png", "\u202eb\x07.png", "\udcff.png"])
def test_names_of_files_cannot_move_the_cursor(tmp_path, name):
    halves().save(tmp_path / "good.png")
    try:
        (tmp_path / name).write_bytes(b"this is text")
    except (OSError, UnicodeError):
        pytest.skip("this file system does not hold such a name")
    with pytest.raises(DataError) as caught:
        load(f"folder:{tmp_path}")
    assert str(caught.value).isprintable()
    assert repr(name)[1:-1] in str(caught.value)


def test_names_of_folders_cannot_move_the_cursor(tmp_path):
    folder = tmp_path / "a\nb\x1b[31m"
    folder.mkdir()
    with pytest.raises(DataError, match="holds no pictures") as caught:
        load(f"folder:{folder}")
    assert str(caught.value).isprintable()
    (folder / "a.x\x1b[31m").touch()
    with pytest.raises(DataError, match="passed over") as caught:
        load(f"folder:{folder}")
    assert str(caught.value).isprintable()
    numbered(folder, 2)
    assert load(f"folder:{folder}").describe().isprintable()


def png(width, height):
    """The bytes of a PNG that says it has this size, and holds one line of nothing."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "content",
    [png(10**9, 10**9), png(10_000, 10_000), b"P5 1000000000 1000000000 255\n" + bytes(99), b"P5 10000 10000 255\n"],
    ids=["png beyond the limit", "png that Pillow warns of", "ppm beyond the limit", "ppm that Pillow warns of"],
)
@pytest.mark.parametrize("warn", ["default", "ignore", "error"])
def test_a_picture_that_claims_too_many_pixels_is_named(tmp_path, content, warn):
    """Pillow warns from 89 million pixels, and raises from twice as many."""
    (tmp_path / "a.png").write_bytes(content)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter(warn)
        with pytest.raises(DataError, match=r"the picture .*a\.png.* cannot be read .*decompression bomb"):
            read_picture(tmp_path / "a.png", 8)
    assert not seen


def test_an_error_without_words_is_named_by_its_type(tmp_path, monkeypatch):
    halves().save(tmp_path / "a.png")

    def refuse(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(DataError, match=r"a\.png' cannot be read \(MemoryError\)"):
        read_picture(tmp_path / "a.png", 8)


def test_a_decompression_bomb_is_named(tmp_path, monkeypatch):
    halves().save(tmp_path / "a.png")
    halves().save(tmp_path / "b.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow raises above twice this number
    with pytest.raises(DataError, match=r"the picture .*[ab]\.png.* cannot be read .*decompression bomb"):
        load(f"folder:{tmp_path}")
