"""Collect the facts of a session for its report: suite, fold sizes, real images for the picture grids."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from bench import registry
from bench.analysis.info import ClassSize, DataFacts, FoldSize, OtherFinding, PublishedFacts, ReportInfo
from bench.config import to_plain
from bench.cost.host import git_commit, versions
from bench.data.given_split import GIVEN
from bench.data.published_split import PUBLISHED
from bench.data.split_config import LEARNING_CURVE
from bench.engine.session import Session
from bench.metrics.custom import own_measures
from bench.metrics.units import ScoredUnit, scored_unit
from bench.plan.plan import Plan, arm_ratios, mask_carriers
from bench.store.run_records import read_runs
from bench.suite.published import load_published
from bench.suite.roles import Asked, Roles, roles_of, suites_that_answer
from bench.suite.shipped import config_folder
from bench.suite.suite import Suite
from bench.suite.tuned import budget_of, tuned_s
from bench.types import ResultRow, Split

GRID_IMAGES = 8  # real images of each class in the grids


def report_info(session: Session, rows: Sequence[ResultRow]) -> ReportInfo:
    """Return the facts of a session. Machines, versions and commits are those of the rows, not of this process."""
    plan, suite, settings = session.plan, session.suite, session.suite.settings
    unit = scored_unit(plan.index, settings.primary)
    return ReportInfo(
        suite=suite.name,
        dataset=suite.dataset.name,
        classes=plan.index.classes,
        methods=tuple(m.name for m in suite.methods),
        generative=tuple(m.name for m in suite.methods if m.kind == "generative"),
        classifiers=tuple(c.name for c in suite.classifiers),
        ratios=arm_ratios(settings),
        folds=tuple(_fold_size(plan, s) for s in plan.splits),
        train_multipliers=settings.train_multipliers,
        segmentation_networks=tuple(settings.segmentation_networks),
        mask_carriers=mask_carriers(suite) if settings.segmentation_networks else (),
        tuned_s=_tuned(session),
        tuning_budgets={
            m.name: {c.name: b for c in suite.classifiers if (b := budget_of(suite.tuned_settings, m.name, c.name))}
            for m in suite.methods
        },
        margin=settings.margin,
        reference=settings.reference,
        description=settings.description,
        protocol=_protocol(session),
        image_size_px=settings.image_size_px,
        seed=settings.seed,
        fingerprint=plan.fingerprint,
        command=session.command,
        git_commit=", ".join(_distinct(rows, "git_commit")) or git_commit(),
        host="; ".join(_distinct(rows, "host")),
        versions=_versions(rows),
        data=_data_facts(session, unit),
        real_images=_real_images(plan, plan.splits[0]),
        roles=_roles(suite),
        modality=_modality(suite.dataset.target),
        other_findings=tuple(other_findings(session.env.out / "reports", suite.dataset.name)),
        runs=tuple(read_runs(session.env.out, suite.name)),
        published=published_facts(suite, settings.published) if settings.published else None,
        measures={k: v for m in suite.metrics for k, v in own_measures(m.name, m.create(), unit.per_group).items()},
        positive=plan.index.positive or "",
        design=settings.split.protocol,
        endpoint=settings.primary,
        contrast=settings.contrast,
        alpha=session.looks[-1].level if session.looks else 0.05,
        sizes=tuple(settings.split.train_patients) if settings.split.protocol == LEARNING_CURVE else (),
        reference_only=tuple(settings.split.reference_only),
    )


def _roles(suite: Suite) -> Roles:
    roles = roles_of(suite)
    asked: tuple[Asked, ...] = ("transfer", "cost", "others")
    left = [question for question in asked if question not in roles.answers]
    return replace(roles, elsewhere=suites_that_answer(left, suite.dataset.name))


def _modality(target: str) -> str:
    module, _, attribute = target.partition(":")
    return str(getattr(getattr(import_module(module), attribute), "modality", ""))


def other_findings(folder: Path, dataset: str) -> Iterator[OtherFinding]:
    """Yield the results on from-scratch counterparts from reports under ``folder`` on other data sets, sorted by
    name."""
    for path in sorted(folder.glob("*/leaderboard.json")):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            info = report["info"]
            asked = {q["name"]: q for q in report["questions"]}["transfer"]["findings"]
        except (OSError, ValueError, KeyError, TypeError):  # from an earlier version, or incomplete
            continue
        for d in (f["difference"] for f in asked if info["dataset"] != dataset):
            if d["kind"] in ("kid", "accuracy"):
                low, high = (math.nan if d[end] is None else d[end] for end in ("low", "high"))
                at = (info["suite"], info["dataset"], info["modality"], d["arm"]["method"], d["reference"], d["kind"])
                ratio = d["arm"]["ratio"] if d["kind"] == "accuracy" else ""
                yield OtherFinding(*at, d["classifier"], ratio, d["mean"], low, high, d["word"], d["pairs"])


def _tuned(session: Session) -> dict[str, dict[str, float]]:
    """Return the tuning cost in device seconds by method and classifier, for arms that were tuned."""
    suite, found = session.suite, dict[str, dict[str, float]]()
    for m in suite.methods:
        for c in suite.classifiers:
            if seconds := tuned_s(suite.tuned_settings, m.name, c.name):
                found.setdefault(m.name, {})[c.name] = seconds
    return found


def _protocol(session: Session) -> str:
    split = session.suite.settings.split
    repeats = f", {split.repeats} repeats" if split.repeats > 1 else ""
    if split.protocol == PUBLISHED:
        parts = "training, {0.validation_per_class} validation and {0.test_per_class} test images of each class"
        drawn = f"{split.train_per_class} {parts.format(split)}{repeats}"
        return f"{drawn}; fold 0 drawn image by image (patients shared), fold 1 with patients disjoint"
    if split.protocol == LEARNING_CURVE:
        sizes = ", ".join(map(str, split.train_patients))
        sets, why = split.sets, ""
        if found := session.stopped:
            sets, why = found.planned, f"; of at most {split.sets}, {found.decision.replace('stop', 'stopped early')}"
        n = split.unlabelled_patients
        further = f", {n} further patients of each set without labels" if n else ""
        return f"learning curve: {sets} disjoint training sets of {sizes} patients{further}, one common test part{why}"
    if split.protocol == GIVEN:
        times = f"{split.repeats} training{'s' if split.repeats > 1 else ''}"
        return f"given split, {times} with other seeds, patients disjoint"
    if split.by_folds:
        shift = f"; {split.shift.words}" if split.shift else ""
        return f"{split.folds}-fold{repeats}, patients disjoint{shift}"
    return f"holdout {1 - split.test_fraction:.0%} / {split.test_fraction:.0%}{repeats}, patients disjoint"


def _data_facts(session: Session, unit: ScoredUnit) -> DataFacts:
    index = session.plan.index
    groups: list[set[str]] = [set() for _ in index.classes]
    for record in index.records:
        groups[record.label].add(record.group_id)
    images = Counter(r.label for r in index.records)
    sizes = tuple(ClassSize(name, images[i], len(groups[i])) for i, name in enumerate(index.classes))
    problems = Counter(p.kind for p in index.problems)
    policy = getattr(session.suite.dataset.config, "on_near_duplicate", "")
    all_groups = len(set().union(*groups))
    odd = dict(sorted(problems.items()))
    return DataFacts(sizes, odd, unit.groups, _near(policy, problems), unit.mixed, all_groups)


def _near(policy: str, problems: Mapping[str, int]) -> str:
    """Return how near duplicates were handled, and how many there were."""
    across, conflicts = problems.get("near_copy_across_groups", 0), problems.get("near_copy_under_two_labels", 0)
    chains = problems.get("near_copies_run_together", 0)
    chained = (f"{chains} clusters that have run together left as they are",) if chains else ()
    done = {
        "group": (f"{across} moved to the group of their near duplicate", f"{conflicts} with two labels excluded"),
        "drop": (f"{across} excluded", f"{conflicts} with two labels excluded"),
        "keep": (f"{across} in different groups kept", f"{conflicts} with two labels kept"),
        "refuse": ("none: they are refused",),
    }
    found = across or conflicts or chains or policy not in ("group", "drop", "keep")
    return ", ".join((*done.get(policy, ()), *chained)) if found else "none found"


def _distinct(rows: Sequence[ResultRow], fact: str) -> list[str]:
    return sorted({str(r.facts[fact]) for r in rows if fact in r.facts})


def _versions(rows: Sequence[ResultRow]) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for row in rows:
        for name, version in row.facts.get("versions", {}).items():
            found.setdefault(name, set()).add(version)
    return {name: ", ".join(sorted(v)) for name, v in sorted(found.items())} or versions()


def _fold_size(plan: Plan, split: Split) -> FoldSize:
    group = {r.path: r.group_id for r in plan.index.records}
    train, validation, test = ({group[path] for path in part} for part in (split.train, split.validation, split.test))
    return FoldSize(
        split.fold,
        split.repeat,
        train_images=len(split.train),
        validation_images=len(split.validation),
        test_images=len(split.test),
        train_groups=len(train),  # patients, whatever the split's unit
        validation_groups=len(validation),
        test_groups=len(test),
        unit=split.unit,
        shared_groups=len(train & test),
        unlabelled_images=len(split.unlabelled),
        unlabelled_groups=len({group[path] for path in split.unlabelled}),
        train_patients=split.train_patients,
    )


def published_facts(suite: Suite, name: str) -> PublishedFacts:
    """Return the published results, and all deviations of the suite from the published protocol."""
    results = load_published(config_folder() / "published", name)
    words: dict[str, tuple[str, ...]] = {}
    settings, exchanged = {}, {}
    settings_of = {**asdict(suite.settings), "dataset": {"name": suite.dataset.name, **asdict(suite.dataset.config)}}
    if changed := _changed(results.suite, settings_of):
        words[""] = tuple(changed.values())
    for spec in suite.methods:
        if spec.name not in results.methods:
            continue
        known = results.methods[spec.name]
        target = registry.resolve("method", known.use)
        if spec.target != target:
            registered = {registry.resolve("method", n): n for n in registry.names("method")}
            exchanged[spec.name] = registered.get(spec.target, spec.target)
        changed = _changed(known.config, asdict(spec.config))
        settings[spec.name], words[spec.name] = tuple(changed), tuple(changed.values())
    return PublishedFacts(results, words, settings, exchanged)


def _changed(published: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, str]:
    """Return the differences by path of the setting: 'steps 40 (published: 2500)'."""
    found = {}
    for path, known in to_plain(published).items():
        value = to_plain(ours)
        for key in path.split("."):
            value = value.get(key, "not there") if isinstance(value, dict) else "not there"
        if value != known:
            found[path] = f"{path} {_shown(value)} (published: {_shown(known)})"
    return found


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).strip('"')


def _real_images(plan: Plan, split: Split) -> dict[str, tuple[Path, ...]]:
    """Return a few training images of the first fold for each class, from as many patients as possible."""
    record = plan.index.by_path()
    chosen = {}
    for label, name in enumerate(plan.index.classes):
        of_class = [record[p] for p in split.train if record[p].label == label]
        nth: dict[str, int] = {}
        for r in of_class:
            nth.setdefault(r.group_id, len(nth))
        turn: dict[str, int] = {}
        order = []
        for r in of_class:
            turn[r.group_id] = turn.get(r.group_id, -1) + 1
            order.append((turn[r.group_id], nth[r.group_id], r))
        order.sort(key=lambda item: item[:2])
        chosen[name] = tuple(plan.index.root / r.path for _, _, r in order[:GRID_IMAGES])
    return chosen
