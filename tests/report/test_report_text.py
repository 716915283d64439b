"""Texts that several sections of a report share."""

from __future__ import annotations

from bench.report.text import folds_named


def test_pairs_are_named_as_folds_or_as_training_sets() -> None:
    assert folds_named([(2, 0)]) == "fold 2"
    assert folds_named([(0, 0), (2, 1)]) == "folds 0 and 2.1"
    assert folds_named([(9, 0)], is_curve=True) == "set 9"
    assert folds_named([(9, 0), (10, 0), (11, 0)], is_curve=True) == "sets 9, 10 and 11"
