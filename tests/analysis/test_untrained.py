"""A generator whose images are hardly closer to real ones than noise has no verdict, and does not weaken the others."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from bench.analysis.comparison import Comparison, Scored, compared
from bench.analysis.differences import accuracies
from bench.analysis.info import FoldSize, ReportInfo
from bench.analysis.lines import _family
from bench.analysis.quality import Quality, share_of_noise, untrained
from bench.analysis.report import Records
from bench.analysis.rows import Score
from bench.report.content import Table
from bench.report.sections.leaderboard import word
from bench.report.sections.quality import sections
from bench.suite.arms import Arm

NONE, GAN, FLOW = Arm("none"), Arm("gan", "1"), Arm("flow", "1")
INFO = ReportInfo(
    suite="s",
    dataset="d",
    classes=("a", "b"),
    methods=("none", "gan", "flow", "noise"),
    generative=("gan", "flow", "noise"),
    classifiers=("c",),
    ratios=("1",),
    folds=tuple(FoldSize(fold, 0, 40, 10, 10) for fold in range(5)),
)


def quality(**kid: tuple[float, ...]) -> tuple[Quality, ...]:
    """Return a record of each method with these KIDs by pair."""
    return tuple(Quality(m, "lite0", {"synthetic/test/kid": Score.of(values)}) for m, values in kid.items())


MEASURED = quality(gan=(9.0, 11.0), flow=(1.0, 2.0), noise=(20.0, 30.0))


def test_a_generator_near_noise_is_untrained() -> None:
    assert share_of_noise("gan", MEASURED) == {"lite0": pytest.approx(10 / 25)}
    assert untrained(MEASURED, INFO.generative) == {"gan": pytest.approx(0.4)}
    assert untrained(quality(gan=(5.0,), noise=(25.0,)), INFO.generative) == {}  # exactly one fifth
    assert untrained(quality(gan=(9.0,)), INFO.generative) == {}  # no noise to compare with
    assert untrained((), INFO.generative) == {}
    other = (*MEASURED, *(replace(q, extractor="inception") for q in quality(gan=(1.0,), noise=(25.0,))))
    assert untrained(other, INFO.generative) == {}  # trained by one of two extractors


def test_the_real_baseline_is_the_zero_of_the_scale() -> None:
    """Real images of other patients have a KID of 2 here: 7 is a quarter of the way from them to noise."""
    baseline = {"real_baseline/test/kid": Score.of((1.0, 3.0))}
    found = tuple(replace(q, scores={**q.scores, **baseline}) for q in quality(gan=(6.0, 8.0), noise=(20.0, 24.0)))
    assert share_of_noise("gan", found) == {"lite0": pytest.approx((7 - 2) / (22 - 2))}
    assert untrained(found, INFO.generative) == {"gan": pytest.approx(0.25)}
    nearer = (replace(found[0], scores={**found[0].scores, "synthetic/test/kid": Score.of([5.0])}), found[1])
    assert untrained(nearer, INFO.generative) == {}  # 5 is more than a fifth of 22, and less above 2


def comparisons(info: ReportInfo, classifier: str = "c") -> list[Comparison]:
    """Return the comparisons of two arms that are 20 points better in every fold."""
    scored = {
        NONE: Scored({(f, 0): 0.60 + 0.001 * f for f in range(5)}),
        GAN: Scored({(f, 0): 0.80 + 0.002 * f for f in range(5)}),
        FLOW: Scored({(f, 0): 0.80 + 0.003 * f for f in range(5)}),
    }
    return compared(scored, [(GAN, NONE), (FLOW, NONE)], info, "auroc", classifier, "f", 0.02)


def test_an_untrained_arm_has_no_verdict() -> None:
    assert [c.verdict.word for c in comparisons(INFO)] == ["helps", "helps"]
    info = replace(INFO, untrained=untrained(MEASURED, INFO.generative))
    gan, flow = (c.verdict for c in comparisons(info))
    assert (gan.word, flow.word) == ("undecided", "helps")
    assert (word(gan), word(flow)) == ("not compared", "**helps**")
    assert gan.withheld == (
        "Not compared: gan is untrained, the excess KID of its images is 40 % of that of noise; "
        "train it for more steps."
    )
    assert flow.withheld == ""
    assert gan.difference == comparisons(INFO)[0].verdict.difference  # what was measured stays
    assert [c.verdict.word for c in comparisons(info, classifier="")] == ["helps", "helps"]  # images are compared


def test_untrained_arms_are_a_family_of_their_own() -> None:
    info = replace(INFO, untrained={"gan": 0.4})
    assert _family(GAN, info) != _family(FLOW, info) == _family(FLOW, INFO) == _family(GAN, INFO)


def test_the_report_shows_the_share_of_noise() -> None:
    (section,) = sections(Records(quality=MEASURED), INFO)
    (table,) = (b for b in section.blocks if isinstance(b, Table))
    assert list(table.frame["Excess KID / noise"]) == ["40.0 %", "6.0 %", "100.0 %"]


def test_questions_leave_out_the_accuracy_of_untrained_arms() -> None:
    lines: list[Any] = [SimpleNamespace(classifier="c", arm=arm, scored=lambda _: Scored({})) for arm in (GAN, FLOW)]
    assert list(accuracies(lines, "c", INFO)) == [GAN, FLOW]
    assert list(accuracies(lines, "c", replace(INFO, untrained={"gan": 0.4}))) == [FLOW]
