"""Reports of the trials: ``selftest.md``, ``.json``, ``.png``; reproducible, without times or paths."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.files import write_atomic
from bench.report.charts.style import BLUE, CYCLE, GREY, LINES, MARKERS, ORANGE, PURPLE, VERMILLION, figure
from bench.report.text import percent, table
from bench.selftest.outcomes import Outcome
from bench.selftest.promises import ALPHA, AT_LEAST, Promise, Rate, claims, covered, equivalent
from bench.selftest.trial_runs import TrialResult
from bench.selftest.trials import ARMS, EFFECTS, PILOT_REPEATS, PILOTS, SPREAD, WIDE_MARGIN
from bench.stats.planning import LASTING_SHARE, design_power

TESTS = {
    "verdict": ("the verdict", BLUE),
    "bound": ("t test at Nadeau & Bengio's bound", PURPLE),
    "plain": ("paired t test, not corrected", ORANGE),
    "naive": ("McNemar, images as independent", VERMILLION),
}
LARGEST = max(EFFECTS)


def write_report(results: Sequence[TrialResult], kept: Sequence[Promise], seed: int, out: Path) -> dict[str, Any]:
    """Write the three files into ``out`` and return the content of the JSON. Equal results give equal bytes."""
    out.mkdir(parents=True, exist_ok=True)
    data = as_json(results, kept, seed)
    write_atomic(out / "selftest.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    _draw(results, out / "selftest.png")
    write_atomic(out / "selftest.md", markdown(results, kept, seed))
    return data


def rates(outcome: Outcome) -> dict[str, Rate]:
    """Return how often each test claims an effect, by its name in ``TESTS``."""
    claimed = {n: np.nan_to_num(getattr(outcome, n), nan=1.0) < ALPHA for n in ("bound", "plain", "naive")}
    return {"verdict": Rate.of(claims(outcome)), **{n: Rate.of(v) for n, v in claimed.items()}}


def conclusions(results: Sequence[TrialResult], kept: Sequence[Promise]) -> list[str]:
    """Return the conclusions, one sentence each."""
    null = [rates(r.outcomes[0.0]) for r in results]
    low, high = (f(n["verdict"].share for n in null) for f in (min, max))
    naive = [f(n["naive"].share for n in null) for f in (min, max)]
    off = max(abs(Rate.of(r.outcomes[e].word == "helps").share - p) for r in results for e, p in r.promised.items())
    broken = [p for p in kept if not p.holds]
    first = results[0]
    found = Rate.of(first.outcomes[LARGEST].word == "helps")
    return [
        f"Without an effect, the harness claims one in {percent(low)} to {percent(high)} % of comparisons; a "
        f"test that treats images as independent does so in {percent(naive[0])} to {percent(naive[1])} %.",
        f"The power for injected effects agrees with `bench plan --effect` within {percent(off)} percentage points.",
        f"{first.trial.name}: an effect of {percent(LARGEST)} points is found in {percent(found.share)} % of "
        "comparisons. An undecided verdict does not mean that the arms are equal.",
        f"All {len(kept)} promises hold."
        if not broken
        else f"{len(broken)} of {len(kept)} promises are broken: "
        + "; ".join(f"{p.text} ({p.trial}): {percent(p.found.share)} %, not {p.wanted}" for p in broken)
        + ".",
    ]


def markdown(results: Sequence[TrialResult], kept: Sequence[Promise], seed: int) -> str:
    """Return the text of selftest.md."""
    n = len(results[0].family)
    text = ["# Selftest: the statistics on simulated comparisons with known truth\n"]
    text += [f"- {s}\n" for s in conclusions(results, kept)]
    text += [
        "\n![Left: power for an injected effect, promised and found. Right: false claims by test](selftest.png)\n",
        "\n## False claims without an effect\n",
        f"\nShare of {n} simulated A/A comparisons, in % [95 % interval]. Promised: {percent(AT_LEAST)} to "
        f"{percent(ALPHA)}. *Any of {ARMS} arms*: arms without an effect that share a reference, corrected by Holm. "
        "*One arm twice*: a second run of the same arm, so that no effect on a patient is the same in all repeats.\n\n",
        _null_table(results),
        "\n## Power with an effect\n",
        f"\nShare of verdicts *helps*, in %. Promised: the planner's power from a pilot of 5 folds × {PILOT_REPEATS} "
        f"with the same number of patients, averaged over {min(PILOTS, n)} pilots, so that a difference is an error of "
        f"the planner; *one pilot*: range of 8 of 10 single pilots for {percent(LARGEST)} points. McNemar: claims if "
        "images are treated as independent.\n\n",
        _power_table(results),
        "\n## Intervals and equivalence\n",
        "\nHow often the 95 % interval of the verdict contains the true effect, in % (promised: at least 95). The "
        "interval over patients is that of the scores; it does not include the variation of repeated training. "
        f"*Equivalent*: the effect is shown to be smaller than {percent(WIDE_MARGIN)} points; if it is exactly that "
        "large, this is false (promised: at most 5).\n\n",
        _interval_table(results),
        "\n## Simulation\n\n",
        *_made(results, seed),
    ]
    return "".join(text)


def _null_table(results: Sequence[TrialResult]) -> str:
    head = ["Design", *(title for title, _ in TESTS.values()), f"any of {ARMS} arms", "one arm twice"]
    rows = []
    for r in results:
        same_arm_twice = _text(Rate.of(np.isin(r.same_arm_twice, ("helps", "hurts")))) if len(r.same_arm_twice) else ""
        found = rates(r.outcomes[0.0])
        rows.append([r.trial.name, *(_text(found[t]) for t in TESTS), _text(Rate.of(r.family)), same_arm_twice])
    return table([h[0].upper() + h[1:] for h in head], rows)


def _power_table(results: Sequence[TrialResult]) -> str:
    rows = []
    for r in results:
        for effect, promised in r.promised.items():
            found, naive = Rate.of(r.outcomes[effect].word == "helps"), rates(r.outcomes[effect])["naive"]
            low, high = np.quantile(r.single_pilots, [0.1, 0.9])
            one = f"{percent(low)} to {percent(high)}" if effect == LARGEST else ""
            shown = [f"{100 * effect:g} points", percent(promised), _text(found), one, percent(naive.share)]
            rows.append([r.trial.name, *shown])
    return table(["Design", "Effect", "Promised", "Found", "One pilot", "McNemar"], rows)


def _interval_table(results: Sequence[TrialResult]) -> str:
    rows = []
    for r in results:
        cover = [_text(covered(r.outcomes[e].low, r.outcomes[e].high, e)) for e in EFFECTS]
        boot = covered(r.outcomes[0.0].boot_low, r.outcomes[0.0].boot_high, 0.0)
        equal = [_text(equivalent(r.outcomes[e])) for e in (0.0, WIDE_MARGIN)]
        rows.append([r.trial.name, *cover, _text(boot), *equal])
    heads = [f"{100 * e:g} points" for e in EFFECTS]
    last = ["Over patients, 0 points", "Equivalent, 0 points", f"Equivalent, {100 * WIDE_MARGIN:g} points"]
    return table(["Design", *heads, *last], rows)


def _text(rate: Rate) -> str:
    return f"{percent(rate.share)} [{percent(rate.low)}, {percent(rate.high)}]"


def _made(results: Sequence[TrialResult], seed: int) -> list[str]:
    first = results[0]
    spread = ", ".join(f"{k} {v}" for k, v in asdict(SPREAD).items())
    parts = first.components
    sd = 100 * math.sqrt(parts.pair_variance(first.design))
    return [
        f"- **Predictions**: logits of the true class with normal components, in logit units: {spread}.\n",
        f"- **Properties** ({first.trial.name}): {percent(first.scores[0])} % of the patients and "
        f"{percent(first.scores[1])} % of the images are correct; {percent(parts.changed)} % of the patients are "
        f"correct in one arm only; sd of paired differences {sd:.1f} points; {percent(parts.lasting_share)} % of the "
        "effect on a patient is the same in all repeats. The source code names the runs that these values are from.\n",
        "- **Splits**: created by the harness, disjoint patients, one fifth of the rest for validation; the t test "
        f"uses n_test/n_train = {first.test_train_ratio:.4f} as in a report, and {LASTING_SHARE:g} times the "
        "correlation of pairs (fold × repeat) that Nadeau and Bengio assume.\n",
        f"- **Seed**: {seed}; {len(first.family)} comparisons per design.\n",
    ]


def as_json(results: Sequence[TrialResult], kept: Sequence[Promise], seed: int) -> dict[str, Any]:
    """Return everything as plain data, shares in [0, 1] rounded to 6 digits."""
    return _rounded(
        {
            "seed": seed,
            "comparisons": len(results[0].family),
            "all_hold": all(p.holds for p in kept),
            "conclusions": conclusions(results, kept),
            "promises": [asdict(p) for p in kept],
            "trials": [_trial_json(r) for r in results],
            "spread": asdict(SPREAD),
        }
    )


def _trial_json(r: TrialResult) -> dict[str, Any]:
    null = r.outcomes[0.0]
    return {
        **asdict(r.trial),
        "test_train_ratio": r.test_train_ratio,
        "components": asdict(r.components),
        "accuracy": {"patients": r.scores[0], "images": r.scores[1]},
        "claims_without_effect": {k: asdict(v) for k, v in rates(null).items()},
        "family": asdict(Rate.of(r.family)),
        "ablation_pairs": asdict(Rate.of(np.isin(r.same_arm_twice, ("helps", "hurts"))))
        if len(r.same_arm_twice)
        else None,
        "interval_over_patients": asdict(covered(null.boot_low, null.boot_high, 0.0)),
        "single_pilots_10_50_90": np.quantile(r.single_pilots, [0.1, 0.5, 0.9]).tolist(),
        "effects": [
            {
                "effect": e,
                "promised": r.promised.get(e),
                "words": {w: float(np.mean(o.word == w)) for w in ("helps", "hurts", "equivalent", "undecided")},
                "claims": {k: v.share for k, v in rates(o).items()},
                "covered": asdict(covered(o.low, o.high, e)),
                "equivalent_within_10_points": equivalent(o).share,
            }
            for e, o in r.outcomes.items()
        ],
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _draw(results: Sequence[TrialResult], path: Path) -> None:
    with figure(path, 1, 2, 9.6, 4.3) as (_, axes):
        _draw_power(axes[0, 0], results)
        _draw_claims(axes[0, 1], results)


def _draw_power(ax: Any, results: Sequence[TrialResult]) -> None:
    x = np.linspace(0, 0.12, 61)
    for i, r in enumerate(results):
        promised = [design_power(r.components, r.design, float(e)) for e in x[1:]]
        ax.plot(100 * x[1:], 100 * np.array(promised), color=CYCLE[i], linestyle=LINES[i % len(LINES)])
        found = [Rate.of(r.outcomes[e].word == "helps") for e in r.promised]
        at = 100 * np.array(list(r.promised)) + 0.12 * (i - 1.5)
        bars = 100 * np.array([[f.share - f.low, f.high - f.share] for f in found]).T
        y = [100 * f.share for f in found]
        marks = {"fmt": MARKERS[i], "color": CYCLE[i], "markersize": 5, "elinewidth": 1.0, "capsize": 2}
        ax.errorbar(at, y, yerr=bars, label=r.trial.name, **marks)
    ax.set(xlabel="true effect, points of balanced accuracy", ylabel="called 'helps', %", ylim=(-2, 102), xlim=(0, 12))
    ax.set_title("Effects: promised (lines) and found (marks)")
    ax.legend(loc="upper left")


def _draw_claims(ax: Any, results: Sequence[TrialResult]) -> None:
    high = 0.8 / len(TESTS)
    for i, (test, (title, colour)) in enumerate(TESTS.items()):
        found = [rates(r.outcomes[0.0])[test] for r in results]
        y = np.arange(len(results)) + (i - (len(TESTS) - 1) / 2) * high
        share = np.array([100 * f.share for f in found])
        ends = 100 * np.array([[f.share - f.low, f.high - f.share] for f in found]).T
        ax.barh(y, share, height=0.9 * high, color=colour, label=title, xerr=ends, error_kw={"elinewidth": 0.8})
        for at, value, end in zip(y, share, ends[1], strict=True):
            ax.text(value + end + 0.8, at, f"{value:.1f}", va="center", fontsize=7)
    ax.axvspan(100 * AT_LEAST, 100 * ALPHA, color=GREY, alpha=0.25, linewidth=0, zorder=0)
    ax.set_yticks(range(len(results)), [r.trial.name.replace(", ", "\n") for r in results])
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set(xlabel="claims without an effect, % (shaded: promised, 1 to 5)", xlim=(0, 82))
    ax.set_title("False claims, by test")
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.14), ncols=2)
