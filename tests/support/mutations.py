"""Files made wrong at random: what tests/cli/test_fuzz.py gives to every command.

A mutation takes the content of a file, as bytes, and a random.Random. It returns (what it did, in a few words; the
content to write, or a Special that takes the file's place). The same generator gives the same mutation.
"""

import copy
import io
import json
import os
import re
import socket
import struct
import zipfile
from dataclasses import dataclass

import numpy as np
from PIL import Image

VALUES = [
    None, True, False, -1, 0, 1, 2, 7, 1000, 2**31 - 1, 2**31, 2**63 - 1, 2**64, 10**30, -(10**30), 10**400,
    1.5, -0.0, 1e-320, 1e38, 1e308, float("nan"), float("inf"), float("-inf"),
    "", "x", "16", "nan", "None", "\x1b[31m\n\r\u202e$x^{", "\ud800", "a" * 5000, "../..", "-x", "linear:1:1:1e400",
    "linear:0:1:5", "exponential:1:1e-300:3", "float64", "gpu", "gpu:7", "torch_ref", "vqvae", "shapes:pill", "mnist",
    "folder:nowhere", "kmeans", "bernoulli", "logit_laplace", "mlp", "linear", "ema", "sgd", "gaussian:0.3",
    [], [1], [1, "x"], [[1]], [3, 3, 3, 3], {}, {"a": 1},
]
DTYPES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
          "U8": 1, "U64": 8, "BOOL": 1, "C64": 8, "X9": 4, "": 4}
NUMBERS = [float("nan"), float("inf"), float("-inf"), 1e38, -1e38, 3e19, 1e10, -1.0, 0.0, 1e-45, 1e4]
INTEGERS = [-1, 0, 1, 7, 8, 2**31, 2**62, -(2**63)]
SPARSE = 2**36  # bytes that a file claims and the disk does not hold


@dataclass(frozen=True)
class Special:
    """What is no file of the usual kind."""

    kind: str

    def put(self, path):
        """Make it at `path`, where nothing is."""
        match self.kind:
            case "named pipe":
                os.mkfifo(path)
            case "folder":
                path.mkdir()
            case "socket":
                with socket.socket(socket.AF_UNIX) as listener:
                    listener.bind(os.path.relpath(path))  # a socket's name has at most 108 bytes
            case "link to /dev/zero" | "link to /dev/null":
                path.symlink_to(self.kind.removeprefix("link to "))
            case "link to nothing":
                path.symlink_to("nothing here")
            case "link to itself":
                path.symlink_to(path.name)
            case "sparse file":
                with open(path, "wb") as file:
                    file.truncate(SPARSE)
            case "nothing":
                pass


SPECIALS = [Special(kind) for kind in (
    "named pipe", "folder", "socket", "link to /dev/zero", "link to /dev/null", "link to nothing", "link to itself",
    "sparse file", "nothing")]


def put(path, content):
    """Write what a mutation returned in the place of a file."""
    path.unlink(missing_ok=True)
    if isinstance(content, Special):
        content.put(path)
    else:
        path.write_bytes(content)


# --- any file ---------------------------------------------------------------------------------------------------------


def special(content, rng):
    """Another kind of thing in the file's place, or none."""
    chosen = rng.choice(SPECIALS)
    return chosen.kind, chosen


def random_bytes(content, rng):
    """Bits turned, bytes overwritten, taken out, put in or cut off."""
    if not content:
        return "random bytes", rng.randbytes(50)
    data, at = bytearray(content), rng.randrange(len(content))
    length = rng.choice([1, 1, 2, 8, 64])
    match what := rng.choice(["bits", "bits", "bytes", "removed", "inserted", "cut", "empty", "zeros", "repeated"]):
        case "bits":
            for _ in range(rng.choice([1, 1, 3, 20])):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case "bytes":
            data[at : at + length] = rng.randbytes(length)
        case "removed":
            del data[at : at + length]
        case "inserted":
            data[at:at] = rng.randbytes(length)
        case "cut":
            del data[at:]
        case "empty":
            data.clear()
        case "zeros":
            data[at:] = bytes(len(data) - at)
        case "repeated":
            data += data[at:]
    return f"{what} at {at}", bytes(data)


# --- JSON -------------------------------------------------------------------------------------------------------------


def places(value, where=()):
    """Where each entry of a JSON value stands, as a tuple of keys."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*where, key)
        yield from places(entry, (*where, key))


def wrong_value(value, rng):
    """Another value in the place of one: of another kind, or a little off."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and rng.random() < 0.4:
        return rng.choice([value + 1, value - 1, -value, value * 2, value / 3, float(value), str(value), [value]])
    if isinstance(value, str) and rng.random() < 0.3:
        return rng.choice([value + " ", value[:-1], value.upper(), value + "\0", f"{value}:1", [value]])
    if isinstance(value, list) and rng.random() < 0.5:
        return rng.choice([value[:-1], value * 2, [*value, None], list(reversed(value)), value * 3000])
    return copy.deepcopy(rng.choice(VALUES))


def changed_json(value, rng):
    """(what, a copy of a JSON value with one entry taken out, added or replaced)."""
    value = copy.deepcopy(value)
    found = list(places(value))
    if not found or rng.random() < 0.03:
        return "the whole", copy.deepcopy(rng.choice(VALUES))
    where = rng.choice(found)
    inner = value
    for key in where[:-1]:
        inner = inner[key]
    name = ".".join(map(str, where))
    match rng.choice(["replaced", "replaced", "replaced", "replaced", "removed", "added"]):
        case "removed":
            del inner[where[-1]]
            return f"{name} removed", value
        case "added":
            if isinstance(inner, list):
                inner.insert(0, rng.choice(VALUES))
            else:
                inner[rng.choice(["new", "a\x1b\n$", "", "x" * 5000, f"{where[-1]}s"])] = rng.choice(VALUES)
            return f"beside {name} one added", value
    inner[where[-1]] = wrong_value(inner[where[-1]], rng)
    return f"{name} = {json.dumps(inner[where[-1]])[:60]}", value


def odd_text(text, rng):
    """(what, JSON text as no writer leaves it)."""
    return rng.choice([
        ("a byte order mark", b"\xef\xbb\xbf" + text.encode()),
        ("UTF-16", text.encode("utf-16")),
        ("many levels", b"[" * 100000),
        ("levels inside", b'{"a":' * 30 + b"1" + b"}" * 30),
        ("many digits", re.sub(r"\d+", "9" * 5000, text, count=1).encode()),
        ("an exponent", re.sub(r"\d+", "1e999", text, count=1).encode()),
        ("a comma too many", text.replace("}", ",}", 1).encode()),
        ("a key twice", text.replace("{", '{"epoch": "x", "program": 3, ', 1).encode()),
        ("text behind it", (text + "{}").encode()),
        ("no UTF-8", text.encode().replace(b'"', b'"\xff', 1)),
        ("another program's", b'{"name": "another program", "list": [1, 2]}'),
        ("blank", b" \n\n "),
    ])


def of_json(content, rng):
    """A file of JSON with one field, or its text, changed."""
    if rng.random() < 0.12:
        return odd_text(content.decode(), rng)
    what, value = changed_json(json.loads(content), rng)
    return what, json.dumps(value).encode()


def of_lines(content, rng):
    """A file of JSON lines with a line, or the order of the lines, changed."""
    lines = content.decode().splitlines()
    number = rng.randrange(len(lines))
    match rng.choice(["field", "field", "field", "text", "removed", "repeated", "reversed", "cut", "blank"]):
        case "field":
            what, value = changed_json(json.loads(lines[number]), rng)
            lines[number] = json.dumps(value)
        case "text":
            what, text = odd_text(lines[number], rng)
            return what, b"\n".join([*(line.encode() for line in lines[:number]), text, b""])
        case "removed":
            what = f"line {number} removed"
            del lines[number]
        case "repeated":
            what = f"line {number} repeated"
            lines.append(lines[number])
        case "reversed":
            what = "lines reversed"
            lines.reverse()
        case "cut":
            return "the last line cut", content[: -rng.randrange(1, 9)]
        case "blank":
            what = "a blank line"
            lines.insert(number, "")
    return what, "".join(f"{line}\n" for line in lines).encode()


# --- safetensors ------------------------------------------------------------------------------------------------------


def read_tensors(content):
    """({name: [dtype, shape, bytes]}, metadata) of a safetensors file that is whole."""
    (size,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    metadata = header.pop("__metadata__", {})
    return {name: [entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])]]
            for name, entry in header.items()}, metadata


def header_and_data(tensors, metadata):
    """(header, bytes behind it) of a safetensors file."""
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    return header, data


def with_header(header, data):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def of_safetensors(content, rng):
    """A safetensors file with its header, its metadata, or a tensor's name, dtype, shape or numbers changed."""
    tensors, metadata = read_tensors(content)
    kinds = ["header", "length", "values", "values", "dtype", "tensor", "tensor"]
    if metadata:
        kinds += ["metadata"] * 7
    match rng.choice(kinds):
        case "header":
            header, data = header_and_data(tensors, metadata)
            what, header = changed_json(header, rng)
            return f"header: {what}", with_header(header, data)
        case "length":
            length = rng.choice([0, 1, 2, 2**31, 2**32, 2**63, 2**64 - 1, len(content), len(content) - 8])
            return f"header of {length} bytes", struct.pack("<Q", length) + content[8:]
        case "metadata":
            what = changed_metadata(metadata, rng)
        case "values":
            what = changed_values(tensors, rng)
        case "dtype":
            name, dtype = rng.choice(list(tensors)), rng.choice(list(DTYPES))
            shape = tensors[name][1]
            tensors[name] = [dtype, shape, rng.randbytes(DTYPES[dtype] * int(np.prod(shape)))]
            what = f"{name} is {dtype}"
        case "tensor":
            what = changed_tensors(tensors, rng)
    return what, with_header(*header_and_data(tensors, metadata))


def changed_metadata(metadata, rng):
    """Change the metadata in place: mostly a field of the JSON that it holds."""
    key = rng.choice(list(metadata))
    if key == "format" or rng.random() < 0.1:
        metadata[key] = rng.choice(["", "x", "{", "[]", "null", "[" * 5000, "\ud800", "\x1b", "9" * 5000])
        return f"{key}: {metadata[key][:9]!r}"
    what, value = changed_json(json.loads(metadata[key]), rng)
    metadata[key] = json.dumps(value)
    return f"{key}: {what}"


def changed_values(tensors, rng):
    """Change some or all numbers of a tensor in place."""
    name = rng.choice(list(tensors))
    dtype, shape, data = tensors[name]
    array = np.frombuffer(data, {"F32": "<f4", "F64": "<f8"}.get(dtype, "<i8")).copy()
    wrong = rng.choice(NUMBERS if dtype[0] == "F" else INTEGERS)
    if array.dtype == np.float64 and rng.random() < 0.3:
        wrong = 1e300
    where = slice(None) if rng.random() < 0.4 else rng.randrange(array.size) if array.size else slice(None)
    array[where] = wrong
    tensors[name] = [dtype, shape, array.tobytes()]
    return f"{name}[{'all' if isinstance(where, slice) else where}] = {wrong}"


def changed_tensors(tensors, rng):
    """Take a tensor out, add one, rename, reshape or exchange it, in place."""
    name, other = rng.choice(list(tensors)), rng.choice(list(tensors))
    dtype, shape, data = tensors[name]
    match what := rng.choice(["removed", "added", "renamed", "reshaped", "exchanged", "no numbers", "all removed"]):
        case "removed":
            del tensors[name]
        case "added":
            tensors[rng.choice(["new", "model.new", "optimizer.x", "counts.", "counts.9", "a\x1b\n", ".", ""])] = [
                dtype, shape, data]
        case "renamed":
            tensors[rng.choice([f"{name} ", name.upper(), "x" * 5000, "\x1b\n$"])] = tensors.pop(name)
        case "reshaped":
            flat = len(data) // max(1, DTYPES[dtype])
            tensors[name][1] = rng.choice([[flat], [*shape, 1], [1, *shape], list(reversed(shape))])
        case "exchanged":
            tensors[name], tensors[other] = tensors[other], tensors[name]
        case "no numbers":
            tensors[name] = [dtype, [0, *shape[1:]], b""]
        case "all removed":
            tensors.clear()
    return f"{name} {what}"


# --- latents ----------------------------------------------------------------------------------------------------------


def entries_of(content):
    """{name: bytes} of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(entries, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def of_latents(content, rng):
    """A .npz of latents with its archive, `about`, or an array changed."""
    entries = entries_of(content)
    name = rng.choice([name for name in entries if name != "about.npy"])
    array = np.load(io.BytesIO(entries[name]))
    method = zipfile.ZIP_DEFLATED
    match what := rng.choice(["about", "about", "about", "array", "array", "array", "entry", "archive", "inside"]):
        case "about":
            told, value = changed_json(json.loads(str(np.load(io.BytesIO(entries["about.npy"])))), rng)
            what = f"about: {told}"
            text = json.dumps(value)
            entries["about.npy"] = npy(np.array(rng.choice([text, text, text, text.encode(), [text], {"x": 1}])))
        case "array":
            told, array = changed_array(array, rng)
            entries[name], what = npy(array), f"{name}: {told}"
        case "entry":
            what = changed_entries(entries, name, rng)
        case "archive":
            method = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
            what = f"compression {method}"
            if rng.random() < 0.5:
                return f"{what}, encrypted", encrypted(archive_of(entries, method))
        case "inside":  # the .npy file itself, in an archive that is whole
            what, entries[name] = random_bytes(entries[name], rng)
            what = f"{name}: {what}"
    return what, archive_of(entries, method)


def changed_array(array, rng):
    """(what, an array of latents with other numbers, another dtype or another shape)."""
    number = np.array(rng.choice(NUMBERS if array.dtype.kind == "f" else [0, 7, 8, 255]), array.dtype)
    filled = array.copy()
    filled[rng.randrange(len(array))] = number
    other = rng.choice(["f2", "f8", ">f4", "u1", "u2", "i8", "?", "c8", "M8[s]", "U3", "V4", "i4,f4", "O"])
    return rng.choice([
        (f"a {number}", filled), (f"all {number}", np.full_like(array, number)), ("one row less", array[:-1]),
        ("one row", array[:1]), ("no rows", array[:0]), ("twice the rows", np.concatenate([array, array])),
        ("one column less", array[..., :-1]), ("flat", array.reshape(-1)), ("an axis more", array[None]),
        ("a scalar", array.reshape(-1)[0]), ("Fortran", np.asfortranarray(array)),
        (other, np.zeros(array.shape, other)),
    ])


def changed_entries(entries, name, rng):
    """Take an entry out, add one or rename it, in place."""
    match what := rng.choice(["removed", "added", "renamed", "no about", "no .npy", "gigabytes"]):
        case "removed":
            del entries[name]
        case "added":
            entries[rng.choice(["new.npy", "../x.npy", "\x1b\n.npy", "x", ".npy"])] = entries[name]
        case "renamed":
            entries[rng.choice([name.upper(), f"{name}.npy", "a" * 300])] = entries.pop(name)
        case "no about":
            del entries["about.npy"]
        case "no .npy":
            entries[name] = rng.choice([
                b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff", b"\x93NUMPY\x09\x00", b"x" * 99])
        case "gigabytes":
            shape = rng.choice(["(99999999999,)", "(2, 99999999999)", "(-1,)", "(1.5,)", "'x'", "((1,),)"])
            text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
            entries[name] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n"
    return f"{name} {what}"


def encrypted(content):
    """An archive whose entries say that they are encrypted."""
    data = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(signature, at + 4)
    return bytes(data)


# --- pictures ---------------------------------------------------------------------------------------------------------


def picture(rng, size=(9, 12), mode="RGB", form="PNG"):
    """The bytes of a picture of noise."""
    pixels = np.frombuffer(rng.randbytes(size[0] * size[1] * 3), np.uint8).reshape(*size, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, form)
    return buffer.getvalue()


def of_picture(content, rng):
    """A picture of another format, of far too many pixels, or none."""
    mode, form = rng.choice([("RGB", "BMP"), ("P", "GIF"), ("L", "TIFF"), ("RGBA", "PNG"), ("1", "PNG"),
                             ("CMYK", "JPEG"), ("I;16", "PNG"), ("F", "TIFF"), ("RGB", "PPM"), ("RGB", "WEBP"),
                             ("RGB", "ICO")])
    huge = bytearray(picture(rng))
    huge[16:24] = struct.pack(">II", *rng.choice([(100000, 100000), (2**31 - 1, 1), (0, 0), (1, 2**31 - 1)]))
    return rng.choice([
        (f"{form} {mode}", picture(rng, (9, 12), mode, form) if mode != "I;16" else sixteen_bits(rng)),
        ("huge", bytes(huge)), ("one pixel", picture(rng, (1, 1))), ("a line", picture(rng, (1, 300))),
        ("text", b"no picture at all"), ("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        ("PDF", b"%PDF-1.4\n"), ("SVG", b"<svg/>"),
    ])


def sixteen_bits(rng):
    buffer = io.BytesIO()
    Image.fromarray(np.frombuffer(rng.randbytes(216), np.uint16).reshape(9, 12)).save(buffer, "PNG")
    return buffer.getvalue()


def of_folder(folder, rng):
    """Change a folder of pictures in place; what was done, in words."""
    match what := rng.choice(["loop", "linked", "twice", "names", "pipe", "empty", "one", "hidden", "not one"]):
        case "loop":
            (folder / "loop").symlink_to(".")
            (folder / "up").symlink_to("..")
        case "linked":
            (folder / "linked").symlink_to(folder.parent / "run")
        case "twice":
            (folder / "again.png").symlink_to("0.png")
        case "names":
            content = (folder / "0.png").read_bytes()
            for name in ("a\x1b[31m\n.png", "$x^{.png", "-x.png", "b" * 250 + ".png", b"\xff.png".decode("utf-8",
                         "surrogateescape"), "no suffix", "PNG.PnG"):
                put(folder / name, rng.choice([content, b"no picture"]))
        case "pipe":
            os.mkfifo(folder / "pipe.png")
            (folder / "zero.png").symlink_to("/dev/zero")
            (folder / "folder.png").mkdir()
            (folder / "gone.png").symlink_to("nowhere.png")
        case "empty" | "one":
            for path in sorted(folder.iterdir())[what == "one":]:
                path.unlink()
        case "hidden":
            for path in sorted(folder.iterdir()):
                path.rename(folder / f".{path.name}")
        case "not one":
            for path in sorted(folder.iterdir()):
                path.unlink()
            folder.rmdir()
            rng.choice(SPECIALS).put(folder)
    return what


# --- captions ---------------------------------------------------------------------------------------------------------


def of_text(content, rng):
    """The caption of a picture: another text, or one that a caption can hardly be."""
    return rng.choice([
        ("blank", b" \n\t "), ("long words", b"x" * 100_000), ("many words", b"word " * 20_000),
        ("UTF-16", content.decode().encode("utf-16")), ("a byte order mark", b"\xef\xbb\xbf" + content),
        ("no UTF-8", b"\xff" + content), ("NUL", content + b"\0"), ("steering", b"\x1b[31m\r\n" + content),
        ("many letters", "".join(map(chr, range(32, 3000))).encode()), ("not English", "\u202eé→\U0001f600".encode()),
        ("shorter", content[:3]), ("longer", content * 2), ("dollars", b"$x^{ \\frac"), ("a letter", b"x"),
    ])


def of_captions(content, rng):
    """A captions.jsonl with a line, or the caption in a line, changed."""
    if rng.random() < 0.5:
        return of_lines(content, rng)
    lines = [json.loads(line) for line in content.decode().splitlines()]
    entry = rng.choice(lines)
    what, changed = of_text(entry["text"].encode(), rng)
    entry["text"] = changed.decode(errors=rng.choice(["replace", "surrogateescape"]))
    return what, "".join(f"{json.dumps(line)}\n" for line in lines).encode()


BY_NAME = {  # what else than any file can be made of these
    "config.json": of_json, "evaluation.json": of_json, "sweep.json": of_json,
    "metrics.jsonl": of_lines, "steps.jsonl": of_lines,
    "checkpoint.safetensors": of_safetensors, "resume.safetensors": of_safetensors,
    "codes.npz": of_latents, "picture": of_picture, "caption": of_text, "captions.jsonl": of_captions,
}


def mutate(name, content, rng):
    """(what, new content) of a file of this name: mostly one of its own mutations, else one of any file's."""
    chance = rng.random()
    if chance < 0.08:
        return special(content, rng)
    if chance < 0.25 or name not in BY_NAME:
        return random_bytes(content, rng)
    return BY_NAME[name](content, rng)
