"""What a rating study says of each source, and that a stray rater does not take agreement away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from report_text import shown
from report_text import text as section_text
from statsmodels.stats.inter_rater import fleiss_kappa as reference

from bench.analysis.info import ReportInfo
from bench.analysis.raters import RatingStudy, analysed
from bench.report.sections import raters as rater_section
from bench.report.sections.raters import agreement_table, by_rater_table
from bench.stats.agreement import icc_two_way_random
from bench.stats.clustered import clustered_wilson
from bench.stats.inference import wilson
from bench.store.ratings import REAL, Answer, Study, StudyImage

RATERS = ("ann", "bob", "cleo")
PER = 10
INFO = ReportInfo("toy", "phantom", ("benign", "malignant"), ("cyclegan",), ("cyclegan",), (), (), ())
AnswersBy = dict[tuple[str, str], Answer]


def study(repeats: int | None = 0) -> Study:
    """Ten real images and ten of one method."""
    images = [StudyImage(f"{s[0]}{i}", s, "benign", 0, 0, "", "", "") for s in (REAL, "cyclegan") for i in range(PER)]
    return Study("s", "toy", "phantom", 0, PER, 8, (REAL, "cyclegan"), tuple(images), repeats)


def marked() -> tuple[np.ndarray, np.ndarray]:
    """Return verdicts, bool [20, 3], and marks, [20, 3], of the images in the study's order, somewhat agreeing."""
    rng = np.random.default_rng(0)
    leaning = np.repeat([0.6, -0.4], PER)[:, None] + rng.normal(size=(2 * PER, 1))
    said = leaning + rng.normal(0, 0.8, size=(2 * PER, 3))
    return said > 0, np.clip(np.rint(2.5 + said + [0, 0.5, -0.5]), 0, 5).astype(int)


def answers(verdicts: np.ndarray, marks: np.ndarray) -> AnswersBy:
    found = {}
    for k, rater in enumerate(RATERS):
        for i, image in enumerate(study().images):
            at = "2026-01-01T00:00:00+00:00"
            found[rater, image.id] = Answer(rater, image.id, bool(verdicts[i, k]), int(marks[i, k]), 1.0, at)
    return found


def stray(given: AnswersBy, said: bool = True) -> AnswersBy:
    """Add one answer under a mistyped name."""
    return {**given, ("amn", "r0"): replace(given["ann", "r0"], rater="amn", real=said)}


def kappas(found: RatingStudy) -> Mapping[str, float]:
    return {s.source: s.agreement.kappa for s in (*found.sources, found.whole)}


def test_agreement_of_every_source_and_of_all() -> None:
    verdicts, marks = marked()
    found = analysed(study(), answers(verdicts, marks))
    parts = {REAL: slice(PER), "cyclegan": slice(PER, None), "all images": slice(None)}
    for source in (*found.sources, found.whole):
        part, a = parts[source.source], source.agreement
        said = verdicts[part].sum(axis=1)
        assert a.kappa == pytest.approx(reference(np.stack([said, 3 - said], axis=1)))
        assert (a.icc_single, a.icc_mean) == icc_two_way_random(marks[part])
        assert (a.kappa_images, a.icc_images) == (len(said), len(said))
        assert (a.kappa_undefined, a.icc_undefined) == ("", "")
        taken = source.taken_for_real
        assert (taken.hits, taken.n) == (said.sum(), 3 * len(said))
        assert (taken.low, taken.high) == clustered_wilson(said, [3] * len(said))
    low, high = wilson(int(verdicts.sum()), 60)
    taken = found.whole.taken_for_real
    assert taken.high - taken.low > 1.2 * (high - low)  # they agree, so that their answers are worth fewer
    real, made = found.sources
    assert (real.right, made.right.hits) == (real.taken_for_real, made.taken_for_real.n - made.taken_for_real.hits)
    assert made.right.low == pytest.approx(1 - made.taken_for_real.high)
    assert found.whole.right.hits == real.right.hits + made.right.hits
    assert made.against_real_low < made.against_real < made.against_real_high < 0
    assert np.isnan([real.against_real, found.whole.against_real]).all()


def test_a_stray_rater_leaves_agreement_as_it_was() -> None:
    """Three raters of 20 images, and one answer under a fourth name: about the same kappa, the same ICC."""
    verdicts, marks = marked()
    before = analysed(study(), answers(verdicts, marks))
    for said in (True, False):
        after = analysed(study(), stray(answers(verdicts, marks), said))
        for source, kappa in kappas(before).items():
            assert kappas(after)[source] == pytest.approx(kappa, abs=0.1)
        assert kappas(after)["cyclegan"] == kappas(before)["cyclegan"]  # it rated a real one
        for a, b in zip((*after.sources, after.whole), (*before.sources, before.whole), strict=True):
            assert replace(a.agreement, kappa=0) == replace(b.agreement, kappa=0)
    # by hand: r0 has four answers, the others three
    counts = np.stack([verdicts.sum(axis=1), 3 - verdicts.sum(axis=1)], axis=1).astype(float)
    counts[0] += (0, 1)
    m, p = counts.sum(axis=1), counts[:, 0].sum() / 61
    within = 2 * (counts[:, 0] * counts[:, 1] / m).sum()
    assert kappas(after)["all images"] == pytest.approx(1 - within / ((m - 1).sum() * 2 * p * (1 - p)))
    text = section_text(rater_section, INFO, raters=(after,))
    assert "of the 20 images that rater 1, rater 2 and rater 3 rated" in text
    assert "Excluded from the ICC because they rated less than half of the study: rater 4 (1 of 20)." in text
    assert "ICC(2,3)" in text
    assert "nan" not in text


def test_half_of_the_study_is_enough() -> None:
    given = answers(*marked())
    for kept, raters in ((10, 3), (9, 2)):
        some = {(r, i): a for (r, i), a in given.items() if r != "cleo" or i in [f"r{n}" for n in range(kept)]}
        found = analysed(study(), some)
        assert len(found.icc_raters) == raters
        assert found.whole.agreement.icc_images == (10 if raters == 3 else 20)
        made = found.sources[1].agreement
        assert (made.icc_undefined, made.icc_images) == (
            ("fewer than 2 images rated by all", 0) if raters == 3 else ("", 10)
        )


def test_undefined_is_said_and_no_nan() -> None:
    verdicts, marks = marked()
    verdicts[PER:], marks[PER:] = False, 3
    found = analysed(study(), answers(verdicts, marks))
    made = found.sources[1]
    assert (made.agreement.kappa_undefined, made.agreement.icc_undefined) == ("all said fake", "all marks alike")
    assert np.isfinite(found.whole.agreement.kappa)
    assert (made.right.value, made.right.high) == (1, 1)
    assert made.right.low == pytest.approx(wilson(PER, PER)[0])  # ten images, not thirty answers
    verdicts[:PER] = True
    found = analysed(study(), answers(verdicts, marks))
    assert found.sources[0].agreement.kappa_undefined == "all said real"
    assert found.whole.agreement.kappa == pytest.approx(1)
    row = shown(agreement_table(found)).splitlines()[3]
    alike = "undefined: all marks alike"
    assert row == f"| `cyclegan` | 100.0 [72.2, 100.0] | undefined: all said fake | 10 | {alike} | {alike} | 10 |"
    assert "nan" not in shown(agreement_table(found))
    assert found.sources[0].agreement.icc_undefined == ""


def test_marks_that_tell_nothing_of_agreement() -> None:
    """Two images, two raters, opposite marks: there are marks of all, yet neither correlation exists."""
    given = answers(*marked())
    few = {(r, i): replace(given[r, i], quality=q) for r, i, q in (
        ("ann", "r0", 0), ("ann", "r1", 1), ("bob", "r0", 1), ("bob", "r1", 0))}  # fmt: skip
    small = replace(study(), images=tuple(i for i in study().images if i.id in ("r0", "r1")))
    a = analysed(small, few).whole.agreement
    assert np.isnan(a.icc_single)
    assert a.icc_undefined == "not estimable"


def test_rater_by_rater_has_wilsons_interval() -> None:
    verdicts, marks = marked()
    found = analysed(study(), stray(answers(verdicts, marks)))
    rows = shown(by_rater_table(found)).strip().splitlines()
    assert rows[0] == "| Rater | real | `cyclegan` |"
    assert rows[-1] == "| rater 4 | 100.0 [20.7, 100.0] | – |"
    right = int(verdicts[:PER, 0].sum())
    low, high = wilson(right, PER)
    assert f"| rater 1 | {10 * right:.1f} [{100 * low:.1f}, {100 * high:.1f}] |" in rows[2]


@pytest.mark.parametrize(
    ("repeats", "said"),
    [
        (0, "No picture appears twice"),
        (1, "1 image shows a picture that is in the study already"),
        (7, "7 images show pictures that are in the study already"),
        (None, "by an earlier version, which did not separate pictures"),
    ],
)
def test_the_report_says_whether_pictures_repeat(repeats: int | None, said: str) -> None:
    assert said in section_text(rater_section, INFO, raters=(analysed(study(repeats), answers(*marked())),))
