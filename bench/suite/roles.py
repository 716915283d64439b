"""Roles of a suite's generative methods in the research questions, determined from classes and configs, not from names.

The questions (README) are about one family of methods, CycleGAN and its variants that transfer ImageNet features:
plain methods, transfer methods, ablation pairs that differ only in the transfer, and other generators.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Literal

from bench.abilities import OfFamily
from bench.config import to_plain
from bench.errors import ConfigError, RegistryError
from bench.suite.contrast import NOISE
from bench.suite.shipped import suite_files
from bench.suite.suite import PluginSpec, Suite, load_suite

FAMILY = "cyclegan"  # value of ``family`` in the methods' classes
Asked = Literal["transfer", "cost", "others"]  # research questions about the methods of one suite
PRETRAINED = "pretrained"  # the setting in which the methods of an ablation pair differ


@dataclass(frozen=True)
class Counterpart:
    """A method and the most similar plain one; ``differs`` lists different settings, such as 'steps 20 (60)'."""

    method: str
    plain: str
    differs: tuple[str, ...]


@dataclass(frozen=True)
class Roles:
    """Generative methods by role, in the suite's order.

    ``transfer``: of the family, with pretrained networks; ``random``: the same networks from random weights; ``plain``:
    without pretrainable networks; ``others``: not of the family; the negative control has no role.
    ``ablation_pairs``: (pretrained, random) methods with all other settings equal, including those of their
    classifiers. ``elsewhere``: for a question that these methods cannot answer, the shipped suites that can.
    """

    transfer: tuple[str, ...] = ()
    random: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    ablation_pairs: tuple[tuple[str, str], ...] = ()
    counterparts: tuple[Counterpart, ...] = ()
    elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def answers(self) -> frozenset[Asked]:
        """The questions that these methods can answer."""
        found: dict[Asked, bool] = {
            "transfer": bool(self.ablation_pairs),
            "cost": bool(self.counterparts),
            "others": bool(self.transfer and self.others),
        }
        return frozenset(question for question, there in found.items() if there)


def roles_of(suite: Suite) -> Roles:
    """Return the roles of a suite's methods; ``elsewhere`` is left empty."""
    generative = [m for m in suite.methods if m.kind == "generative" and m.registered != NOISE]
    kinds = {m.name: _transfer(m) for m in generative}
    by_kind = {k: [m for m in generative if kinds[m.name] == k] for k in ("pretrained", "random", "none")}
    ablation_pairs = [
        (a.name, b.name) for a in by_kind["pretrained"] for b in by_kind["random"] if _is_ablation_pair(a, b, suite)
    ]
    transferable = [m for m in generative if kinds[m.name] in ("pretrained", "random")]
    return Roles(
        transfer=_names(by_kind["pretrained"]),
        random=_names(by_kind["random"]),
        plain=_names(by_kind["none"]),
        others=tuple(name for name, kind in kinds.items() if not kind),
        ablation_pairs=tuple(ablation_pairs),
        counterparts=tuple(_counterpart(m, by_kind["none"]) for m in transferable if by_kind["none"]),
    )


def suites_that_answer(questions: Iterable[Asked], dataset: str) -> dict[str, tuple[str, ...]]:
    """Return the shipped suites that can answer each question: those of ``dataset`` first, then by number of folds."""
    found: dict[str, list[tuple[bool, int, str]]] = {question: [] for question in questions}
    for name, own_dataset, folds, answers in _shipped() if found else ():
        for question in answers & found.keys():
            found[question].append((own_dataset != dataset, -folds, name))
    return {question: tuple(name for *_, name in sorted(names)) for question, names in found.items()}


@cache
def _shipped() -> tuple[tuple[str, str, int, frozenset[Asked]], ...]:
    """Return the name, dataset and folds of each shipped suite and the questions that it can answer.

    Read once per process: every report needs all of them.
    """
    found = []
    for name in suite_files():
        try:
            suite = load_suite(name)
        except (ConfigError, RegistryError):  # a plug-in of the suite is not installed
            continue
        found.append((name, suite.dataset.name, suite.settings.split.folds, frozenset(roles_of(suite).answers)))
    return tuple(found)


def _names(methods: Iterable[PluginSpec]) -> tuple[str, ...]:
    return tuple(m.name for m in methods)


def _transfer(spec: PluginSpec) -> str:
    """Return the ``transfer`` value of a method of the family; '' for other methods."""
    method = spec.create()
    return method.transfer if isinstance(method, OfFamily) and method.family == FAMILY else ""


def _is_ablation_pair(a: PluginSpec, b: PluginSpec, suite: Suite) -> bool:
    own = [{name: c for method, c in suite.tuned if method == m.name for name in (c.name,)} for m in (a, b)]
    return a.version == b.version and set(_differing(a.config, b.config)) == {PRETRAINED} and own[0] == own[1]


def _differing(a: Any, b: Any) -> dict[str, tuple[Any, Any]]:
    """Return the settings in which two configs differ; '–' stands for a setting that a config does not have."""
    mine, other = (to_plain(asdict(c)) for c in (a, b))
    keys = [*mine, *(k for k in other if k not in mine)]
    values = {k: (mine.get(k, "–"), other.get(k, "–")) for k in keys}
    return {k: both for k, both in values.items() if both[0] != both[1]}


def _counterpart(spec: PluginSpec, plain: Iterable[PluginSpec]) -> Counterpart:
    nearest = min(plain, key=lambda p: len(_differing(spec.config, p.config)))
    differs = _differing(spec.config, nearest.config)
    return Counterpart(spec.name, nearest.name, tuple(f"{k} {a} ({b})" for k, (a, b) in differs.items()))
