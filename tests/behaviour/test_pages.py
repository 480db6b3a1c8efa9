"""The pages of docs/ show the code as it is and what it prints, and their pictures, notebooks and site come of them."""

import contextlib
import io
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import matplotlib
import pytest

from docs import pages
from docs.pictures import style

LESSONS = sorted((pages.DOCS / "lessons").glob("[1-9]*_*.md"), key=lambda page: int(page.name.partition("_")[0]))
ROOMS = ["The question", "A picture", "Worked by hand", "The derivation", "The project's own lines", "Break it",
         "The exercise", "What to read next"]
MATHEMATICS = re.compile(r"\$`[^`]+`\$|^```math\n.*?^```$", flags=re.M | re.S)


def name_of(page):
    return page.relative_to(pages.DOCS).as_posix()


@pytest.mark.parametrize("page", pages.all_pages(), ids=name_of)
def test_a_page_shows_the_code_as_it_is_and_what_it_prints(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert pages.refresh(text) == text, "run: python docs/pages.py pages"


def test_a_page_that_is_out_of_date_is_refreshed():
    """The source lines, what the code prints, and an output that is no longer printed."""
    text = ("<!-- lines: scratch/layers/shift.py Shift.backward -->\n"
            "```python\nold\n```\n\n"
            "```python\nprint(1 + 1)\n```\n\n"
            "```text\n3\n```\n\n```python\nx = 5\n```\n\n```python\nprint(x)\n```\nend\n")
    fresh = pages.refresh(text)
    assert "def backward(self, dy):" in fresh and "old" not in fresh
    assert "print(1 + 1)\n```\n\n```text\n2\n```\n" in fresh
    assert fresh.endswith("```python\nprint(x)\n```\n\n```text\n5\n```\nend\n")
    assert pages.refresh(fresh) == fresh
    with pytest.raises(ValueError, match=r"defines no Shift\.forwards"):
        pages.source_of("scratch/layers/shift.py", "Shift.forwards")


@pytest.mark.parametrize("page", LESSONS, ids=name_of)
def test_a_lesson_has_its_rooms(page):
    text = page.read_text(encoding="utf-8")
    assert re.match(rf"# Lesson {page.name.partition('_')[0]}: ", text)
    assert re.findall(r"^## (.+)$", text, flags=re.M) == ROOMS
    assert {kind for kind, _ in pages.blocks(text)} >= {"lines", "code", "output"}
    assert MATHEMATICS.search(text) and pages.PICTURE.search(text)
    assert "python -m scratch learn start" in text


@pytest.mark.parametrize("page", pages.all_pages(), ids=name_of)
def test_every_formula_can_be_typeset(page):
    ziamath = pytest.importorskip("ziamath", reason="ziamath typesets the formulas of the site")
    text = page.read_text(encoding="utf-8")
    for formula in MATHEMATICS.findall(text):
        latex = formula.removeprefix("$`").removesuffix("`$").removeprefix("```math\n").removesuffix("```")
        svg = ziamath.Latex(latex.strip()).svg()
        drawn = ElementTree.fromstring(svg)
        assert "\\" not in "".join(drawn.itertext()), latex
        lines = latex.count(r"\\") + 1
        assert float(drawn.get("height")) < 200 * lines, rf"write \Big( ... \Big), not \left( ... \right): {latex}"
        assert r"\operatorname*" not in latex, r"write \arg\min: the site's typesetter does not know \operatorname*"
    rest = re.sub(r"^```.*?^```$|`[^`\n]*`|^ {4}.*$", "", MATHEMATICS.sub("", text), flags=re.M | re.S)
    assert "$" not in rest, "a formula is written $`...`$, or as a block ```math"


def test_every_picture_of_the_pages_is_drawn_by_the_code_and_shown():
    shown = set()
    for page in (pages.ROOT / "README.md", *pages.all_pages()):
        text = page.read_text(encoding="utf-8")
        for picture in pages.PICTURE.findall(text):
            dark, light = re.search(r'srcset="([^"]+)"', picture)[1], re.search(r' src="([^"]+)"', picture)[1]
            assert len(re.search(r'alt="([^"]*)"', picture)[1]) > 20, f"{page}: describe the picture in alt"
            assert dark == light.removesuffix(".svg") + "-dark.svg"
            for file in (dark, light):
                assert (page.parent / file).is_file(), f"{page}: {file}"
            shown.add(Path(light).stem)
    assert shown == set(pages.drawn_pictures())


def same_drawing(svg, other):
    """Do two SVGs have the same elements, with nearly all of their points in the same places? Rounding moves some of
    the points that a picture measures, and Matplotlib leaves out points on a straight line."""
    tags, numbers = (
        [re.findall(pattern, text) for text in (svg, other)] for pattern in (r"<(\w+)", r"-?\d+\.\d+"))
    counts = [len(found) for found in numbers]
    if tags[0] != tags[1] or max(counts) > 1.02 * min(counts):
        return False
    if counts[0] != counts[1]:
        return True
    apart = [abs(float(a) - float(b)) for a, b in zip(*numbers, strict=True)]
    return sum(distance > 0.5 for distance in apart) <= 0.01 * len(apart)


def test_another_drawing_is_noticed():
    svg = "".join(f'<path d="M {i}.5 {2 * i}.25"/>' for i in range(50))
    assert same_drawing(svg, svg.replace("M 7.5", "M 7.6"))
    assert not same_drawing(svg, svg.replace("path", "use", 1))
    assert not same_drawing(svg, svg.replace(".25", ".95"))
    assert not same_drawing(svg, svg.replace("/>", ' x="0.5"/>', 5))


@pytest.mark.parametrize("name", pages.drawn_pictures())
def test_a_picture_draws_for_light_and_dark_pages(name, tmp_path):
    style.save(pages.drawn_pictures()[name], tmp_path / name)
    for ending in ("", "-dark"):
        drawn, committed = tmp_path / f"{name}{ending}.svg", pages.DOCS / "pictures" / f"{name}{ending}.svg"
        size = ElementTree.parse(drawn).getroot().get("viewBox")
        assert size == ElementTree.parse(committed).getroot().get("viewBox"), "run: python docs/pages.py pictures"
        now, then = (path.read_text(encoding="utf-8") for path in (drawn, committed))
        if f"Matplotlib v{matplotlib.__version__}," in then:  # another version draws in another way
            assert same_drawing(now, then), "run: python docs/pages.py pictures"


@pytest.mark.parametrize("name", pages.NOTEBOOKS)
def test_a_notebook_is_its_page_and_runs(name):
    nbformat = pytest.importorskip("nbformat", reason="notebooks need nbformat")
    pytest.importorskip("nbclient", reason="nbclient runs the notebooks")
    folder = pages.DOCS / "lessons" / "notebooks"
    committed = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    book = pages.notebook((pages.DOCS / "lessons" / f"{name}.md").read_text(encoding="utf-8"))
    assert [(cell.cell_type, cell.source) for cell in book.cells] == [
        (cell.cell_type, cell.source) for cell in committed.cells], "run: python docs/pages.py notebooks"

    def printed(cells):
        return ["".join(output.text for output in cell.outputs if output.output_type == "stream")
                for cell in cells if cell.cell_type == "code"]

    pages.run_notebook(book, folder)
    assert printed(book.cells) == printed(committed.cells)


class Targets(HTMLParser):
    """The targets of a page's links and pictures, and its anchors."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], {""}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[key] for key in ("href", "src") if attributes.get(key)]
        self.anchors |= {attributes[key] for key in ("id", "name") if attributes.get(key)}


def test_the_site_builds_without_a_warning_and_its_links_lead_somewhere(tmp_path):
    pytest.importorskip("furo", reason="the site needs the packages of requirements.txt")
    from sphinx.cmd.build import build_main

    with contextlib.redirect_stderr(io.StringIO()) as errors:
        status = build_main(["-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "doctrees"),
                             str(pages.DOCS), str(tmp_path / "site")])
    assert status == 0, errors.getvalue()
    built = {path: Targets(path.read_text(encoding="utf-8")) for path in (tmp_path / "site").rglob("*.html")
             if "source" not in path.parts}  # files of the code hold no links of their own
    assert {f"{page.relative_to(pages.DOCS).with_suffix('')}.html" for page in pages.all_pages()} <= {
        path.relative_to(tmp_path / "site").as_posix() for path in built}
    broken = []
    for path, page in built.items():
        for link in page.links:
            if re.match(r"[a-z]+:|//", link):
                assert not link.startswith("http://"), (path.name, link)
                continue
            file, _, anchor = unquote(link).partition("#")
            target = (path.parent / file.partition("?")[0]).resolve() if file else path
            if not target.exists() or (target in built and anchor not in built[target].anchors):
                broken.append((path.relative_to(tmp_path / "site").as_posix(), link))
    assert not broken
    pages_text = "".join(path.read_text(encoding="utf-8") for path in built)
    assert "```" not in re.sub(r"<pre.*?</pre>", "", pages_text, flags=re.S)
    assert not re.search(r'(?:src|href)="(?:https?:)?//[^"]*\.(?:js|css|woff2?)"', pages_text)  # no network
