"""Every chart as drawn by matplotlib: axes have labels, legends hide no data, numbers equal the stored ones."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_rows import made_up

from bench.analysis.info import ReportInfo
from bench.analysis.report import collect
from bench.analysis.rows import Rows
from bench.forecast.profiles import Point
from bench.report.charts import style
from bench.report.charts.draw import draw_figures
from bench.report.charts.profile import draw_profile
from bench.suite.arms import Arm
from bench.types import ResultRow

GANS = ("cgan", "cyclegan")
CHARTS = (
    *("forest", "folds", "cost", "sweep", "differences", "equal_terms", "roc", "pr", "reliability", "confusion"),
    *("confusion_patients", "patients", "classifier_losses", "losses"),
)


@dataclass(frozen=True)
class Drawn:
    """A run's charts: figures by the name of their file, and captions."""

    rows: Sequence[ResultRow]
    info: ReportInfo
    figures: dict[str, Any]
    captions: dict[str, str]

    def stored(self, metric: str, arm: Arm, classifier: str) -> float:
        """Return the mean of a metric over the stored rows."""
        same = [r for r in self.rows if (r.stage, r.method, r.ratio) == ("evaluate", arm.method, arm.ratio)]
        return float(np.mean([r.metrics[f"test/{metric}"] for r in same if r.classifier == classifier]))

    def arm(self, label: str) -> Arm:
        """Return the arm with this label."""
        return next(a for a in self.info.arms if a.label == label.replace("\n", ""))


def train_classifiers(root: Path, rows: Sequence[ResultRow]) -> None:
    """Write a history for every classify cell."""
    for k, r in enumerate(r for r in rows if r.stage == "classify"):
        with (root / str(r.folder) / "history.csv").open("w", newline="") as f:
            out = csv.writer(f)
            out.writerow(("step", "name", "value"))
            for step in range(10, 60, 10):
                out.writerow((step, "train/loss", 0.7 / step + 0.001 * k))
                out.writerow((step, "validation/balanced_accuracy", 0.5 + step / 200))


def draw(root: Path, patch: pytest.MonkeyPatch, **options: Any) -> Drawn:
    """Draw the charts of a synthetic run and keep the figures instead of writing them."""
    reference = options.pop("reference", None)
    rows, info = made_up(root, pictures=False, generative=GANS, **options)
    train_classifiers(root, rows)
    if reference:
        info = ReportInfo(**{**info.__dict__, "reference": reference})
    figures: dict[str, Any] = {}
    patch.setattr(style, "save", lambda fig, path: figures.__setitem__(path.stem, fig))
    table = Rows(rows)
    captions = draw_figures(collect(table, info, root), table, info, root, root / "report")
    return Drawn(rows, info, figures, {Path(p).stem: text for p, text in captions.items()})


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Drawn:
    """Two classes with all optional features of a suite, and one profile."""
    root = tmp_path_factory.mktemp("two")
    drawn = draw(
        root,
        patch,
        classifiers=("small_cnn", "resnet18"),
        ratios=("0.5", "1", "1-without-memorised", "balance"),
        train_multipliers=(2,),
        patients=8,
        reference="cyclegan",
    )
    points = [Point("training", n, size, 4, 0.1 * size, 4, 3, 10**9) for n in GANS for size in (32, 64)]
    draw_profile(points, root, "profile")
    return drawn


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Drawn:
    """Three classes with long names, three classifiers and a single ratio."""
    classes = ("basal cell carcinoma", "pigmented benign keratosis", "nevus")
    return draw(tmp_path_factory.mktemp("three"), patch, classes=classes, classifiers=tuple("abc"), ratios=("1",))


def data_axes(fig: Any) -> list[Any]:
    return [ax for ax in fig.axes if ax.get_visible() and ax.axison and ax.has_data()]


def labelled(ax: Any, which: str, labels: set[str]) -> bool:
    """Whether an axis has a label: its own, its figure's, or that of a panel with shared ticks."""
    shared = getattr(ax, f"get_shared_{which}_axes")()
    sharing = [ax, *(other for other in ax.figure.axes if shared.joined(ax, other))]
    own = any(getattr(other, f"get_{which}label")() for other in sharing)
    arms = which == "y" and any(t.get_text() in labels for other in sharing for t in other.texts)
    return bool(own or arms or getattr(ax.figure, f"get_sup{which}label")())


@pytest.mark.parametrize("which", ["two", "three"])
def test_every_axis_has_a_label(which: str, request: pytest.FixtureRequest) -> None:
    drawn: Drawn = request.getfixturevalue(which)
    labels = {a.label for a in drawn.info.arms} | set(drawn.info.methods)
    axes = [(name, ax) for name, fig in drawn.figures.items() for ax in data_axes(fig)]
    assert len(axes) > 40 - 15 * (which == "three")
    for side in ("x", "y"):
        unnamed = [name for name, ax in axes if "confusion" not in name and not labelled(ax, side, labels)]
        assert unnamed == [], side
    for name in (
        n for n in drawn.figures if "confusion" in n
    ):  # in a grid of matrices, only the outer axes have labels
        assert {"true class", "predicted class"} <= {
            text.split("\n")[-1] for ax in drawn.figures[name].axes for text in (ax.get_xlabel(), ax.get_ylabel())
        }


def test_every_chart_is_drawn_and_has_a_caption(two: Drawn, three: Drawn) -> None:
    assert set(two.figures) == {*CHARTS, "profile-training"}
    assert set(two.captions) == set(CHARTS)
    twice = ("roc", "pr", "reliability", "patients", "classifier_losses")
    pages = {f"{n}_2" for n in (*twice, "confusion", "confusion_patients")} | {"confusion_3", "confusion_patients_3"}
    assert set(three.figures) == set(CHARTS) - {"sweep", "differences"} | pages
    for drawn in (two, three):
        assert all(text.endswith(".") for text in drawn.captions.values())
        assert all(len(drawn.captions[name]) > 80 for name in CHARTS if name in drawn.captions)
    assert three.captions["roc_2"] == "Continued: b and c."
    assert three.captions["confusion_2"] == "Continued: b."


@pytest.mark.parametrize("name", ["roc", "pr", "sweep", "patients", "classifier_losses", "reliability", "confusion"])
def test_legends_cover_no_data_and_nothing_leaves_the_figure(two: Drawn, three: Drawn, name: str) -> None:
    for drawn in (two, three):
        if name not in drawn.figures:
            continue
        fig = drawn.figures[name]
        fig.draw_without_rendering()
        legends = [*fig.legends, *(x for ax in fig.axes if (x := ax.get_legend()))]
        for legend in legends:
            box = legend.get_window_extent()
            assert not any(box.overlaps(ax.get_window_extent()) for ax in data_axes(fig)), name
        tight = fig.get_tightbbox().transformed(fig.dpi_scale_trans)
        beyond = [-tight.x0, -tight.y0, tight.x1 - fig.bbox.x1, tight.y1 - fig.bbox.y1]
        assert max(beyond) < 3, (name, beyond)  # pixels


@pytest.mark.parametrize(("name", "metric"), [("roc", "auroc"), ("pr", "auprc")])
def test_areas_in_legends_are_the_stored_metrics(two: Drawn, three: Drawn, name: str, metric: str) -> None:
    for drawn in (two, three):
        seen = 0
        for ax in [ax for n, fig in drawn.figures.items() if n in (name, f"{name}_2") for ax in data_axes(fig)]:
            for text in ax.get_legend_handles_labels()[1]:
                label, value = text.split(" [")[0].rsplit(": ", 1)
                assert float(value) == pytest.approx(drawn.stored(metric, drawn.arm(label), ax.get_title()), abs=6e-4)
                seen += 1
        assert seen == 4 * len(drawn.info.classifiers)  # none, classical and two more


def test_precision_recall_is_a_staircase_and_has_the_prevalence(two: Drawn) -> None:
    ax = data_axes(two.figures["pr"])[0]
    curves = [line for line in ax.lines if len(line.get_xdata()) > 2]
    assert {line.get_drawstyle() for line in curves} == {"steps-pre"}
    (chance,) = [line for line in ax.lines if len(line.get_xdata()) == 2]
    assert set(chance.get_ydata()) == {0.5}  # half of the patients are malignant
    assert len(ax.collections) == len(curves) == 4  # a band each


def test_calibration_errors_in_titles_are_the_stored_metric(two: Drawn) -> None:
    tops = [ax for ax in data_axes(two.figures["reliability"]) if ax.get_title()]
    classifiers = [c for c in two.info.classifiers for _ in range(4)]
    for ax, classifier in zip(tops, classifiers, strict=True):
        label, value = ax.get_title().rsplit("\nECE ", 1)
        assert float(value) == pytest.approx(two.stored("ece", two.arm(label), classifier), abs=6e-4)


def matrices(drawn: Drawn, name: str, classes: int) -> Iterator[tuple[Arm, np.ndarray]]:
    for ax in data_axes(drawn.figures[name]):
        counts = [int(t.get_text()) for t in ax.texts]
        yield drawn.arm(ax.get_title()), np.array(counts).reshape(classes, classes)


def test_confusion_matrices_are_those_behind_the_stored_metrics(two: Drawn, three: Drawn) -> None:
    for name, metric, units in (("confusion", "accuracy", 192), ("confusion_patients", "patient_accuracy", 24)):
        for arm, matrix in matrices(three, name, 3):
            assert matrix.sum() == units  # images, patients of two folds
            assert np.trace(matrix) / units == pytest.approx(three.stored(metric, arm, "a"))
        assert len(list(matrices(two, name, 2))) == 2 * 4


def test_one_dot_per_patient_at_the_share_of_correct_images(three: Drawn) -> None:
    ax = data_axes(three.figures["patients"])[0]
    dots = [line for line in ax.lines if line.get_linestyle() == "None" and line.get_markerfacecolor() != "none"]
    assert sum(len(line.get_xdata()) for line in dots) == 4 * 24  # arms, patients
    share = np.concatenate([line.get_xdata() for line in dots]).mean()
    arms = [three.arm(t.get_text()) for t in ax.texts]
    assert share == pytest.approx(100 * np.mean([three.stored("patient_score", a, "a") for a in arms]))


def test_a_sweep_joins_numbers_and_leaves_balance_apart(two: Drawn) -> None:
    ax = data_axes(two.figures["sweep"])[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["×0.5", "×1", "balance"]
    joined = [line for line in ax.lines if line.get_marker() == "None" and line.get_linewidth() == 1.1]
    assert [[round(x) for x in line.get_xdata()] for line in joined] == [[0, 1]] * len(GANS)
    marks = [line for line in ax.lines if line.get_marker() != "None"]
    assert len(marks) == 4 * len(GANS)
    assert sum(line.get_markerfacecolor() == "white" for line in marks) == len(GANS)  # without memorised samples


def test_lines_are_distinguishable_without_colour(two: Drawn) -> None:
    identity: dict[str, Callable[[Any], Any]] = {
        "roc": lambda line: line.get_linestyle() + str(line._dash_pattern),
        "classifier_losses": lambda line: line.get_linestyle() + str(line._dash_pattern),
        "sweep": lambda line: line.get_marker(),
    }
    for name, look in identity.items():
        fig = two.figures[name]
        legend = (fig.legends or [x for ax in fig.axes if (x := ax.get_legend())])[0]
        looks = [look(handle) for handle in legend.get_lines()]
        named = [t.get_text() for t in legend.get_texts() if t.get_text() != "without memorised samples"]
        assert len({*looks[: len(named)]}) == len(named) > 1, name


def test_captions_explain_bands_and_selected_arms(two: Drawn) -> None:
    for name in ("roc", "pr"):
        assert re.search(r"mean over pairs .* shaded from the lowest to the highest", two.captions[name])
    assert "malignant against benign" in two.captions["roc"]
    for name in ("roc", "pr", "reliability", "confusion", "confusion_patients", "patients", "classifier_losses"):
        assert "best generative arm" in two.captions[name], name


def colours(drawn: Drawn, name: str) -> dict[str, str]:
    """Return the colours of the lines of a figure's legend by the method that they show."""
    fig = drawn.figures[name]
    legend = (fig.legends or [x for ax in fig.axes if (x := ax.get_legend())])[0]
    named = zip(legend.get_texts(), legend.get_lines(), strict=True)
    methods = {text.get_text().split(":")[0].split(" ")[0]: line.get_color() for text, line in named}
    return {m: colour for m, colour in methods.items() if m in drawn.info.methods}


def test_a_method_has_one_colour_in_all_charts(two: Drawn) -> None:
    expected = {m: look.colour for m, look in style.method_looks(two.info.methods).items()}
    assert len(set(expected.values())) == len(two.info.methods)
    for name in ("cost", "sweep", "roc", "pr", "classifier_losses"):
        found = colours(two, name)
        assert len(found) > 1
        assert found == {m: expected[m] for m in found}, name
    for name in ("forest", "differences"):
        ax = data_axes(two.figures[name])[0]
        names = {t.get_position()[1]: t.get_text().split(" ")[0] for t in ax.texts}
        marks = [line for line in ax.lines if line.get_marker() not in ("None", "|")]
        assert {names[line.get_ydata()[0]]: line.get_color() for line in marks} == {
            m: expected[m] for m in names.values()
        }, name


def test_every_interval_lies_within_the_axis(two: Drawn, three: Drawn) -> None:
    seen = 0
    for drawn in (two, three):
        for ax in [ax for name in ("forest", "differences") if name in drawn.figures
                   for ax in data_axes(drawn.figures[name])]:  # fmt: skip
            low, high = ax.get_xlim()
            ends = [x for collection in ax.collections for path in collection.get_paths() for x in path.vertices[:, 0]]
            assert all(low <= x <= high for x in ends)
            assert low < 0 < high
            seen += len(ends)
    assert seen > 30


def test_more_methods_than_colours_differ_in_marker_and_dashes() -> None:
    looks = style.method_looks(["none", *(f"m{i}" for i in range(60))]).values()
    assert len({(k.colour, k.marker) for k in looks}) == len({(k.colour, str(k.dashes)) for k in looks}) == 61
