"""`report`: a page that stands alone, says what there is, and lets no name through unescaped."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from scratch.figures.page import Section, escaped, page
from tests.cli.test_errors import assert_one_sentence
from tests.support.command_line import MODELS, SMALL, read_metrics

VOID = {"meta", "img", "br", "link"}
LOADING = re.compile(r'(?:src|href|url\()\s*[="(]*\s*(?!#|data:image/png;base64,)["\']?([\w:/.]+)', re.I)


class Reader(HTMLParser):
    """The tags of a page, checked to be closed in order, its text, and the addresses that it would load."""

    def __init__(self, content):
        super().__init__()
        self.open, self.tags, self.words, self.loaded = [], [], [], []
        self.feed(content)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loaded += [value for name, value in attributes if name in ("src", "href", "xlink:href")
                        and not value.startswith(("#", "data:image/png;base64,"))]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def read(path):
    content = Path(path).read_text(encoding="utf-8")
    assert "@import" not in content and not re.search(r"url\((?!#)", content)
    return Reader(content)


@pytest.mark.parametrize("model", MODELS)
def test_a_page_of_one_run(scratch, trained, model):
    folder = trained(model)
    result = scratch("report", folder, "--limit", 30)
    assert result.status == 0 and result.out == f"wrote {model}/report.html\n", result.err
    found = read(f"{model}/report.html")
    assert not found.loaded and "script" not in found.tags
    for words in (f"Report of {model}", "PSNR", "in place of every reconstruction", "every option", "Conv2d",
                  f"python -m scratch train {model}", "held-out images, and what the model makes of them"):
        assert words in found.text
    assert ("codes are in use" in found.text) == (model in ("vqvae", "vqvae2", "dvae"))
    assert ("units are active" in found.text) == (model == "vae")
    assert found.tags.count("img") >= 2 and found.tags.count("svg") >= 1


def test_a_page_of_two_runs_compares_them(scratch, trained):
    one, other = trained("ae"), trained("vae")
    assert scratch("report", one, other, "--limit", 30, "--out", "both.html").status == 0
    found = read("both.html")
    assert "2 runs beside each other" in found.text and "The same held-out images of shapes" in found.text
    for folder in (one, other):
        assert f"{read_metrics(folder)[-1]['held_out_psnr']:.2f} dB" in found.text


def test_names_are_text(scratch, trained):
    odd = "<b onload=x>&'\"$x^{\x1b[31m"
    Path(trained("ae")).rename(odd)
    assert scratch("report", odd, trained("vae"), "--limit", 30, "--out", "o.html").status == 0
    found = read("o.html")
    assert "b" not in found.tags and escaped(odd) == "&lt;b onload=x&gt;&amp;&#x27;&quot;$x^{\\x1b[31m"
    assert "<b onload=x>&'\"$x^{\\x1b[31m" in found.text


def test_a_run_whose_images_are_not_there_has_a_page_without_them(scratch):
    from PIL import Image

    Path("pictures").mkdir()
    for number in range(20):
        Image.new("RGB", (16, 16), (10 * number, 99, 200)).save(f"pictures/{number}.png")
    options = [*SMALL, *MODELS["ae"], "--epochs", 1, "--data", "folder:pictures", "--out", "run"]
    assert scratch("train", "ae", *options).status == 0
    Path("pictures").rename("elsewhere")
    assert scratch("report", "run").status == 0
    found = read("run/report.html")
    assert "Without pictures and measures: there is no folder 'pictures'" in found.text
    assert found.tags.count("img") == 0 and found.tags.count("svg") == 1


def test_a_report_does_not_replace_a_file_of_a_run(scratch, trained):
    folder = trained("ae")
    assert_one_sentence(scratch("report", folder, "--out", f"{folder}/config.json"), "choose another name")
    assert_one_sentence(scratch("report", "nowhere"), "config.json")


def test_cells_and_lines_of_a_page_are_escaped():
    section = Section("a < b", anchor="one")
    section.text("1 < 2 & 3")
    section.table(["name", "number"], [["<i>", "1,234"], ["b", "−∞ dB"]])
    section.folded("more", "x < y\n\x07")
    found = page("<title>", "<sub>", [section])
    assert "i" not in Reader(found).tags and "x &lt; y\n\\x07" in found and "<th class=number>" in found
