"""The pages of docs/ from one source. A page is Markdown as GitHub shows it; three kinds of its blocks are made here:

    <!-- lines: scratch/layers/linear.py Linear.forward -->
    ```python ... ```          below such a comment is cut out of that file
    ```python ... ```          any other python block is run, page by page, in one namespace
    ```text ... ```            a text block below such a block is what it printed

`refresh` writes all three anew, so that a page cannot drift from the code. `notebook` makes a Jupyter notebook of it.

    python docs/pages.py                refresh all pages, pictures and notebooks
    python docs/pages.py site           the same pages as a web site in docs/_site
    python docs/pages.py pages | pictures | notebooks           one of them
"""

import ast
import contextlib
import importlib
import io
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np

DOCS = Path(__file__).parent
ROOT = DOCS.parent
LINES = re.compile(r"<!-- lines: (\S+)((?: [\w.]+)+) -->")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n", flags=re.M | re.S)
INLINE_MATH = re.compile(r"\$`([^`]+)`\$")
PICTURE = re.compile(r"<picture>.*?</picture>", flags=re.S)
NEEDS = ("This notebook is made of a page of the [lessons](../../README.md). It needs the project: `pip install -e .` "
         "in a clone. In Colab, bring the clone along first, then run `%pip install -e FOLDER`.")
NOTEBOOKS = ("2_convolution", "4_vae", "5_vqvae", "7_dvae")


def all_pages():
    """Every Markdown page of docs/."""
    return [page for page in sorted(DOCS.rglob("*.md")) if "_site" not in page.parts]


def source_of(path, name):
    """The lines of a function, class or method (`Linear.forward`) of a file, without its docstring, from column 0.

    Raises ValueError if the file defines no such name.
    """
    text = (ROOT / path).read_text(encoding="utf-8")
    node = ast.parse(text)
    for part in name.split("."):
        found = [child for child in node.body
                 if isinstance(child, ast.FunctionDef | ast.ClassDef) and child.name == part]
        if not found:
            raise ValueError(f"{path} defines no {name}: mend the line <!-- lines: ... --> of the page")
        node = found[0]
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    lines = text.splitlines()
    kept = lines[first - 1 : node.end_lineno]
    if ast.get_docstring(node, clean=False) is not None:
        string = node.body[0]
        kept = lines[first - 1 : string.lineno - 1] + lines[string.end_lineno : node.end_lineno]
    return textwrap.dedent("\n".join(kept)).strip("\n")


def blocks(text):
    """The page as a list of (kind, text): "prose", "lines" (cut out of a file), "code" (run), "output" or "fence" (any
    other block between ```). Joined, the texts are the page.
    """
    found, at, previous = [], 0, None
    for fence in FENCE.finditer(text):
        between = text[at : fence.start()]
        if between:
            found.append(("prose", between))
        language = fence[1]
        if LINES.search(between.rstrip().rpartition("\n")[2]):
            kind = "lines"
        elif language == "python":
            kind = "code"
        elif language == "text" and previous == "code" and not between.strip():
            kind = "output"
        else:
            kind = "fence"
        found.append((kind, fence[0]))
        previous, at = kind, fence.end()
    if text[at:]:
        found.append(("prose", text[at:]))
    return found


def inside(block):
    """The text between the two fences."""
    return FENCE.match(block)[2]


def refresh(text, run=True):
    """The page with its source lines cut out anew and, with `run`, its code run and what it prints put below it."""
    parts, namespace, printed, options = [], {"__name__": "page"}, None, {}
    for kind, block in blocks(text):
        if printed is not None and kind != "output" and block.strip():
            if printed:
                parts.append(f"\n```text\n{printed}```\n")
            printed = None
        if kind == "lines":
            path, names = LINES.findall(parts[-1])[-1]
            block = "```python\n" + "\n\n".join(source_of(path, name) for name in names.split()) + "\n```\n"
        elif kind == "code" and run:
            with contextlib.redirect_stdout(io.StringIO()) as out, np.printoptions(**options):
                exec(compile(inside(block), "<code of the page>", "exec"), namespace)
                options = np.get_printoptions()  # those that the page sets last for the rest of the page alone
            printed = "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())
        elif kind == "output" and run:
            block, printed = (f"```text\n{printed}```\n" if printed else ""), None
        parts.append(block)
    if printed:
        parts.append(f"\n```text\n{printed}```\n")
    return "".join(parts)


def drawn_pictures():
    """{name of the SVG file: the function that draws it}, of all files of docs/pictures."""
    found = {}
    for path in sorted((DOCS / "pictures").glob("*.py")):
        if path.stem != "style":
            module = importlib.import_module(f"docs.pictures.{path.stem}")
            for name, function in vars(module).items():
                if getattr(function, "is_picture", False):
                    found[name] = function
    return found


def notebook(text):
    """The page as an nbformat notebook, not yet run. Code that is run becomes code, everything else becomes text."""
    import nbformat.v4

    cells, prose = [nbformat.v4.new_markdown_cell(NEEDS)], []

    def close():
        markdown = "".join(prose).strip()
        prose.clear()
        if markdown:
            cells.append(nbformat.v4.new_markdown_cell(markdown))

    for kind, block in blocks(text):
        if kind == "code":
            close()
            cells.append(nbformat.v4.new_code_cell(inside(block).rstrip("\n")))
        elif kind == "fence" and block.startswith("```math\n"):
            prose.append(f"$$\n{inside(block)}$$\n")
        elif kind != "output":
            at = 0
            for picture in PICTURE.finditer(block):
                prose.append(block[at : picture.start()])
                close()
                file = re.search(r'<img [^>]*src="([^"]+)"', picture[0])[1]
                cells.append(nbformat.v4.new_code_cell(f'from IPython.display import SVG\n\nSVG("../{file}")'))
                at = picture.end()
            prose.append(block[at:])
    close()
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
        if cell.cell_type == "markdown":
            cell.source = INLINE_MATH.sub(r"$\1$", re.sub(r"<!--.*?-->\n?", "", cell.source, flags=re.S))
            if cell.source != NEEDS:  # a notebook lies one folder deeper than its page
                cell.source = re.sub(r"\]\((?![a-z]+:|#)", "](../", cell.source)
    return nbformat.v4.new_notebook(cells=cells, metadata={
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    })


def run_notebook(book, folder):
    """Run all cells in `folder` and keep what they give. Raises nbclient's CellExecutionError if one fails."""
    from nbclient import NotebookClient

    NotebookClient(book, resources={"metadata": {"path": str(folder)}}, record_timing=False,
                   coalesce_streams=True).execute(env={**os.environ, "PYTHONPATH": str(ROOT)})
    for cell in book.cells:
        cell.metadata.clear()
    book.metadata["language_info"] = {"name": "python"}  # without the version of the Python that ran it
    return book


def write_pages():
    """Refresh every page that is out of date."""
    for page in all_pages():
        text = page.read_text(encoding="utf-8")
        fresh = refresh(text)
        if fresh != text:
            page.write_text(fresh, encoding="utf-8")
            print("refreshed", page.relative_to(ROOT))


def write_pictures():
    """Draw every picture, for light and for dark pages."""
    from docs.pictures.style import save

    for name, function in drawn_pictures().items():
        save(function, DOCS / "pictures" / name)


def write_notebooks():
    """Make the notebooks and run them."""
    import nbformat

    folder = DOCS / "lessons" / "notebooks"
    folder.mkdir(exist_ok=True)
    for name in NOTEBOOKS:
        book = notebook((DOCS / "lessons" / f"{name}.md").read_text(encoding="utf-8"))
        nbformat.write(run_notebook(book, folder), folder / f"{name}.ipynb")


def write_site():
    """Build the site. Raises CalledProcessError if Sphinx warns of anything."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(DOCS / "_site")]
    subprocess.run(command, check=True)
    print("open", (DOCS / "_site" / "README.html").relative_to(ROOT))


def main(arguments):
    """Make what the command line names."""
    makers = {"pages": write_pages, "pictures": write_pictures, "notebooks": write_notebooks, "site": write_site}
    if unknown := [name for name in arguments if name not in makers]:
        sys.exit(f"expected {', '.join(makers)}, not {unknown[0]}")
    for name in arguments or ("pages", "pictures", "notebooks"):
        makers[name]()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(sys.argv[1:])
