"""README.md and docs/ name what exists: every link, anchor, file, command and option shown there."""

import re
from pathlib import Path

import pytest

from scratch.__main__ import build_parser as scratch_parser
from torch_ref.__main__ import build_parser as torch_ref_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ROOMS = ("scratch", "torch_ref", "data_utils", "tests")
TO_BE_WRITTEN = {"docs/gpu_speed.md"}  # by `torch_ref speeds --device gpu`, where there is a GPU
PARSERS = {"scratch": scratch_parser, "torch_ref": torch_ref_parser}

LINK = re.compile(r"\]\(([^()\s]+)\)")
EXTERNAL = re.compile(r"[a-z]+:")
IN_A_ROOM = re.compile(rf"(?<![\w/.-])(?:{'|'.join(ROOMS)})/[\w./-]*\w")
PYTHON_FILE = re.compile(r"(?<![\w/.-])[\w/]*\w\.py\b")
NAMED_LINK = re.compile(r"\[`([\w./]+)`\]\(([^()\s#]+)\)")
COMMAND = re.compile(r"python\s+-m\s+(scratch|torch_ref)\s+([a-z]+)([^`\n]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def prose(text):
    """The text without code blocks and code spans, in which brackets are mathematics."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    text = re.sub(r"(?:(?<=\n\n)|\A)(?: {4}.*\n|\n(?= {4}))+", "", text)
    return re.sub(r"`[^`]*`", "", text)


def links(text):
    """The targets of the links and pictures that stay within the repository."""
    return [target for target in LINK.findall(prose(text)) if not EXTERNAL.match(target)]


def anchors(text):
    """The anchors that GitHub gives to a page's headings; the second of two equal headings ends in -1."""
    found = []
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), flags=re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        count = sum(re.fullmatch(re.escape(slug) + r"(-\d+)?", other) is not None for other in found)
        found.append(f"{slug}-{count}" if slug in found else slug)
    return found


def broken_links(page, text):
    """The links whose file, or whose heading in that file, does not exist."""
    broken = []
    for target in links(text):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if path and not file.exists():
            broken.append(target)
        elif anchor and anchor not in anchors(text if file == page else file.read_text(encoding="utf-8")):
            broken.append(target)
    return broken


def missing_paths(text):
    """Paths such as scratch/layers/conv.py, and names of Python files, that do not exist."""
    files = ["/" + path.relative_to(ROOT).as_posix() for room in (*ROOMS, "docs")
             for path in (ROOT / room).rglob("*.py")]
    missing = [path for path in IN_A_ROOM.findall(text) if not (ROOT / path).exists()]
    missing += [name for name in PYTHON_FILE.findall(text)
                if not any(file.endswith(f"/{name.removeprefix('/')}") for file in files)]
    return sorted(set(missing))


def misnamed_links(text):
    """Links such as [`conv.py`](../scratch/layers/patches.py), which lead to another file than the one they name."""
    return [name for name, target in NAMED_LINK.findall(text)
            if not f"/{target}".rstrip("/").endswith(f"/{name}".rstrip("/"))]


def commands(text):
    """(program, command, options) of each command line shown."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^```.*$", "", text, flags=re.M))
    joined = re.sub(r"`[^`]+`", lambda span: span[0].replace("\n", " "), joined)
    return [(program, command, OPTION.findall(rest)) for program, command, rest in COMMAND.findall(joined)]


def unknown_commands(text, capsys):
    """Command lines whose command does not exist, or does not list an option that is shown."""
    unknown = []
    for program, command, options in commands(text):
        try:
            PARSERS[program]().parse_args([command, "--help"])
        except SystemExit:
            known = set(OPTION.findall(capsys.readouterr().out))
            unknown += [f"{program} {command} {option}" for option in options if option not in known]
        except ValueError:
            unknown.append(f"{program} {command}")
    return unknown


def name_of(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    assert links(text) or name_of(page) == "docs/reference/options.md"  # which a command prints
    assert broken_links(page, text) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    assert missing_paths(text) == []
    assert misnamed_links(text) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_and_option_that_a_page_shows_exists(page, capsys):
    assert unknown_commands(page.read_text(encoding="utf-8"), capsys) == []


def test_every_page_that_the_code_names_exists():
    named = {page for room in ROOMS for path in (ROOT / room).rglob("*.py")
             for page in re.findall(r"docs/[\w/]+\.md", path.read_text(encoding="utf-8"))}
    assert named
    assert [page for page in sorted(named - TO_BE_WRITTEN) if not (ROOT / page).is_file()] == []


def test_every_page_of_docs_is_reached_from_the_readme():
    reached, open_pages = set(), [ROOT / "README.md"]
    while open_pages:
        page = open_pages.pop()
        if page not in reached:
            reached.add(page)
            targets = (target.partition("#")[0] for target in links(page.read_text(encoding="utf-8")))
            open_pages += [(page.parent / path).resolve() for path in targets if path.endswith(".md")]
    assert set(map(name_of, PAGES)) <= set(map(name_of, reached))


def test_what_is_broken_is_found(capsys):
    """The checks above, on a page that is wrong in every way."""
    page = ROOT / "docs" / "a_page_that_is_not_written.md"
    text = ("# A heading: of `code`\n\n# Twice\n\n# Twice\n\n"
            "[right](gpu.md), [too](#a-heading-of-code), [and](#twice-1), [and](https://example.org/nowhere.md)\n"
            "![no picture](nothing.png), [no page](nothing.md), [no heading](gpu.md#nothing), [nor](#twice-2)\n\n"
            "`scratch/losses.py`, losses.py and `layers/conv.py` exist, `scratch/nothing` and `nothing.py` do not.\n\n"
            "[`conv.py`](../scratch/layers/patches.py) leads to another file, [`gpu.md`](gpu.md) does not.\n\n"
            "    pₖ [k = j](nothing)      in a formula\n"
            "    python -m scratch train vae --beta 1 \\\n        --nothing 2\n\n"
            "`python -m scratch nothing` and `python -m\ntorch_ref compare ae --speed --nought`\n")
    assert broken_links(page, text) == ["nothing.png", "nothing.md", "gpu.md#nothing", "#twice-2"]
    assert missing_paths(text) == ["nothing.py", "scratch/nothing"]
    assert misnamed_links(text) == ["conv.py"]
    unknown = ["scratch train --nothing", "scratch nothing", "torch_ref compare --nought"]
    assert unknown_commands(text, capsys) == unknown
