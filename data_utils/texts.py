"""The captions of a folder of pictures: a text beside each picture, or one file for all."""

import json
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from data_utils.errors import DataError, cause_of
from data_utils.pictures import check_file

FILE = "captions.jsonl"
LARGEST_TEXT = 2**20  # bytes of the text of one picture
FORM = f'{{"file_name": "cats/1.png", "text": "a cat"}} in {FILE}'


def read_texts(folder: Path, pictures: list[Path], parts: Iterable[Iterable[int]]) -> list[tuple[str, ...]]:
    """The captions of some pictures of a folder, without the whitespace around them: a tuple for each part.

    parts   indices into the pictures

    A picture picture.png has its caption in picture.txt beside it, as UTF-8. Or captions.jsonl in the folder has a line
    for each picture, a JSON object with its path in the folder, "file_name", and its caption, "text".

    Raises DataError for pictures without a caption, captions in both ways, files that cannot be read, and for lines of
    captions.jsonl that are no such object, name no picture, or name one twice.
    """
    chosen = [[pictures[index] for index in part] for part in parts]
    wanted = [picture for part in chosen for picture in part]
    beside = {picture: text for picture in wanted if os.path.exists(text := picture.with_suffix(".txt"))}
    if os.path.exists(folder / FILE):
        if beside:
            text = next(iter(beside.values()))
            raise DataError(f"the folder {str(folder)!r} has captions in {FILE} and in {text.name!r}: keep one of both")
        found, advice = _read_lines(folder, pictures), f"give it a line {FORM}"
    else:
        found = {picture: _read(text, LARGEST_TEXT).strip() for picture, text in beside.items()}
        advice = "put its caption into a .txt of the same name beside it"
        if not found:
            raise DataError(f"the folder {str(folder)!r} has no captions: put that of picture.png into picture.txt "
                            f"beside it, or a line {FORM} for each picture")
    if without := [picture for picture in wanted if not found.get(picture)]:
        raise DataError(f"of {len(wanted)} pictures {len(without)} have no caption, or an empty one, such as "
                        f"{str(without[0])!r}: {advice}")
    return [tuple(found[picture] for picture in part) for part in chosen]


def _read_lines(folder: Path, pictures: list[Path]) -> dict[Path, str]:
    """picture -> caption, as captions.jsonl says them."""
    known = {picture.relative_to(folder).as_posix(): picture for picture in pictures}
    found = {}
    for number, line in enumerate(_read(folder / FILE).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"line {number} of {str(folder / FILE)!r}"
        try:
            name, text = _entry(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is no caption ({cause_of(error)}): expected a line such as {FORM}") from error
        if name not in known:
            raise DataError(f"{where} names {name!r}, which is no picture of the folder: correct it or take it away")
        if known[name] in found:
            raise DataError(f"{where} names {name!r}, as a line above does: keep one of them")
        found[known[name]] = text
    return found


def _entry(entry: object) -> tuple[str, str]:
    """The path and the caption of a line's object. Raises ValueError where they are missing."""
    for key in ("file_name", "text"):
        if not isinstance(entry, dict) or not isinstance(entry.get(key), str):
            raise ValueError(f"{key} is missing, or not a text")
    entry["text"].encode()  # JSON can write half of a surrogate pair, which is no character
    return PurePosixPath(entry["file_name"]).as_posix(), entry["text"].strip()


def _read(path: Path, *most: int) -> str:
    try:
        check_file(path, *most)
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"the captions in {str(path)!r} cannot be read ({cause_of(error)}): repair or remove them"
                        ) from error
