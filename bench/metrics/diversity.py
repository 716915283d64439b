"""Diversity: the mean perceptual distance between two images of one set, from the feature maps of any network.

The distance is that of LPIPS (Zhang et al. 2018, eq. 1), d(x, y) = sum_l 1/(H_l W_l) sum_hw |x_l[hw] - y_l[hw]|^2 with
every map's channels scaled to length 1 at each place, but with all channel weights 1, where LPIPS uses learnt weights,
and with the depths of the given extractor. It ranks sets similarly to LPIPS, but the values are not LPIPS values, and
the metric must not be called LPIPS. Each depth adds 0 to 4, or 0 to 2 if activations are not negative.

All pairs are counted: with z the concatenated scaled maps of an image, d is |z_x - z_y|^2, and the mean over the
n(n-1)/2 pairs is 2/(n-1) (sum |z_i|^2 - |sum z_i|^2 / n). This needs two running sums and one pass over the images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

EPSILON = 1e-10  # as in LPIPS: avoids division by 0 where no channel is active


class PairwiseDistance:
    """Running mean distance over all pairs of images of each label; add every image once."""

    def __init__(self) -> None:
        self._n: dict[int, int] = {}
        self._sums: dict[int, list[torch.Tensor]] = {}
        self._squares: dict[int, float] = {}

    def add(self, maps: Sequence[torch.Tensor], labels: Sequence[int]) -> None:
        """Add a batch: ``maps`` float [B, C_l, H_l, W_l] by depth, ``labels`` [B]."""
        import torch

        if not maps:
            return
        scaled = [m / (m.norm(dim=1, keepdim=True) + EPSILON) / (m.shape[2] * m.shape[3]) ** 0.5 for m in maps]
        for label in set(labels):
            rows = [i for i, y in enumerate(labels) if y == label]
            mine = [m[rows] for m in scaled]
            sums = [m.sum(dim=0, dtype=torch.float64) for m in mine]
            before = self._sums.get(label)
            self._sums[label] = sums if before is None else [a + b for a, b in zip(before, sums, strict=True)]
            squares = sum(float(m.square().sum(dtype=torch.float64)) for m in mine)
            self._squares[label] = self._squares.get(label, 0.0) + squares
            self._n[label] = self._n.get(label, 0) + len(rows)

    def means(self) -> dict[int, float]:
        """Return the mean over all pairs of each label, >= 0; labels with fewer than two images have none."""
        return {y: self._mean(y) for y, n in sorted(self._n.items()) if n > 1}

    def _mean(self, label: int) -> float:
        n = self._n[label]
        spread = self._squares[label] - sum(float(s.square().sum()) for s in self._sums[label]) / n
        return max(0.0, 2 * spread / (n - 1))


def mean_diversity(by_label: Mapping[int, float], labels: Iterable[int]) -> float:
    """Return the mean over ``labels`` of their diversities, i.e. within classes; differences between classes do not
    count.

    0 means that the generator makes one image per class; compare with real images of the same classes. The expected
    value does not depend on the number of images. NaN when a label has fewer than two images, or the extractor has no
    maps.
    """
    values = [by_label.get(int(y), float("nan")) for y in labels]
    return sum(values) / len(values) if values else float("nan")
