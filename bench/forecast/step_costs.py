"""Costs of one training step of a cell: its FLOPs, the device's peak for comparison, each network's share.

Measured on a single step outside the training, once per shape, and stored in the cache folder: the training runs
without measurement, and the next cell of that shape on that host reuses the result.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.config import stable_hash
from bench.cost.host import describe_host
from bench.cost.keys import STEP_S, CostKey, phase_s
from bench.forecast.step_profile import measured_peak
from bench.forecast.workload import STEPPED, Workload
from bench.plan.plan import Cell
from bench.stages import RunEnv
from bench.store.disk import write_cache


def step_costs(cell: Cell, env: RunEnv, work: Workload, seconds: Mapping[str, float], steps: float) -> dict[str, float]:
    """Return the costs of a cell's ``steps``: ``images_per_s``, ``flops_per_step``, ``share_of_peak``, ….

    ``seconds`` are the cell's costs so far. Empty for a cell without steps; values that could not be measured are
    missing.
    """
    step_s = seconds.get(STEP_S, 0.0)
    if cell.stage not in STEPPED or not steps or step_s <= 0:
        return {}
    found: dict[str, float] = {CostKey.STEPS: float(steps), CostKey.IMAGES_PER_S: steps * work.batch / step_s}
    facts = step_facts(cell, env, work)
    if parameters := facts.get("parameters"):
        found[CostKey.PARAMETERS] = float(parameters)
    if flops := facts.get("flops"):
        found |= {CostKey.FLOPS_PER_STEP: float(flops), CostKey.FLOPS_PER_S: flops * steps / step_s}
        found[CostKey.SHARE_OF_PEAK] = found[CostKey.FLOPS_PER_S] / facts["peak_flops_per_s"]
    if env.device.startswith("cuda"):
        found |= {phase_s(f"{name}_step"): share * step_s for name, share in facts.get("shares", {}).items()}
    return {k: v for k, v in found.items() if math.isfinite(v)}


def step_facts(cell: Cell, env: RunEnv, work: Workload) -> dict[str, Any]:
    """Return ``flops``, ``peak_flops_per_s`` and ``shares`` of a cell's step; {} if not separately measurable."""
    path = env.out / "cache" / "steps" / f"{stable_hash([work.shape, describe_host(env.device)])}.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        pass
    try:
        facts = _count(cell, env)
    except Exception as e:  # a plug-in's probe may fail in any way; this must not stop a training
        facts = {"error": f"{type(e).__name__}: {e}"}
    write_cache(path, json.dumps(facts))
    return facts


def _count(cell: Cell, env: RunEnv) -> dict[str, Any]:
    from bench.forecast import probes

    suite, size_px = env.suite, env.suite.settings.image_size_px
    if cell.stage == "fit":
        probe = probes.generator_probe(suite.method(str(cell.method)), size_px, None, env.device)
    elif cell.stage == "fcn_score":
        probe = probes.segmentation_probe(suite.settings.segmentation, size_px, env.device)
    elif cell.stage == "segmentation":
        method = suite.method(str(cell.method))
        online = method if method.kind == "online" else None
        config = suite.settings.segmentation_networks[str(cell.classifier)]
        probe = probes.segmentation_network_probe(config, online, size_px, env.device)
    else:
        method = suite.method(str(cell.method))
        spec = suite.classifier(str(cell.classifier), method.name)
        online = method if method.kind == "online" else None
        probe = probes.classifier_probe(spec, online, size_px, None, env.device, env.weights)
    if probe is None or probe.flops is None:
        return {}
    facts: dict[str, Any] = {"flops": probe.flops(), "peak_flops_per_s": peak(env, probe.dtype)}
    if probe.parameters:
        facts["parameters"] = probe.parameters()
    if probe.shares and env.device.startswith("cuda"):
        facts["shares"] = dict(probe.shares())
    return facts


def peak(env: RunEnv, dtype: str) -> float:
    """Return the FLOPs per second of the device's matrix products, with a cell's threads; measured once per host."""
    import torch

    key = stable_hash([describe_host(env.device), torch.get_num_threads(), dtype])
    path: Path = env.out / "cache" / "steps" / f"peak-{key}.json"
    try:
        return float(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        found = measured_peak(env.device, dtype)
    write_cache(path, json.dumps(found))
    return found
