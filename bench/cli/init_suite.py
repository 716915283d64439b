"""The text of the suite that `bench init` writes: every setting with a comment that says why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from bench.audit.proposal import Proposal
from bench.types import DatasetIndex

HEAD = """\
# Written by `bench init`. Check each line; docs/suites.md explains all settings, docs/methods.md all methods.
# `bench plan` predicts the time of a run. A run that was interrupted continues with the same command.
"""
ARMS = """\
ratios: [1.0]          # synthetic images per real one
contrast: classical vs none      # the comparison that is tested first
explain: {images_per_class: 0}   # Grad-CAM maps in the report: 3 draws them for three images of each class
fidelity: {input_size_px: 64}    # of the network that compares synthetic with real images; 299 is slow on a CPU
methods:
  none:                # real images only: all arms are compared with it
  classical:           # mirroring, rotations, colours
  oversample:          # all classes equally often
  noise:               # the negative control: images of noise, which cannot help
  # A generator is not compared before its images are far better than noise: hours on a CPU, so use a GPU
  # flow_matching: {steps: 4000}
  # cgan: {steps: 4000, upsample: resize}
classifiers:
  small_cnn: {steps: 200, batch_size: 32, evaluate_every: 50, checkpoint_every: 200}  # on a GPU: more steps
  # linear_probe:      # logistic regression on frozen ImageNet features, for larger images
  # resnet18: {epochs: 100}  # any timm network by its name; epochs or steps
"""


def suite_text(
    name: str,
    data: str,
    options: Mapping[str, Any],
    index: DatasetIndex,
    proposal: Proposal,
    reasons: Mapping[str, str],
) -> str:
    """Return a suite in YAML with comments.

    ``data`` is the path of the folder or table as the suite names it; ``options`` are those of the dataset ``name``,
    ``reasons`` the comments on them.
    """
    groups = len({r.group_id for r in index.records})
    classes = " and ".join(index.classes) if len(index.classes) == 2 else f"{len(index.classes)} classes"
    title = f"{classes}: {len(index.records)} images of {groups} {index.group_name}"
    lines = [
        f"description: {_scalar(title)}",
        f"data: {_scalar(data)}  # relative to this file, or absolute; --data replaces it",
        "dataset:",
        f"  name: {name}",
        *(_commented(f"  {key}: {_scalar(value)}", reasons.get(key, "")) for key, value in options.items()),
        _commented(f"image_size_px: {proposal.image_size_px}", proposal.size_reason),
        "threads: 1             # of each parallel job; fixed, so that results do not depend on the machine",
        f"# {proposal.split_reason}",
        f"split: {_scalar(proposal.split)}",
    ]
    return HEAD + "\n".join(lines) + "\n" + ARMS


def _commented(line: str, comment: str) -> str:
    return f"{line}  # {comment}" if comment else line


def _scalar(value: Any) -> str:
    """Return a value in YAML on one line."""
    text: str = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.strip().removeprefix("[").removesuffix("]")
