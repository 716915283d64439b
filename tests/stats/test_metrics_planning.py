"""Power and designs: against statsmodels, against simulation of the model, and estimates from a pilot."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from bench.errors import ConfigError, DataError
from bench.stats.inference import corrected_resampled_t
from bench.stats.pilot import estimate_components, mean_components
from bench.stats.planning import (
    Components,
    Design,
    design_minimum_detectable_effect,
    design_power,
    minimum_detectable_effect,
    pair_ratio,
    pairs_needed,
    patients_needed,
    power,
)

RATIO = 0.25  # five folds


@pytest.mark.parametrize("pairs", [3, 5, 10, 30])
@pytest.mark.parametrize("effect", [0.3, 1.0, 1.3])
def test_power_equals_statsmodels(pairs: int, effect: float) -> None:
    assert power(effect, 1, pairs, 0) == pytest.approx(TTestPower().power(effect, pairs, 0.05), abs=1e-6)


def test_power_is_what_simulation_finds() -> None:
    rng = np.random.default_rng(0)
    d = rng.normal(1.2, 1, (4000, 6))
    found = np.mean([corrected_resampled_t(row, 0).p < 0.05 for row in d])
    assert power(1.2, 1, 6, 0) == pytest.approx(found, abs=3 * math.sqrt(0.25 / 4000))


@pytest.mark.parametrize("pairs", [2, 3, 5, 25, 1000])
@pytest.mark.parametrize("ratio", [0, RATIO])
def test_power_grows_with_the_effect_and_is_never_nan(pairs: int, ratio: float) -> None:
    values = [power(e, 1, pairs, ratio) for e in np.geomspace(1e-4, 1e3, 100)]
    assert np.all(np.diff(values) >= -1e-9)
    assert values[0] == pytest.approx(0.05, abs=1e-4)
    assert values[-1] == pytest.approx(1)


def test_minimum_detectable_effect_equals_statsmodels_and_scales_with_sd() -> None:
    wanted = TTestPower().solve_power(None, nobs=5, alpha=0.05, power=0.8)
    assert minimum_detectable_effect(1, 5, 0) == pytest.approx(wanted, rel=1e-5)
    assert minimum_detectable_effect(0.03, 5, RATIO) == pytest.approx(0.03 * minimum_detectable_effect(1, 5, RATIO))
    assert power(minimum_detectable_effect(0.03, 5, RATIO), 0.03, 5, RATIO) == pytest.approx(0.8)
    assert all(math.isnan(minimum_detectable_effect(*a, RATIO)) for a in [(1, 1), (0, 5), (float("nan"), 5)])


def test_pairs_needed() -> None:
    """Two points at an sd of 2 to 4 need 10 to 34 independent pairs; with overlap some effects cannot be reached."""
    assert (pairs_needed(2, 2, 0), pairs_needed(2, 4, 0)) == (10, 34)
    n = pairs_needed(2, 1, RATIO)
    assert n is not None
    assert power(2, 1, n, RATIO) >= 0.8 > power(2, 1, n - 1, RATIO)
    assert pairs_needed(1, 1, RATIO) is None
    assert pairs_needed(1, float("nan"), 0) is None


@pytest.mark.parametrize("pairs", [2, 5, 15])
def test_power_at_the_tests_own_correlation_is_the_plain_formula(pairs: int) -> None:
    rho = RATIO / (1 + RATIO)
    assert power(1.5, 1, pairs, RATIO, correlation=rho) == pytest.approx(power(1.5, 1, pairs, RATIO), abs=1e-9)
    assert power(1.0, 1, pairs, 0, correlation=0.0) == pytest.approx(power(1.0, 1, pairs, 0), abs=1e-9)


@pytest.mark.parametrize("rho", [1.0, -0.5, float("nan")])
def test_pairs_cannot_have_every_correlation(rho: float) -> None:
    with pytest.raises(ConfigError, match="correlation"):
        power(1.0, 1, 5, RATIO, correlation=rho)


def test_power_for_correlated_pairs_equals_simulation() -> None:
    """Equally correlated normal pairs: the corrected test's level and power equal the formula's."""
    rng, pairs, rho = np.random.default_rng(0), 6, 0.1
    shared, own = rng.normal(0, math.sqrt(rho), (8000, 1)), rng.normal(0, math.sqrt(1 - rho), (8000, pairs))
    sd = math.sqrt(1 - rho)  # sd of the pairs
    for effect in (0.0, 2.0):
        found = np.mean([corrected_resampled_t(row, RATIO).p < 0.05 for row in effect + shared + own])
        assert power(effect, sd, pairs, RATIO, correlation=rho) == pytest.approx(found, abs=0.015)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 3 / 7])
def test_pair_ratio_is_nadeau_and_bengios_at_a_lasting_share_of_one(ratio: float) -> None:
    assert pair_ratio(ratio, 1.0) == pytest.approx(ratio)
    assert pair_ratio(ratio, 0.0) == 0
    rho = pair_ratio(ratio) / (1 + pair_ratio(ratio))
    assert rho == pytest.approx(0.5 * ratio / (1 + ratio))
    with pytest.raises(ConfigError, match="n_train"):
        pair_ratio(-0.1)


def five_folds(repeats: int, folds: int = 5) -> Design:
    return Design(folds, repeats, 1 / folds, 1 / (folds - 1))


def test_variance_of_the_mean_follows_from_the_components() -> None:
    """Var(mean) = A + B / repeats + G / pairs for k folds, computed in two ways."""
    parts = Components(lasting=4.0, passing=6.0, run=3.0)
    for design in (five_folds(1), five_folds(4), five_folds(2, folds=10), Design(1, 8, 0.3, 3 / 7)):
        rho, j = parts.correlation(design), design.pairs
        seen = parts.seen_sd(design) ** 2 * (1 / j + rho / (1 - rho))
        wanted = parts.pair_variance(design) / j + 4.0 * (j - design.folds) / j
        assert seen == pytest.approx(wanted)
        if design.folds > 1:
            assert wanted == pytest.approx(4 + 6 / design.repeats + 3 / j)
    assert parts.correlation(five_folds(1)) == 0
    assert parts.lasting_share == 0.4
    # hold-out and only lasting responses: the correlation is Nadeau & Bengio's n_test / (n_test + n_train)
    assert Components(1.0, 0.0, 0.0).correlation(Design(1, 10, 0.3, 3 / 7)) == pytest.approx(0.3)


@pytest.mark.parametrize("effect", [0.02, 0.05, 0.1])
@pytest.mark.parametrize(("score", "moved"), [(0.75, 0.3), (0.75, 0.8), (0.88, 0.3)])
def test_an_effect_changes_more_patients_than_none(effect: float, score: float, moved: float) -> None:
    """Normal scores changed by normal amounts: the variance of the patients' responses, by simulation."""
    rng = np.random.default_rng(0)
    z = np.array([NormalDist().inv_cdf(score)]) + rng.normal(0, 1, 200_000)
    to = z + rng.normal(0, moved, z.shape)
    right, none = z > 0, (to > 0) * 1.0 - (z > 0)
    shift = np.quantile(-to, min(0.9999, float(np.mean(to > 0)) + effect))
    response = (to + shift > 0) * 1.0 - right
    parts = Components(3e-4, 7e-4, 0.0, changed=float(np.abs(none).mean()), score=float(right.mean()))
    there = parts.with_effect(effect)
    assert (there.lasting + there.passing) / 1e-3 == pytest.approx(response.var() / none.var(), rel=0.1)
    assert there.passing <= parts.passing
    unknown = Components(1.0, 1.0, 1.0)  # no count of patients available
    assert repr(unknown.with_effect(effect)) == repr(unknown)  # repr: NaN equals NaN


def test_repeats_and_patients_change_power_as_the_model_predicts() -> None:
    parts = Components(lasting=1e-4, passing=4e-4, run=1e-4)
    powers = [design_power(parts, five_folds(r), 0.1) for r in (1, 3, 10)]
    assert powers == sorted(powers)
    effect = design_minimum_detectable_effect(parts, five_folds(3))
    assert design_power(parts, five_folds(3), effect) == pytest.approx(0.8)
    n = patients_needed(parts, five_folds(1), 0.05, 80)
    assert n is not None
    assert design_power(parts.with_patients(n / 80), five_folds(1), 0.05) >= 0.8
    assert design_power(parts.with_patients((n - 1) / 80), five_folds(1), 0.05) < 0.8
    assert (
        patients_needed(Components(0, 0, 1.0), five_folds(1), 0.01, 80) is None
    )  # the variance of the runs alone is too large
    assert patients_needed(parts, five_folds(1), 0.5, 80) <= 80


def pilot(repeats: int, lasting: float, passing: float, run: float, seed: int, patients: int = 400):
    """Normal responses of patients, half of each class, in stratified folds: [R, P] twice, [P], [R, P]."""
    rng = np.random.default_rng(seed)
    y = np.arange(patients) % 2
    folds = np.stack([np.concatenate([[i] * 2 for i in rng.permutation(patients // 2) % 5]) for _ in range(repeats)])
    runs = rng.normal(0, run, (repeats, 5))
    d = rng.normal(0, lasting, patients) + rng.normal(0, passing, (repeats, patients))
    reference = np.zeros((repeats, patients))
    return d + np.take_along_axis(runs, folds, axis=1), reference, y, folds


def test_a_pilot_estimates_the_components() -> None:
    found = mean_components(estimate_components(*pilot(4, 0.3, 0.4, 0.1, s)) for s in range(30))
    assert found.lasting == pytest.approx(0.3**2 / 400, rel=0.1)
    assert found.passing == pytest.approx(0.4**2 / 400, rel=0.1)
    assert found.run == pytest.approx(0.1**2, rel=0.2)


def test_one_repeat_cannot_separate_lasting_from_passing_and_repeats_gain_nothing() -> None:
    found = estimate_components(*pilot(1, 0.3, 0.4, 0.0, 0))
    assert found.passing == 0
    assert found.lasting == pytest.approx(0.25 / 400, rel=0.2)
    with pytest.raises(DataError, match="two test patients"):
        estimate_components([[1.0, 0.0]], [[0.0, 0.0]], [0, 1], [[0, 0]])


def test_a_hold_out_pilot_estimates_the_components_too() -> None:
    """Each repeat is one run with 30 % of the patients; shared variance is seen where two repeats test the same."""
    found = []
    for s in range(30):
        d, none, y, folds = pilot(6, 0.3, 0.4, 0.0, s)
        tested = np.random.default_rng(100 + s).random(d.shape) < 0.3
        found.append(estimate_components(np.where(tested, d, np.nan), none, y, np.zeros_like(folds)))
    mean = mean_components(found)
    assert mean.lasting == pytest.approx(0.09 / 400, rel=0.15)
    assert mean.lasting + mean.passing == pytest.approx(0.25 / 400, rel=0.1)
