"""Published and injected numbers: pooled counts, intervals, leakage, and the discriminator classifier."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from report_rows import row
from report_text import text as section_text

from bench.analysis.info import FoldSize, PublishedFacts, ReportInfo
from bench.analysis.published import comparisons, heads, impossible
from bench.analysis.report import Records, collect
from bench.analysis.rows import Rows
from bench.errors import ConfigError
from bench.metrics.predictions import Predictions, write_predictions
from bench.report.build import build_report
from bench.report.run_facts import published_facts
from bench.report.sections import literature as literature_section
from bench.report.sections import published as published_section
from bench.stats.inference import wilson
from bench.suite.published import load_published
from bench.suite.shipped import config_folder, suite_files
from bench.suite.suite import load_suite, parse_suite
from bench.types import ResultRow

CLASSES = ("benign", "malignant")
RESULTS = load_published(config_folder() / "published", "breakhis")
METHODS = ("cyclegan", "tlsgan_resnet50", "tlsgan_vgg16")
# (fold, repeat) -> tp, fn, fp, tn of cyclegan; fold 0 is drawn image by image
INJECTED = {(0, 0): (9, 1, 1, 9), (0, 1): (8, 2, 0, 10), (1, 0): (5, 5, 4, 6), (1, 1): (6, 4, 5, 5)}


def info(**changes: Any) -> ReportInfo:
    folds = tuple(
        FoldSize(f, r, 200, 20, 20, 30, 12, 12, unit="group" if f else "image", shared_groups=0 if f else 11 + r)
        for f, r in sorted(INJECTED, key=lambda p: p[::-1])
    )
    made = ReportInfo("s", "breakhis", CLASSES, METHODS, METHODS, (), ("1",), folds, published=PublishedFacts(RESULTS))
    return replace(made, **changes)


def head_row(root: Path, method: str, pair: tuple[int, int], counts: tuple[int, ...]) -> ResultRow:
    tp, fn, fp, tn = counts
    truth = np.array([1] * (tp + fn) + [0] * (fp + tn))
    called = np.array([1] * tp + [0] * fn + [1] * fp + [0] * tn)
    prob = np.where(called == 1, 0.8, 0.1)
    names = tuple(f"{i}.png" for i in range(len(truth)))
    table = Predictions(names, names, ("test",) * len(names), *pair, truth, np.stack([1 - prob, prob], 1), CLASSES)
    at = f"cells/head/{method}-{pair[0]}{pair[1]}"
    (root / at).mkdir(parents=True)
    write_predictions(root / at / "predictions.csv", table)
    facts = {"predictions": f"{at}/predictions.csv", "discriminator_classifier": "class head of D_a"}
    return row("discriminator_classifier", method, pair, facts=facts, folder=at)


def rows(root: Path, method: str = "cyclegan", loss: float | None = 0.001) -> list[ResultRow]:
    found = []
    for (fold, repeat), counts in INJECTED.items():
        found.append(head_row(root, method, (fold, repeat), counts))
        values = {"fcn/iou": 0.4 + 0.1 * (fold == 0) + 0.02 * repeat * (1 + fold), "unpaired/ssim": 0.2}
        found.append(row("translate", method, (fold, repeat), metrics=values))
        at = f"cells/fit/{method}-{fold}{repeat}"
        (root / at).mkdir(parents=True)
        lines = [f"{s},loss_class_ba,{v}" for s, v in ((10, 0.7), (20, loss))] if loss is not None else []
        (root / at / "history.csv").write_text("\n".join(["step,name,value", *lines]) + "\n")
        found.append(row("fit", method, (fold, repeat), folder=at, costs={"elapsed_s": 5.0}))
    return found


def comparison(found: Any, method: str, measure: str) -> Any:
    return next(c for c in found if (c.method, c.measure) == (method, measure))


def test_test_images_of_all_draws_are_pooled_by_kind_of_split(tmp_path: Path) -> None:
    found = comparisons(Rows(rows(tmp_path)), info(), tmp_path)
    accuracy = comparison(found, "cyclegan", "accuracy")
    assert (accuracy.by_image.hits, accuracy.by_image.n) == (36, 40)
    assert (accuracy.apart.hits, accuracy.apart.n) == (22, 40)
    assert (accuracy.apart.low, accuracy.apart.high) == wilson(22, 40)
    assert accuracy.leak.value == pytest.approx(36 / 40 - 22 / 40)
    assert 0 < accuracy.leak.low < 0.35 < accuracy.leak.high
    precision, recall = (comparison(found, "cyclegan", m) for m in ("precision", "recall"))
    assert (precision.by_image.hits, precision.by_image.n, precision.apart.hits, precision.apart.n) == (17, 18, 11, 20)
    assert (recall.by_image.hits, recall.by_image.n) == (17, 20)
    assert comparison(found, "cyclegan", "f1").by_image.value == pytest.approx(34 / 38)


def test_published_shares_get_the_interval_of_the_counts_behind_them(tmp_path: Path) -> None:
    found = comparisons(Rows([]), info(), tmp_path)
    accuracy = comparison(found, "tlsgan_resnet50", "accuracy")
    assert accuracy.printed == "0.95"
    assert (accuracy.published.hits, accuracy.published.n) == (19, 20)
    assert (round(accuracy.published.low, 2), round(accuracy.published.high, 2)) == (0.76, 0.99)
    precision = comparison(found, "tlsgan_resnet50", "precision")
    assert (precision.published.hits, precision.published.n) == (10, 11), "the nearest possible"
    assert comparison(found, "cyclegan", "precision").published.n == 4
    assert not np.isfinite(accuracy.by_image.value)


def test_means_over_draws_have_an_interval_where_there_are_several(tmp_path: Path) -> None:
    found = comparisons(Rows(rows(tmp_path)), info(), tmp_path)
    iou = comparison(found, "cyclegan", "iou")
    assert (iou.printed, iou.by_image.value, iou.apart.value) == ("0.3091", pytest.approx(0.51), pytest.approx(0.42))
    assert iou.leak.value == pytest.approx(0.09)
    assert iou.leak.low < 0.09 < iou.leak.high
    one = replace(info(), folds=info().folds[:2])
    assert not np.isfinite(
        comparison(comparisons(Rows(rows(tmp_path / "b")), one, tmp_path / "b"), "cyclegan", "iou").leak.low
    )


def test_only_the_impossible_precision_is_found() -> None:
    (wrong,) = impossible(info())
    assert (wrong.method, wrong.found.measure, wrong.found.printed) == ("tlsgan_resnet50", "precision", "0.9036")
    mended = replace(
        RESULTS.methods["tlsgan_resnet50"],
        classification={**RESULTS.methods["tlsgan_resnet50"].classification, "precision": "0.9091"},
    )
    results = replace(RESULTS, methods={**RESULTS.methods, "tlsgan_resnet50": mended})
    assert impossible(info(published=PublishedFacts(results))) == ()


def test_a_discriminator_classifier_is_described_by_its_predictions(tmp_path: Path) -> None:
    shared, apart = heads(Rows(rows(tmp_path, loss=0.002)), info(), tmp_path)
    assert (shared.class_loss, shared.trainings, shared.one_label) == (pytest.approx(0.002), 2, True)
    assert (shared.own.hits, shared.own.n, shared.other.hits, shared.other.n) == (19, 20, 3, 20)
    assert shared.difference.value == pytest.approx(16 / 20)
    assert (apart.own.hits, apart.other.hits) == (11, 9)
    assert apart.difference.low < 0 < apart.difference.high
    assert heads(Rows(rows(tmp_path / "plain", loss=None)), info(), tmp_path / "plain") == (), (
        "no class loss, no record"
    )


def page(tmp_path: Path, facts: PublishedFacts, loss: float = 0.001, method: str = "cyclegan") -> str:
    made = replace(info(), published=facts)
    return build_report(rows(tmp_path, method, loss), made, tmp_path, tmp_path / "report").read_text()


def line(text: str, start: str) -> str:
    return next(x for x in text.split("\n") if x.startswith(start))


def test_the_page_has_three_columns_and_the_difference(tmp_path: Path) -> None:
    text = page(tmp_path, PublishedFacts(RESULTS))
    assert "| Accuracy | Published | Ours, by image | Ours, disjoint | Leakage |" in text
    accuracy = line(text, "| `cyclegan` | 0.70")
    assert "36/40 = 0.90 [0.77, 0.96]" in accuracy
    assert "22/40 = 0.55 [" in accuracy
    assert "+0.35 [" in accuracy
    assert "0.9036 (impossible; 10/11 = 0.91 [0.62, 0.98])" in text
    assert "precision 0.9036 is impossible with accuracy 0.95, recall 1.00 and f1 0.95 on 10 + 10 images" in text
    assert "nearest possible 10/11 = 0.9091" in text
    assert "11 of 12 and 12 of 12 of the test patients were also used for training" in text
    assert "follows the published protocol" in text
    assert "patients are shared" in (tmp_path / "report" / "report.html").read_text()
    assert "does augmentation help" not in text
    assert "No score" not in text
    stored = json.loads((tmp_path / "report" / "leaderboard.json").read_text())
    assert stored["impossible"][0]["found"]["nearest"] == {"tp": 10, "fn": 0, "fp": 1, "tn": 9}


def test_sentences_on_the_discriminator_classifier_follow_its_numbers(tmp_path: Path) -> None:
    text = page(tmp_path, PublishedFacts(RESULTS))
    shared, apart = (line(text, f"`cyclegan`, {split}:") for split in ("by image", "patients disjoint"))
    assert "0.001 (mean of 2 trainings; converged)" in shared
    assert "trained with one class label only" in shared
    assert "; it separates the classes" in shared
    assert "do not show that it separates the classes" in apart
    taught = PublishedFacts(RESULTS, {"cyclegan": ("x",)}, {"cyclegan": ("class_on_both",)})
    text = page(tmp_path / "b", taught, loss=0.5)
    assert "trained with one class label only" not in text
    assert "0.5 (mean of 2 trainings; 0.69 is chance level)" in text


def test_a_replacement_is_named_in_the_table(tmp_path: Path) -> None:
    facts = PublishedFacts(
        RESULTS,
        {"cyclegan": ("steps 9 (published: 2500)",), "tlsgan_vgg16": ("pretrained false (published: true)",)},
        {"cyclegan": ("steps",), "tlsgan_vgg16": ("pretrained",)},
        {"tlsgan_resnet50": "tlsgan_lite0"},
    )
    text = page(tmp_path, replace(facts, differences={**facts.differences, "tlsgan_resnet50": ()}))
    assert "`tlsgan_resnet50`, ours with `tlsgan_lite0` | 0.95" in text
    assert "`tlsgan_vgg16`, ours without its pretraining | 0.50" in text
    assert "`cyclegan`, ours modified (see above) | 0.70" in text
    assert "Not the published protocol" in text
    assert "`tlsgan_resnet50` stands for `tlsgan_lite0` there" in text


def test_differences_of_the_suite_alone_are_named_too(tmp_path: Path) -> None:
    text = page(tmp_path, PublishedFacts(RESULTS, {"": ("dataset.magnification 100 (published: 400)",)}))
    assert "- all: dataset.magnification 100 (published: 400)" in text
    both = {"cyclegan": ("steps 9 (published: 2500)", "a"), "tlsgan_vgg16": ("steps 9 (published: 2500)",)}
    text = page(tmp_path / "b", PublishedFacts(RESULTS, both))
    assert "- all: steps 9 (published: 2500)\n- `cyclegan`: a" in text


def test_all_other_sections_use_patient_disjoint_splits(tmp_path: Path) -> None:
    records = collect(Rows(rows(tmp_path)), info(), tmp_path)
    (translation,) = records.translations
    assert translation.scores["fcn/iou"].mean == pytest.approx(0.42)
    assert translation.scores["fcn/iou"].n == 2


def test_a_suite_without_published_results_has_no_such_section(tmp_path: Path) -> None:
    plain = replace(info(), published=None)
    text = build_report(rows(tmp_path), plain, tmp_path, tmp_path / "report").read_text()
    assert "Published" not in text
    assert comparisons(Rows([]), plain, tmp_path) == ()


def test_the_shipped_suite_is_the_published_protocol() -> None:
    facts = published_facts(load_suite("breakhis-published"), "breakhis")
    assert not any(facts.differences.values()), facts.differences
    assert not facts.exchanged


def test_every_difference_from_it_is_named() -> None:
    changes = ("dataset.magnification=100", "methods.tlsgan_vgg16.use=tlsgan_vgg16_scratch", "methods.*.steps=7")
    facts = published_facts(load_suite("breakhis-published", changes), "breakhis")
    assert facts.differences[""] == ("dataset.magnification 100 (published: 400)",)
    assert facts.exchanged == {"tlsgan_vgg16": "tlsgan_vgg16_scratch"}
    assert facts.settings["tlsgan_vgg16"] == ("steps", "pretrained")
    assert facts.differences["cyclegan"] == ("steps 7 (published: 2500)",)


def test_missing_published_results_are_reported_when_planning(tmp_path: Path) -> None:
    data = yaml.safe_load(suite_files()["breakhis-published"].read_text())
    with pytest.raises(ConfigError, match="did you mean 'breakhis'"):
        parse_suite("s", {**data, "published": "breakhiss"})
    wrong = {"source": "x", "positive": "b", "test_images": {"a": 1, "b": 1}, "methods": {"m": {"us": "cyclegan"}}}
    (tmp_path / "odd.yaml").write_text(json.dumps(wrong))
    with pytest.raises(ConfigError, match=r"methods\.m: unknown key 'us'"):
        load_published(tmp_path, "odd")


def test_scores_of_the_literature_are_given_for_orientation(tmp_path: Path) -> None:
    literature = load_published(config_folder() / "published", "breakhis-literature")
    assert not literature.methods
    facts = PublishedFacts(literature, {"": ("dataset.magnification 100 (published: 400)",)})
    folds = tuple(FoldSize(f, 0, 100, 20, 40, 20, 5, 10) for f in range(2))
    made = replace(info(), folds=folds, methods=("none", "classical"), generative=(), classifiers=("net", "small"),
                   published=facts, protocol="2-fold, patients disjoint", image_size_px=64)  # fmt: skip
    scores = {"net": (0.80, 0.90), "small": (0.70, 0.72)}
    rows = [
        row("evaluate", m, (f, 0), ratio="0", classifier=c, metrics={"test/patient_score": of[f] + 0.1 * (m != "none")})
        for c, of in scores.items() for m in made.methods for f in range(2)
    ]  # fmt: skip
    records = collect(Rows(rows), made, tmp_path)
    (context,) = records.orientations[0].context
    assert {c: (round(n.value, 3), n.n) for c, n in context.ours.items()} == {"net": (0.85, 2), "small": (0.71, 2)}
    assert (context.networks, context.lowest, context.highest) == (5, 0.821, 0.8957)
    text = section_text(literature_section, made, orientations=records.orientations)
    assert "No classifier of this suite is one of the published networks" in text
    listed = "| ResNet-50, ImageNet weights (Chhipa et al., WACV 2023, 5 folds) | Patient-level accuracy | 87.9 ± 4.1 |"
    assert listed in text
    assert "| Patient-level accuracy | 82.1 to 89.6 | 85.0 [" in text
    assert "2-fold, patients disjoint, 64 px, mean over 2 pairs" in text
    assert "Known differences: dataset.magnification 100 (published: 400)." in text
    assert list(published_section.sections(Records(), made)) == []  # no method of the suite was published
    none = collect(Rows([]), made, tmp_path).orientations
    empty = section_text(literature_section, made, orientations=none)
    assert "| Patient-level accuracy | 82.1 to 89.6 | – | – |" in empty
    assert list(literature_section.sections(Records(orientations=none), replace(made, published=None))) == []


def literature_info(name: str, classes: tuple[str, ...], classifiers: tuple[str, ...], **changes: Any) -> ReportInfo:
    folds = tuple(FoldSize(f, 0, 100, 20, 40, 20, 5, 10) for f in range(3))
    known = PublishedFacts(load_published(config_folder() / "published", name))
    return info(folds=folds, methods=("none",), generative=(), classes=classes, classifiers=classifiers,
                published=known, **changes)  # fmt: skip


def none_rows(scores: Mapping[str, Mapping[str, Sequence[float]]]) -> list[ResultRow]:
    return [
        row("evaluate", "none", (f, 0), ratio="0", classifier=c,
            metrics={f"test/{m}": v[f] for m, v in of.items()})
        for c, of in scores.items() for f in range(3)
    ]  # fmt: skip


def test_published_networks_are_compared_with_corresponding_ones(tmp_path: Path) -> None:
    made = literature_info("busi-gradcam", ("benign", "malignant", "normal"), ("vgg19", "resnet152", "small_cnn"))
    scores = {
        "vgg19": {"recall_benign": (0.70, 0.74, 0.75), "recall_bm": (0.90, 0.91, 0.92)},
        "resnet152": {"recall_bm": (0.60, 0.61, 0.62)},
        "small_cnn": {"recall_bm": (0.80, 0.80, 0.80)},
    }
    (found,) = collect(Rows(none_rows(scores)), made, tmp_path).orientations
    of = {(b.network, b.metric): b for b in found.beside}
    assert len(of) == 42
    assert found.context == ()
    vgg = of["VGG19", "recall_benign"]
    assert (vgg.classifier, vgg.word, vgg.ours.value) == ("vgg19", "in", pytest.approx(0.73))
    assert vgg.ours.low < 0.73 < vgg.ours.high <= 1
    assert of["VGG19", "recall_bm"].word == "below"
    assert of["ResNet152V2", "recall_bm"].word == "above"
    assert (of["EfficientNetB7", "recall_bm"].classifier, of["EfficientNetB7", "recall_bm"].word) == ("", "")
    text = section_text(literature_section, made, orientations=(found,))
    shown = line(text, "| VGG19 | Recall of benign | 73.0 | `vgg19` | 73.0 [")
    assert shown.endswith("| yes |")
    assert line(text, "| ResNet152V2 | Mean recall of benign and malignant").endswith("| no: above |")
    assert "| `resnet152` (V1, not V2) |" in text
    assert "| EfficientNetB7" not in text, "36 numbers without a corresponding network here"
    assert "Of 3 published numbers with a corresponding network here, 1 lies in our interval, which is" in text
    middle = of["VGG19", "recall_bm"].ours  # as wide as that of the ResNet; the third is wider
    assert f"which is {100 * (middle.high - middle.low):.1f} points wide (median)" in text
    assert "**Above it, 1**: ResNet152V2: mean recall of benign and malignant." in text
    assert "**Below it, 1**: VGG19: mean recall of benign and malignant." in text


def test_a_suite_without_a_corresponding_network_gives_the_range(tmp_path: Path) -> None:
    made = literature_info("busi-gradcam", ("benign", "malignant", "normal"), ("small_cnn",))
    (found,) = collect(Rows(none_rows({"small_cnn": {"recall_benign": (0.5, 0.6, 0.7)}})), made, tmp_path).orientations
    text = section_text(literature_section, made, orientations=(found,))
    assert "No classifier of this suite is one of the published networks" in text
    assert "For context only: minimum and maximum of 6 published networks" in text
    assert "| Recall of benign | 7.0 to 88.0 | 60.0 [" in text
    assert text.count("\n| ") == 9  # heading, rule, one row for each measure
    assert "recall_" not in text


def test_every_corresponding_network_of_the_literature_is_in_the_suite() -> None:
    likes = {n: k.like for n, k in load_published(config_folder() / "published", "busi-gradcam").literature.items()}
    assert list(likes.values()) == [c.name for c in load_suite("busi").classifiers]


def test_printed_counts_give_an_interval_and_show_a_misprint(tmp_path: Path) -> None:
    made = literature_info("pr-ihc-literature", ("PR-", "PR+"), ("simple_cnn",))
    scores = {"simple_cnn": {"accuracy": (0.9, 0.92, 0.94), "sensitivity": (0.7, 0.71, 0.72)}}
    (found,) = collect(Rows(none_rows(scores)), made, tmp_path).orientations
    of = {b.metric: b for b in found.beside}
    assert {m: (b.published.hits, b.published.n) for m, b in of.items()} == {
        "accuracy": (75, 80), "sensitivity": (40, 43), "specificity": (35, 37),
    }  # fmt: skip
    assert (of["sensitivity"].published.low, of["sensitivity"].published.high) == wilson(40, 43)
    text = section_text(literature_section, made, orientations=(found,))
    assert "SimpleCNN: its accuracy was printed as 0.935; its own confusion matrix gives 75/80 = 0.9375" in text
    assert "| SimpleCNN | Sensitivity (recall of PR+) | 40/43 = 93.0 [81.4, 97.6] | `simple_cnn` | 71.0 [" in text
    assert "| SimpleCNN | Specificity (recall of PR-) | 35/37 = 94.6 [82.3, 98.5] | `simple_cnn` | – | – |" in text
    assert "trained here by AdamW" in text
    three = replace(made, classes=("PR-", "PR+", "PR++"))
    (several,) = collect(Rows(none_rows(scores)), three, tmp_path).orientations
    assert not any(np.isfinite(b.ours.value) for b in several.beside if b.metric == "sensitivity"), "another measure"


def test_the_published_cost_is_compared_with_ours(tmp_path: Path) -> None:
    made = literature_info("skin-cgan", ("a", "b"), (), host="two cores")
    made = replace(made, methods=("none", "cgan_skin"), generative=("cgan_skin",))
    costs = {"steps": 100.0, "elapsed_s": 50.0, "images_per_s": 25.0}
    rows = [row("fit", "cgan_skin", (f, 0), costs=costs) for f in range(3)]
    text = section_text(literature_section, made, orientations=collect(Rows(rows), made, tmp_path).orientations)
    assert "| Published | NVIDIA Tesla P100 | 100,000 | 8.8 h | 50.8 |" in text
    assert "| Ours, per fold | two cores | 100 | 50 s | 25.0 |" in text
    assert "100,000 steps of 16 images. The same number of images would take 17.8 h here, 2.03 times as long." in text
    missing = section_text(literature_section, made, orientations=collect(Rows([]), made, tmp_path).orientations)
    assert "| Ours, per fold | two cores | – | – | – |" in missing
    assert load_suite("isic9").settings.published == load_suite("isic9-small").settings.published == "skin-cgan"


def test_the_breakhis_suites_name_the_literature_and_say_where_they_differ() -> None:
    for name in ("breakhis", "breakhis-small"):
        suite = load_suite(name)
        assert suite.settings.published == "breakhis-literature"
        facts = published_facts(suite, "breakhis-literature")
        assert facts.differences == {"": ("dataset.magnification null (published: 400)",)}
    ihc = load_suite("pr-ihc")
    assert published_facts(ihc, "pr-ihc-literature").differences == {}
    small = published_facts(load_suite("pr-ihc-small"), "pr-ihc-literature").differences[""]
    assert "dataset.name phantom_ihc (published: ihc)" in small


def test_published_methods_need_their_positive_class(tmp_path: Path) -> None:
    wrong = {"source": "x", "positive": "c", "test_images": {"a": 1}, "methods": {"m": {"use": "cgan", "config": {}}}}
    (tmp_path / "odd.yaml").write_text(json.dumps(wrong))
    with pytest.raises(ConfigError, match="got positive 'c', expected one of: a"):
        load_published(tmp_path, "odd")
