"""A page about runs: numbers and pictures in, one self-contained file of HTML out.

The page needs no network: pictures and styles stand in it. It follows the reader's light or dark setting and fits a
phone. Every name and value is escaped, since those of files and folders may be anything.
"""

import base64
import html
import io
import re
from dataclasses import dataclass, field

from data_utils import printable
from scratch.arrays import unwarned
from scratch.figures.pictures import png
from scratch.figures.text import any_letter

STYLE = """
:root { color-scheme: light dark; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; background: Canvas; color: CanvasText;
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.6rem 0 .4rem; }
p { margin: .3rem 0 .8rem; } .faint, figcaption { opacity: .7; font-size: .9rem; }
.wide { overflow-x: auto; } figure { margin: 1.2rem 0; }
figure svg, figure img { max-width: 100%; height: auto; display: block; }
figure svg { min-width: 30rem; }
figure img { background: #ffffff; border-radius: 4px; padding: 4px; }
table { border-collapse: collapse; font-size: .9rem; } th, td { padding: .25rem .9rem .25rem 0; text-align: left;
  border-bottom: 1px solid color-mix(in srgb, CanvasText 20%, Canvas); vertical-align: top; overflow-wrap: normal; }
th { font-weight: 600; } td:first-child { overflow-wrap: anywhere; min-width: 8rem; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
pre { background: color-mix(in srgb, CanvasText 6%, Canvas); padding: .8rem; border-radius: 4px; overflow-x: auto;
  font-size: .8rem; line-height: 1.35; }
details { margin: .8rem 0; } summary { cursor: pointer; }
"""


@dataclass
class Section:
    """A part of a page: its heading, and what stands below it, in order; `add` methods make it."""

    heading: str
    parts: list = field(default_factory=list)
    anchor: str = ""

    def text(self, sentence, style=""):
        self.parts.append(f'<p class="{style}">{escaped(sentence)}</p>' if style else f"<p>{escaped(sentence)}</p>")

    def table(self, headings, rows):
        """Rows of cells, each a text, or a number that stands on the right as it is written."""
        cells = [headings, *rows]
        right = [all(is_number(row[column]) for row in rows) for column in range(len(headings))]
        lines = []
        for number, row in enumerate(cells):
            tag = "td" if number else "th"
            lines.append("<tr>" + "".join(
                f'<{tag}{" class=number" if right[column] else ""}>{escaped(cell)}</{tag}>'
                for column, cell in enumerate(row)) + "</tr>")
        self.parts.append(f'<div class="wide"><table>{"".join(lines)}</table></div>')

    def drawing(self, figure, caption):
        """A Matplotlib figure of lines and text, as vectors in the colours of the page."""
        self.parts.append(f'<figure><div class="wide">{svg(figure, f"{self.anchor}{len(self.parts)}")}</div>'
                          f"<figcaption>{escaped(caption)}</figcaption></figure>")

    def picture(self, figure, caption):
        """A Matplotlib figure of images, as PNG on white."""
        data = base64.b64encode(png(figure)).decode()
        self.parts.append(f'<figure><img alt="{escaped(caption)}" src="data:image/png;base64,{data}">'
                          f"<figcaption>{escaped(caption)}</figcaption></figure>")

    def folded(self, title, content):
        """Text in lines of equal width, which opens at a click."""
        self.parts.append(f"<details><summary>{escaped(title)}</summary><pre>{lines_of(content)}</pre></details>")


def page(title, subtitle, sections):
    """The whole page as text."""
    body = [f"<h1>{escaped(title)}</h1>", f'<p class="faint">{escaped(subtitle)}</p>']
    if len(sections) > 1:
        links = " · ".join(f'<a href="#{one.anchor}">{escaped(one.heading)}</a>' for one in sections)
        body.append(f"<p>{links}</p>")
    for one in sections:
        body += [f'<h2 id="{one.anchor}">{escaped(one.heading)}</h2>', *one.parts]
    return (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" '
            f'content="width=device-width, initial-scale=1">\n<title>{escaped(title)}</title>\n<style>{STYLE}</style>\n'
            f"</head>\n<body>\n{chr(10).join(body)}\n</body>\n</html>\n")


def escaped(value):
    """A name or value as text of HTML, its control characters made visible."""
    return html.escape(printable(value))


def lines_of(content):
    """Text of several lines as HTML."""
    return "\n".join(map(escaped, content.split("\n")))


def is_number(cell):
    """Does a cell hold a number, or nothing?"""
    return cell == "" or re.match(r"[-+−]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?( dB)?$|−?∞( dB)?$", str(cell)) is not None


def svg(figure, name):
    """A figure as an <svg> element: black becomes the colour of the page's text, and nothing stands behind it. `name`
    keeps its parts apart from those of the page's other figures."""
    import matplotlib  # only where something is drawn, see canvas.py

    buffer = io.StringIO()
    style = {"svg.hashsalt": name, "svg.fonttype": "none", "svg.id": name}
    style = {key: value for key, value in style.items() if key in matplotlib.rcParams}
    with any_letter(), unwarned(), matplotlib.rc_context(style):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg"):]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.S)
    drawn = drawn.replace("#000000", "currentColor").replace("#ffffff", "Canvas")
    drawn = re.sub(r'(<text(?![^>]*fill:)[^>]*style=")', r"\1fill: currentColor; ", drawn)
    drawn = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", drawn)
    return drawn
