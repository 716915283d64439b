"""The primary contrast of a suite: its two forms, its defaults, and what is refused with the nearest name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.errors import ConfigError
from bench.suite.contrast import Contrast
from bench.suite.suite import Suite, parse_suite

CURVE = {"protocol": "learning_curve", "train_patients": [8, 16, 32], "replicates": 4, "reference_only": [32]}


def suite(**changes: Any) -> Suite:
    base: dict[str, Any] = {
        "dataset": {"name": "phantom"},
        "split": CURVE,
        "ratios": [0.5, 1],
        "methods": {"none": {}, "noise": {}, "cgan": {}},
        "classifiers": {"small_cnn": {}, "simple_cnn": {}},
    }
    return parse_suite("s", {**base, **changes})


def test_both_forms_and_their_defaults() -> None:
    assert suite().settings.contrast is None
    assert suite().settings.primary == "auroc"
    short = suite(contrast="cgan vs noise").settings.contrast
    assert short == Contrast("cgan", "noise", 8, "1", "small_cnn")
    asked = {"arm": "noise", "train_patients": 16, "ratio": 0.5, "classifier": "simple_cnn"}
    assert suite(contrast=asked).settings.contrast == Contrast("noise", "none", 16, "0.5", "simple_cnn")
    kfold = suite(split={"folds": 3}, contrast="cgan vs none", ratios=["balance"], primary="brier").settings
    assert (kfold.contrast, kfold.primary) == (Contrast("cgan", "none", None, "balance", "small_cnn"), "brier")


def test_the_example_in_the_documentation_is_a_suite() -> None:
    page = (Path(__file__).parents[2] / "docs" / "suites.md").read_text(encoding="utf-8")
    example = page[page.index("split:\n  protocol: learning_curve") :].partition("```")[0]
    settings = suite(**yaml.safe_load(example), methods={"none": {}, "cyclegan": {}}).settings
    assert settings.contrast == Contrast("cyclegan", "none", 40, "1", "small_cnn")
    assert settings.split.train_patients == (20, 40, 80)
    assert settings.split.reference_only == (80,)
    assert (settings.split.sets, settings.primary) == (12, "auroc")
    assert (
        suite(contrast="cgan vs noise", split={**CURVE, "replicates": {"min": 6, "max": 24}}).settings.split.sets == 24
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contrast": "cgan"}, "expected two methods, such as 'cyclegan vs none'"),
        ({"contrast": "cgan vs nose"}, "contrast.against: unknown method 'nose'; did you mean 'noise'"),
        ({"contrast": {"arms": "cgan"}}, "unknown key 'arms'; did you mean 'arm'"),
        ({"contrast": "cgan vs cgan"}, "compared with itself"),
        (
            {"contrast": {"arm": "cgan", "train_patients": 32}},
            "no arm but none is trained on 32 patients; .*valid: 16, 8",
        ),
        ({"contrast": {"arm": "cgan", "ratio": 2}}, "contrast.ratio: 2 is none of the ratios"),
        ({"contrast": {"arm": "cgan", "classifier": "small_cn"}}, "did you mean 'small_cnn'"),
        (
            {"split": {"folds": 3}, "contrast": {"arm": "cgan", "train_patients": 8}},
            "protocol is .kfold.; remove",
        ),
        ({"split": {**CURVE, "replicates": {"min": 2, "max": 4}}}, "the suite declares none; add one"),
        ({"methods": {"noise": {}}}, "split.reference_only: the suite has no method 'none'"),
        ({"primary": "auc"}, "primary: got 'auc'"),
        ({"contrasts": "cgan vs none"}, "did you mean 'contrast'"),
        ({"train_multiplier": [2]}, "did you mean 'train_multipliers'"),
        ({"train_multipliers": [1]}, "train_multipliers: got 1, expected whole numbers above 1"),
    ],
)
def test_a_wrong_contrast_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        suite(**changes)
