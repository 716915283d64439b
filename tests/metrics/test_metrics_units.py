"""Groups are the unit: groups with images of several classes are resampled, split and planned as a whole."""

from __future__ import annotations

import numpy as np
import pytest
from data_sets import made_up_index

from bench.data.split_config import SplitConfig
from bench.data.splits import make_splits
from bench.errors import DataError
from bench.metrics.units import ScoredUnit, group_labels, group_places, group_strata, scored_unit
from bench.stats.bootstrap import PatientSample, ScoredFold, cluster_bootstrap_ci
from bench.stats.pilot import clustered_components, estimate_components


def test_one_function_defines_the_scored_unit_and_its_name() -> None:
    alike, mixed = scored_unit(made_up_index([[2, 0], [0, 2]])), scored_unit(made_up_index([[2, 0], [1, 2], [1, 1]]))
    assert (alike.primary, alike.level, alike.note) == ("patient_balanced_accuracy", "patient-level", "")
    assert (mixed.primary, mixed.metric) == ("balanced_accuracy", "image-level balanced accuracy, clustered by patient")
    assert mixed.note.startswith("2 of the patients have images of several classes, so images are scored")
    unknown = ScoredUnit("groups")
    assert (unknown.level, unknown.each, unknown.metric) == (
        "group-level",
        "per group",
        "group-level balanced accuracy",
    )


def test_a_group_has_one_place_and_a_class_only_if_all_its_images_agree() -> None:
    assert group_places(["b", "a", "b"]).tolist() == [1, 0, 1]
    assert group_labels(np.array([1, 0, 1]), ["b", "a", "b"]).tolist() == [0, 1]
    with pytest.raises(DataError, match="'b' has images of several classes"):
        group_labels(np.array([1, 0, 0]), ["b", "a", "b"])


def strata(*held: str) -> list[int]:
    """Strata of groups with these classes, such as '01'."""
    rows = [(int(c), g) for g, classes in enumerate(held) for c in classes]
    return group_strata(np.array([c for c, _ in rows]), [f"{g:02d}" for _, g in rows]).tolist()


def test_groups_with_the_same_classes_are_resampled_together() -> None:
    assert strata("0", "1", "0", "1") == [0, 1, 0, 1]
    assert len(set(strata("0", "0", "1", "1", "01", "01"))) == 3
    assert strata("0", "0", "1", "01")[2:] in ([1, 1], [2, 2])  # the two with class 1: neither remains alone
    alone = strata("0", "0", "0", "1")
    assert alone.count(alone[3]) == 1  # joining the others could lose its class


def test_no_resample_loses_a_class() -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        held = [rng.choice(3, rng.integers(1, 4), replace=False) for _ in range(rng.integers(3, 9))]
        y = np.concatenate([*held, [0, 1, 2]])
        groups = [*(f"g{g}" for g, classes in enumerate(held) for _ in classes), "all", "all", "all"]
        sample = PatientSample(y, groups, 50, rng)
        assert np.isfinite(
            sample.draws(rng.dirichlet(np.ones(3), len(y)), "balanced_accuracy", per_patient=False)
        ).all()


def mixed_fold(rng: np.random.Generator, patients: int = 60) -> ScoredFold:
    """Patients with images of both classes, except ten of each; the share of correct images varies between patients."""
    counts = rng.integers(2, 6, (patients, 2))
    counts[:10, 1] = counts[10:20, 0] = 0
    groups = np.repeat(np.arange(patients), counts.sum(axis=1))
    y = np.concatenate([np.repeat([0, 1], row) for row in counts])
    right = rng.random(len(y)) < rng.beta(1, 0.5, patients)[groups]  # mean 2/3, for either class
    return ScoredFold(y, np.eye(2)[np.where(right, y, 1 - y)], groups.tolist())


def test_intervals_over_patients_with_both_classes_have_nominal_coverage() -> None:
    """With (patient, class) as the unit the coverage is 87 %: the classes of a patient would count as two patients."""
    rng, covered = np.random.default_rng(0), []
    for seed in range(1000):
        got = cluster_bootstrap_ci([mixed_fold(rng)], resamples=600, seed=seed)
        covered.append(got.low <= 2 / 3 <= got.high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_a_patient_of_both_classes_is_counted_once_and_not_scored_as_a_patient() -> None:
    fold = mixed_fold(np.random.default_rng(1))
    assert cluster_bootstrap_ci([fold]).patients == 60
    with pytest.raises(DataError, match="several classes"):
        cluster_bootstrap_ci([fold], per_patient=True)


def test_every_part_of_a_split_has_both_classes_and_whole_patients() -> None:
    index = made_up_index([[3, 2]] * 6 + [[4, 0]] * 2 + [[0, 5]] * 2)
    label = {r.path: r.label for r in index.records}
    group = {r.path: r.group_id for r in index.records}
    for split in make_splits(index, SplitConfig(folds=4)):
        parts = [split.train, split.validation, split.test]
        assert all({label[p] for p in part} == {0, 1} for part in parts)
        held = [{group[p] for p in part} for part in parts]
        assert len(set.union(*held)) == sum(map(len, held)) == 10


def test_the_planner_counts_a_patient_as_one_observation() -> None:
    """The variance of a mean over patients by the components equals the observed variance of pairs."""
    rng, patients, shown, promised, split = np.random.default_rng(5), 40, [], [], []
    counts = rng.integers(2, 7, (patients, 2)).astype(float)
    folds = np.repeat(np.arange(4), 10)[None]
    for _ in range(300):
        response = rng.normal(0, 0.25, (patients, 1))  # of a patient to the arm, the same for both classes
        gained = counts * response
        found = clustered_components(gained[None], np.zeros((1, patients, 2)), counts, folds)
        promised.append(found.lasting + found.passing)
        shown.append((gained.sum(axis=0) / counts.sum(axis=0)).mean())
        rows = gained / counts  # as two independent patients, one for each class
        halves = estimate_components(rows.T.reshape(1, -1), np.zeros((1, 2 * patients)), np.repeat([0, 1], patients),
                                     np.tile(folds, 2))  # fmt: skip
        split.append(halves.lasting + halves.passing)
    variance = np.var(shown)
    assert np.mean(promised) == pytest.approx(variance, rel=0.15)
    assert np.mean(split) < 0.6 * variance
