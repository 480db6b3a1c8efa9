"""The web site: Sphinx's settings, and the few things that it does differently from GitHub with the same Markdown.

    python docs/pages.py site

Formulas become SVG when the site is built (ziamath). Fonts are the system's, and search is Sphinx's own: no page needs
a network. MkDocs and its Material theme are no longer maintained; Sphinx, MyST and Furo are.
"""

import re
from html import escape
from pathlib import Path

import ziamath
from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename

DOCS = Path(__file__).parent
ROOT = DOCS.parent

project = "Autoencoders from scratch"
html_title = project
root_doc = "README"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_site", "**.ipynb", "pictures/*.py"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
html_math_renderer = "svg"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
pygments_style, pygments_dark_style = "friendly", "monokai"

INLINE_MATH = re.compile(r"\$`([^`]+)`\$")
PICTURE = re.compile(
    r'<picture>\s*<source [^>]*srcset="([^"]+)"[^>]*>\s*<img alt="([^"]*)" src="([^"]+)"[^>]*>\s*</picture>')
TO_SOURCE = re.compile(
    r"\[([^\]]*)\]\(((?:\.\./)+)((?:scratch|torch_ref|data_utils|tests)[\w./-]*|[\w.-]+)(?:#[^)\s]*)?\)")
FENCED = re.compile(r"(^```.*?^```$)", flags=re.M | re.S)
SHOWN = (".py", ".txt", ".toml", ".json")


def linked_files():
    """The files and folders of the project that pages link to, as paths from its root."""
    return {(page.parent / (up + path)).resolve().relative_to(ROOT).as_posix()
            for page in DOCS.rglob("*.md") for _, up, path in TO_SOURCE.findall(page.read_text(encoding="utf-8"))}


def as_site(text, page):
    """GitHub's Markdown of a page as MyST's: formulas, pictures for light and dark, and links to files of the code."""

    def picture(match):
        dark, alternative, light = match.groups()
        return "\n".join(f"```{{image}} {file}\n:class: only-{scheme}\n:alt: {alternative}\n```\n"
                         for file, scheme in ((light, "light"), (dark, "dark")))

    def link(match):
        words, up, path = match.groups()
        target = (DOCS / page).parent / (up + path)
        name = target.resolve().relative_to(ROOT).as_posix()
        if name.startswith("docs/"):
            return match[0]
        if name == "README.md":
            return f"[{words}]({'../' * page.count('/')}README.md)"
        words = re.sub(r"`([^`]+)`", lambda span: f"<code>{escape(span[1])}</code>", words)
        depth = "../" * page.count("/")
        return f'<a href="{depth}source/{name or "index"}.html">{words}</a>'

    parts = FENCED.split(text)
    for number, part in enumerate(parts):
        if number % 2 == 0:
            part = PICTURE.sub(picture, part)
            part = TO_SOURCE.sub(link, part)
            parts[number] = INLINE_MATH.sub(r"{math}`\1`", part)
        elif part.startswith("```math\n"):
            parts[number] = part.replace("```math", "```{math}", 1)
    return "".join(parts)


def read_source(app, page, content):
    """Sphinx's event: the text of a page before it is parsed. The first page gets the table of contents."""
    text = as_site(content[0], page)
    if page == root_doc:
        for heading, below in re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", content[0], flags=re.M):
            linked = [path for path in re.findall(r"\]\(([\w/.]+)\.md\)", below) if not path.startswith("..")]
            entries = "\n".join(dict.fromkeys(linked))
            if entries:
                text += f"\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{entries}\n```\n"
    content[0] = text


def typeset(latex, inline):
    """A formula as SVG in the colour of the text around it. Its source is its description for who cannot see it."""
    formula = ziamath.Latex(latex, size=17, inline=inline, color="currentColor")
    return formula.svg().replace("<svg ", f'<svg role="img" aria-label="{escape(latex)}" style="vertical-align:'
                                 f'{formula.getyofst():.1f}px" ', 1)


def show_formula(writer, node):
    """A formula within a line."""
    writer.body.append(f'<span class="formula">{typeset(node.astext(), inline=True)}</span>')
    raise nodes.SkipNode


def show_formula_on_its_own(writer, node):
    """A formula as a block."""
    writer.body.append(f'<div class="formula">{typeset(node.astext(), inline=False)}</div>')
    raise nodes.SkipNode


def source_pages(app):
    """Sphinx's event: a page for every file of the code, and for every folder; of the tests, for those that are linked.
    """
    linked = linked_files()
    formatter = HtmlFormatter(cssclass="highlight", linenos=False, anchorlinenos=True, lineanchors="L")
    for room in ("scratch", "torch_ref", "data_utils", "tests"):
        for path in sorted([ROOT / room, *(ROOT / room).rglob("*")]):
            name = path.relative_to(ROOT).as_posix()
            if "__pycache__" in name or (room == "tests" and name not in linked):
                continue
            if path.is_dir():
                inside = [child for child in sorted(path.iterdir()) if child.is_dir() or child.suffix in SHOWN]
                if room == "tests":
                    inside = [child for child in inside if child.relative_to(ROOT).as_posix() in linked]
                items = "".join(f'<li><a href="{path.name}/{child.name}.html">{child.name}</a></li>' for child in inside
                                if child.name != "__pycache__")
                body = f"<ul>{items}</ul>"
            elif path.suffix in SHOWN and path.stat().st_size < 200_000:
                text = path.read_text(encoding="utf-8")
                code = highlight(text, get_lexer_for_filename(path.name), formatter)
                body = f'<div class="highlight-default">{code}</div>'
            else:
                continue
            yield f"source/{name}", {"title": name, "body": f"<h1>{escape(name)}</h1>{body}"}, "page.html"


def setup(app):
    """Sphinx's door."""
    app.connect("source-read", read_source)
    app.connect("html-collect-pages", source_pages)
    app.add_html_math_renderer("svg", (show_formula, None), (show_formula_on_its_own, None))
