"""Dice, IoU and HD95 against closed forms and brute force over pixels; the table of masks; mean recall."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from bench.errors import ConfigError, DataError
from bench.metrics.mean_recall import MeanRecall, MeanRecallConfig
from bench.metrics.overlap import dice, hausdorff95, iou, outline
from bench.metrics.overlap_table import Outlined, mean_scores, read_outlined, write_outlined


def square(size: int, top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def by_every_pair(a: np.ndarray, b: np.ndarray, spacing: tuple[float, float] = (1.0, 1.0)) -> float:
    """HD95 without a distance transform: all distances between the pixels of the two outlines, by brute force."""

    def edge(mask: np.ndarray) -> np.ndarray:
        on = {(int(y), int(x)) for y, x in np.argwhere(mask)}
        around = ((1, 0), (-1, 0), (0, 1), (0, -1))
        return (
            np.array([(y, x) for y, x in on if any((y + dy, x + dx) not in on for dy, dx in around)], float) * spacing
        )

    p, q = edge(a), edge(b)
    distances = np.sqrt(((p[:, None] - q[None]) ** 2).sum(-1))
    return float(max(np.percentile(distances.min(1), 95), np.percentile(distances.min(0), 95)))


def test_equal_masks_and_masks_apart() -> None:
    a = square(32, 4, 4, 8)
    assert (dice(a, a), iou(a, a), hausdorff95(a, a)) == (1, 1, 0)
    far = square(32, 20, 20, 8)
    assert (dice(a, far), iou(a, far)) == (0, 0)
    assert hausdorff95(a, far) == by_every_pair(a, far) > 16


def test_a_shifted_square_in_closed_form() -> None:
    n, d = 20, 5
    a, b = square(40, 5, 5, n), square(40, 5, 5 + d, n)
    both = n * (n - d)
    assert dice(a, b) == both / n**2
    assert iou(a, b) == both / (2 * n**2 - both)
    assert iou(a, b) == pytest.approx(dice(a, b) / (2 - dice(a, b)))
    # of 4(n-1) = 76 outline pixels the n of the far side have distance d: more than 5 %
    assert hausdorff95(a, b) == d


def test_the_95th_percentile_ignores_a_single_outlier_pixel() -> None:
    a = square(64, 20, 20, 20)
    b = a.copy()
    b[0, 0] = 1
    assert hausdorff95(a, b) == 0, "one of 77 outline pixels is off, by 28"
    two = square(64, 20, 20, 2)
    stray = two.copy()
    stray[60, 60] = 1
    assert hausdorff95(two, stray) == by_every_pair(two, stray) > 40, "of five it is a fifth"


@pytest.mark.parametrize("seed", range(8))
def test_random_masks_against_every_pair_of_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.random((17, 23)) < share for share in rng.uniform(0.02, 0.9, 2))
    assert hausdorff95(a, b) == pytest.approx(by_every_pair(a, b), abs=1e-12)
    assert hausdorff95(a, b) == hausdorff95(b, a)
    inside = {(y, x) for y, x in np.argwhere(a).tolist()}
    other = {(y, x) for y, x in np.argwhere(b).tolist()}
    assert dice(a, b) == 2 * len(inside & other) / (len(inside) + len(other))
    assert iou(a, b) == len(inside & other) / len(inside | other)


def test_pixels_that_are_not_square_in_closed_form() -> None:
    """An image of 40 × 120 squashed to 40 × 40: one pixel horizontally is three original pixels, vertically one."""
    a = square(40, 5, 5, 20)
    across, down = square(40, 5, 10, 20), square(40, 10, 5, 20)
    assert (hausdorff95(a, across), hausdorff95(a, down)) == (5, 5)
    assert (hausdorff95(a, across, (1, 3)), hausdorff95(a, down, (1, 3))) == (15, 5)
    point, other = square(40, 0, 0, 1), square(40, 4, 1, 1)
    assert hausdorff95(point, other, (1, 3)) == 5, "√(4² + (1 · 3)²)"
    # the two nearest pixels differ from those with equal spacing
    near_across, near_down = square(40, 10, 12, 1) | square(40, 14, 10, 1), square(40, 10, 10, 1)
    assert hausdorff95(near_down, near_across, (1, 3)) == pytest.approx(np.percentile([4, 6], 95))
    for wrong in ((0, 1), (1, -1), (math.nan, 1), (1, math.inf)):
        with pytest.raises(DataError, match="spacing"):
            hausdorff95(a, a, wrong)


@pytest.mark.parametrize("seed", range(6))
def test_any_spacing_against_every_pair_of_pixels(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    a, b = (rng.random((13, 19)) < share for share in rng.uniform(0.02, 0.6, 2))
    spacing = tuple(rng.uniform(0.2, 5, 2).tolist())
    assert hausdorff95(a, b, spacing) == pytest.approx(by_every_pair(a, b, spacing), abs=1e-12)
    doubled = (2 * spacing[0], 2 * spacing[1])
    assert hausdorff95(a, b, doubled) == pytest.approx(2 * hausdorff95(a, b, spacing))


def test_empty_masks() -> None:
    empty, a = np.zeros((30, 40), np.uint8), np.zeros((30, 40), np.uint8)
    a[3, 3] = 1
    assert (dice(empty, empty), iou(empty, empty), hausdorff95(empty, empty)) == (1, 1, 0)
    for pair in ((a, empty), (empty, a)):
        assert (dice(*pair), iou(*pair), hausdorff95(*pair)) == (0, 0, 50), "the diagonal of 30 × 40"
        assert hausdorff95(*pair, (2, 2)) == 100, "of the original image"
        assert hausdorff95(*pair, (4, 0.0001)) == pytest.approx(120)


def test_an_outline_ends_at_the_edge_of_the_image() -> None:
    full = np.ones((5, 6), bool)
    assert outline(full).sum() == 18
    assert hausdorff95(full, full) == 0
    with pytest.raises(DataError, match="one shape"):
        dice(np.zeros((3, 3)), np.zeros((3, 4)))


def row(label: str, true_px: int, found_px: int, score: float = 0.0, distance: float = 1 / 3) -> Outlined:
    return Outlined(f"{label}/a, b.png", "g", label, score, score / 2, distance, true_px, found_px)


def test_the_table_round_trip_and_its_means(tmp_path: Path) -> None:
    rows = [row("benign", 9, 0), row("benign", 9, 5, 0.5), row("normal", 0, 0, 1.0, 0.0), row("normal", 0, 2)]
    rows.append(row("malignant", 4, 4, 0.7, 2.0))
    write_outlined(tmp_path / "masks.csv", rows)
    assert read_outlined(tmp_path / "masks.csv") == rows
    found = mean_scores(rows, ("benign", "malignant", "normal"))
    assert found == {
        "lesion_dice": pytest.approx(0.4),
        "lesion_iou": pytest.approx(0.2),
        "lesion_hd95_px": pytest.approx(8 / 9),
        "missed_share": pytest.approx(1 / 3),
        "false_alarm_share": 0.5,
        "dice": pytest.approx(0.44),
        "dice_benign": 0.25,
        "dice_malignant": 0.7,
        "dice_normal": 0.5,
    }
    assert list(mean_scores(rows[:1], ("benign",))) == [
        "lesion_dice", "lesion_iou", "lesion_hd95_px", "missed_share", "dice", "dice_benign",
    ]  # fmt: skip
    assert mean_scores(rows[2:4], ("normal",)) == {"false_alarm_share": 0.5, "dice": 0.5, "dice_normal": 0.5}
    with pytest.raises(DataError, match="no image of the test part has a mask"):
        mean_scores([], ("benign",))
    (tmp_path / "masks.csv").write_text("image,dice\na,0.5\n")
    with pytest.raises(DataError, match="run its cell again"):
        read_outlined(tmp_path / "masks.csv")


def test_mean_recall_of_the_classes_that_matter() -> None:
    classes = ("benign", "malignant", "normal")
    truth = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    called = np.array([0, 0, 0, 2, 1, 0, 1, 1])
    metric = MeanRecall(MeanRecallConfig())
    metric.check(classes)
    score = metric.compute(truth, np.eye(3)[called], ["g"] * 8, classes)["mean_recall"]
    assert score == (3 / 4 + 1 / 2) / 2, "what normal images are called has no part in it"
    part = truth != 1
    assert math.isnan(metric.compute(truth[part], np.eye(3)[called[part]], ["g"] * 6, classes)["mean_recall"])
    with pytest.raises(ConfigError, match="malignant"):
        metric.check(("benign", "malign"))
    with pytest.raises(ConfigError, match="each once"):
        MeanRecallConfig(classes=("benign", "benign"))
