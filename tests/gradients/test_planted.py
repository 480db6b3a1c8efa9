"""Every planted mistake is caught, nine of ten are named, and none is named wrongly."""

from collections import Counter

import numpy as np
import pytest

from scratch.gradcheck.cases import CASES
from scratch.gradcheck.table import run_case
from tests.gradients.planted import MISTAKES, judged, planted

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
