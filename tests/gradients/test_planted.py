"""Every planted mistake is caught, nine of ten are named, and none is named wrongly."""

import re
from collections import Counter

import numpy as np
import pytest

from scratch.gradcheck.cases import CASES
from scratch.gradcheck.table import run_case
from tests.gradients.planted import MISTAKES, judged, planted
from tests.gradients.planted.__main__ import PAGE, escaped

VERDICTS = {}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_planted_mistake_is_caught_and_not_named_wrongly(mistake):
    with np.errstate(all="ignore"):
        VERDICTS[mistake], said = judged(mistake)
    assert VERDICTS[mistake] in ("named", "caught"), said


def test_nine_of_ten_are_named():
    missing = [mistake for mistake in MISTAKES if mistake not in VERDICTS]
    for mistake in missing[:20] if len(missing) < len(MISTAKES) else missing:
        with np.errstate(all="ignore"):
            VERDICTS[mistake], _ = judged(mistake)
    counts = Counter(VERDICTS.values())
    assert counts["named"] >= 0.9 * sum(counts.values()), counts


def test_the_mistakes_are_many_and_over_all_kinds_of_operations():
    assert len(MISTAKES) == len(set(MISTAKES)) >= 150
    checked = {mistake.case for mistake in MISTAKES}
    left = {case.name for case in CASES} - checked
    assert not {name for name in left if not name.startswith("Accelerated")} - {
        "conv_transpose2d_definition", "Shift", "FreeBitsBottleneck", "ReversedVectorQuantizer"}


def test_a_planted_mistake_is_gone_afterwards():
    mistake = MISTAKES[0]
    with planted(mistake):
        assert not all(row.ok for case in CASES if case.name == mistake.case for row in run_case(case))
    assert all(row.ok for case in CASES if case.name == mistake.case for row in run_case(case))


def test_the_page_of_results_has_every_mistake():
    text = PAGE.read_text(encoding="utf-8")
    assert f"{len(MISTAKES)} mistakes in all." in text and "| missed | 0 |" in text and "| named wrongly | 0 |" in text
    assert all(f"| {mistake.case} | {escaped(mistake.about)} |" in text for mistake in MISTAKES)
    named = re.search(r"\| named rightly \| (\d+) \|", text)[1]
    said = (PAGE.parent / "README.md").read_text(encoding="utf-8")
    assert f"each of {len(MISTAKES)} [planted mistakes](planted_mistakes.md) and named {named} of them" in said
