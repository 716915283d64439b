"""The shipped ablation: every arm of transfer learning is the reference with one setting changed."""

from __future__ import annotations

from dataclasses import asdict

from bench.suite.suite import load_suite

FACTORS = {
    "scratch": {"pretrained": False},
    "frozen": {"trained_stages": 0},
    "partly_frozen": {"trained_stages": 2},
    "real_fake_alone": {"lambda_class": 0.0},
    "label_fraction": {"label_fraction": 0.25},
    "class_on_both": {"class_on_both": True},
    "classes_and_fake": {"head": "classes_and_fake"},
}


def test_one_factor_an_arm() -> None:
    suite = load_suite("ablation-transfer")
    reference = suite.method(str(suite.settings.reference))
    base = asdict(reference.config)
    assert base["pretrained"]
    found = {}
    for arm in suite.methods:
        if arm.target == reference.target and arm != reference:
            found[arm.name] = {k: v for k, v in asdict(arm.config).items() if v != base[k]}
    assert found == FACTORS
    assert {m.name for m in suite.methods} == {"none", "cyclegan", reference.name, *FACTORS}
    plain = asdict(suite.method("cyclegan").config)
    for same in (
        "steps",
        "batch_size",
        "filters",
        "blocks",
        "norm",
        "learning_rate",
        "lambda_cycle",
        "lambda_identity",
    ):
        assert plain[same] == base[same], same


def test_at_least_five_pairs() -> None:
    split = load_suite("ablation-transfer").settings.split
    assert split.folds * split.repeats >= 5
