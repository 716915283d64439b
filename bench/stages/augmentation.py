"""The online method of an arm, with the statistics of its fold's training images, and the images it prepares."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench import registry
from bench.abilities import FitsStatistics
from bench.data.loaders import FoldData
from bench.interfaces import OnlineAugmenter
from bench.leakage import FittedStatistics, SourceImages
from bench.suite.suite import PluginSpec
from bench.types import Uint8Images

STATISTICS = "augmentation.json"
BATCH = 32  # images


def augmenter_of(method: PluginSpec, fold: FoldData, folder: Path) -> OnlineAugmenter:
    """Return the online method of an arm, or `none` for a generative one.

    Statistics that it needs are read from ``folder``, or fitted on the fold's training part and stored there. Raises
    ``LeakageError`` if stored ones were fitted on other images.
    """
    if method.kind != "online":
        none = registry.load("method", "none")
        return none(none.Config())
    augmenter = method.create()
    if isinstance(augmenter, FitsStatistics):
        path, training = folder / STATISTICS, fold.training
        if not path.is_file():
            values = augmenter.fit_statistics(training)
            what = f"the statistics of {method.name}"
            FittedStatistics(what, values, SourceImages.of(training.records)).save(path)
        augmenter.use_statistics(FittedStatistics.load(path).for_fold(fold.fold_parts))
    return augmenter


def prepared(augmenter: OnlineAugmenter, images: Uint8Images, device: str) -> Uint8Images:
    """Return images uint8 [N, H, W, 3] as the arm's classifier gets them: the same ones, unless the method changes all.

    The result of an image does not depend on the other images.
    """
    import torch

    if not isinstance(augmenter, FitsStatistics):
        return images
    found = []
    for start in range(0, len(images), BATCH):
        batch = torch.tensor(np.ascontiguousarray(images[start : start + BATCH]), device=device)
        changed = augmenter.prepare(batch.permute(0, 3, 1, 2).float() / 255)
        found.append((changed * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(found) if found else images
