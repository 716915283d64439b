"""The pixel check: alignment is undone exactly, and marks, flat areas and other pictures have their stated effect."""

from __future__ import annotations

import numpy as np
import pytest
from data_sets import scene

from bench.data.near_check import SIDE, check, resample


def picture(seed: int) -> np.ndarray:
    return np.asarray(scene(seed, (SIDE, SIDE)).convert("L"))


def window(whole: np.ndarray, down: float, height: float, right: float, width: float) -> np.ndarray:
    found, inside = resample(whole[None].astype(np.float32), [down], [height], [right], [width])
    assert inside.all()
    return found[0].astype(np.uint8)


@pytest.mark.parametrize("part", [(0, 0.95, 0, 0.95), (1.5, 0.95, -1.5, 0.95), (0, 0.9, 0, 0.9), (-3, 0.9, 3, 0.9)])
def test_a_crop_is_aligned_in_both_directions(part: tuple[float, float, float, float]) -> None:
    whole = picture(1)
    cropped = window(whole, *part)
    for first, second in ((whole, cropped), (cropped, whole)):
        correlation, lowest = check(first[None], second[None])
        assert correlation[0] > 0.93
        assert lowest[0] > 0.85


def test_resampling_takes_the_stated_window() -> None:
    ramp = np.broadcast_to(np.arange(64.0, dtype=np.float32), (1, 64, 64))
    found, inside = resample(ramp, [0], [1], [2], [0.5])
    np.testing.assert_allclose(found[0, 0], 31.5 + 2 + (np.arange(64) - 31.5) * 0.5, rtol=1e-6)
    assert inside.all()
    moved, inside = resample(ramp, [0], [1], [4], [1])
    np.testing.assert_allclose(moved[0, 0], np.minimum(np.arange(64) + 4, 63))
    assert inside[0, 0].sum() == 60


def test_exposure_and_marks_change_little_and_other_pictures_do_not_match() -> None:
    first = picture(1)
    darker = (0.5 * first + 40).astype(np.uint8)
    marked = first.copy()
    marked[10:14, 2:30] = 255
    others = np.stack([picture(seed) for seed in range(2, 12)])
    correlation, lowest = check(np.stack([first, first]), np.stack([darker, marked]))
    assert (correlation > (0.98, 0.8)).all()
    assert (lowest > (0.97, 0.6)).all()
    assert check(first[None].repeat(10, axis=0), others)[0].max() < 0.35


def test_flat_pictures_match_nothing() -> None:
    flat = np.full((2, 64, 64), 90, np.uint8)
    flat[1, 20:30, 20:30] = 200
    assert check(flat, flat)[0].tolist() == [0, 0]


def test_pairs_do_not_depend_on_their_batch() -> None:
    firsts, seconds = np.stack([picture(i) for i in range(4)]), np.stack([picture(i // 2) for i in range(4)])
    together = np.stack(check(firsts, seconds))
    apart = np.concatenate([np.stack(check(firsts[i : i + 1], seconds[i : i + 1])) for i in range(4)], axis=1)
    np.testing.assert_allclose(together, apart, atol=1e-5)
