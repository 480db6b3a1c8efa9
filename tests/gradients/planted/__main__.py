"""Write docs/results/planted_mistakes.md: every planted mistake, and what `gradcheck` says about it."""

from collections import Counter
from pathlib import Path

from tests.gradients.planted import MISTAKES, judged

PAGE = Path(__file__).resolve().parents[3] / "docs/results/planted_mistakes.md"
INTRODUCTION = """# Planted mistakes

Is a wrong gradient caught, and is the mistake named? Each row below is one or two lines of the source that were
changed, one mistake at a time; then `gradcheck` ran on the operation. The changes are in
[tests/gradients/planted](../../tests/gradients/planted). This page is written by

    python -m tests.gradients.planted

| | mistakes | of all |
|---|---|---|
"""
WORDS = {"named": "named rightly", "caught": "caught, not named", "wrong": "named wrongly", "missed": "missed"}


def escaped(text):
    return " ".join(text.split()).replace("|", "\\|")


def page():
    """The page's text."""
    verdicts = [(mistake, *judged(mistake)) for mistake in MISTAKES]
    counts = Counter(verdict for _, verdict, _ in verdicts)
    lines = [INTRODUCTION.rstrip()]
    for verdict, words in WORDS.items():
        lines.append(f"| {words} | {counts[verdict]} | {counts[verdict] / len(verdicts):.1%} |")
    lines += ["", f"{len(verdicts)} mistakes in all.", "", "| operation | mistake | what `gradcheck` says |",
              "|---|---|---|"]
    for mistake, verdict, said in verdicts:
        shown = {"caught": "FAILED, without a name", "missed": "nothing"}.get(verdict, said)
        lines.append(f"| {mistake.case} | {escaped(mistake.about)} | {escaped(shown)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page())
