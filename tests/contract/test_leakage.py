"""Leaks, injected where a careless or malicious hand would put them: each is refused, and by its check alone.

Every leak is run twice through the harness's own stages: as it stands (it must raise ``LeakageError``), and with the
one check disabled that it names (it must then go through in silence, or the first run proved nothing of that check).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toy import Toy, register, write_squares, write_suite

from bench.classifiers.normalisation import channel_statistics
from bench.data.loaders import FoldData, LabelledImages, Part, TrainingPart, TrainValidationView
from bench.data.synthetic_files import load_synthetic, save_manifest
from bench.engine.cell_run import run_cell
from bench.engine.session import Session, prepare
from bench.errors import LeakageError
from bench.leakage import PARTS, FittedStatistics, FoldParts, SourceImages
from bench.metrics.predictions import Predictions, read_predictions
from bench.metrics.selection import selection_score
from bench.plan.plan import Cell
from bench.stages.common import Inputs
from bench.store.cell_folders import Artifacts
from bench.types import ResultRow

NORMALISED = {"small_cnn": {"steps": 4, "evaluate_every": 2, "batch_size": 8, "width": 4, "normalisation": "training"}}


class Workshop:
    """A finished toy run, and the hands of whoever plants a leak in it."""

    def __init__(self, session: Session, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.session, self.folder, self.patch = session, folder, patch
        self.artifacts = Artifacts(session.env.out)

    def cell(self, stage: str, **where: Any) -> Cell:
        wanted = {"fold": 0, "repeat": 0, **where}
        cells = self.session.plan.cells
        return next(c for c in cells if c.stage == stage and all(getattr(c, k) == v for k, v in wanted.items()))

    def at(self, stage: str, **where: Any) -> Path:
        """The folder of a finished cell."""
        return self.artifacts.folder(*self.cell(stage, **where).id)

    def again(self, stage: str, **where: Any) -> ResultRow:
        """Do a cell of the plan anew, from what lies in the folders."""
        return self.do(self.cell(stage, **where))

    def do(self, cell: Cell) -> ResultRow:
        """Do a cell; what fails raises the error it was stored with."""
        shutil.rmtree(self.artifacts.folder(*cell.id), ignore_errors=True)
        row = run_cell(cell, self.session.env)
        if row.status == "failed":
            kind, _, text = str(row.error).partition(": ")
            raise LeakageError(text) if kind == "LeakageError" else AssertionError(row.error)
        return row

    def classify(self, **where: Any) -> ResultRow:
        return self.again("classify", **{"method": "toy", "ratio": "1", **where})

    @property
    def fold(self) -> FoldData:
        return Inputs(self.cell("fit", method="toy"), self.session.env).fold()

    def edit(self, path: Path, change: Callable[[Any], Any]) -> None:
        path.write_text(json.dumps(change(json.loads(path.read_text()))))


def toy_tools(patch: pytest.MonkeyPatch) -> None:
    register(patch)
    patch.setattr("bench.cost.timers._give_back_memory", lambda: None)  # before every cell: slow, and of no use here


def suite_of(folder: Path, data: Path, **changes: Any) -> Session:
    return prepare(str(write_suite(folder / "s.yaml", **changes)), (), data, folder / "out")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two folds of the toy suite, split, fitted, sampled and classified without a leak."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        toy_tools(patch)
        shop = Workshop(suite_of(folder, write_squares(folder / "data")), folder, patch)
        for fold in (0, 1):
            shop.again("split", fold=fold)
            shop.again("fit", fold=fold, method="toy")
            shop.again("synthesize", fold=fold, method="toy")
        shop.classify()
        yield folder


@pytest.fixture
def shop(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    toy_tools(monkeypatch)
    for name in ("data", "out"):
        shutil.copytree(finished / name, tmp_path / name)
    return Workshop(suite_of(tmp_path, tmp_path / "data"), tmp_path, monkeypatch)


# --- split -----------------------------------------------------------------------------------------------------------


def a_patient_in_two_parts(shop: Workshop) -> None:
    """One image of a test patient is moved to training in the saved split."""

    def move(split: Any) -> Any:
        group, images = next(iter(split["parts"]["test"].items()))
        split["parts"]["train"][group] = [images.pop()]
        return split

    shop.edit(shop.at("split") / "split.json", move)
    shop.again("fit", method="toy")


def a_copy_under_another_patient(shop: Workshop) -> None:
    """A dataset that keeps copies has one of a test image under the name of a training patient."""
    split = json.loads((shop.at("split") / "split.json").read_text())["parts"]
    of = {part: sorted(i for images in split[part].values() for i in images if "benign" in i) for part in split}
    source, patient = shop.folder / "data" / of["test"][0], of["train"][0].split("_")[0]
    shutil.copy(source, shop.folder / "data" / f"{patient}_9.png")
    changes = {"on_duplicate": "keep", "on_near_duplicate": "keep"}
    dataset = {"name": "image_folder", "group_regex": r"(?P<group>[bm]\d+)_", **changes}
    suite_of(shop.folder, shop.folder / "data", dataset=dataset)


def a_split_of_other_images(shop: Workshop) -> None:
    """The saved split was drawn before an image was replaced by another of the same name."""
    shop.edit(shop.at("split") / "split.json", lambda split: {**split, "fingerprint": "0123456789abcdef"})
    shop.again("fit", method="toy")


# --- synthetic set ---------------------------------------------------------------------------------------------------


def a_generator_fitted_on_everything(shop: Workshop) -> None:
    """The fit stage hands its method all parts of the fold; the synthesize stage knows nothing of it."""
    everything = with_all_parts(shop.fold)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FoldData, "training", everything)
        shop.again("fit", method="toy")
    shop.again("synthesize", method="toy")


def a_generator_of_another_fold(shop: Workshop) -> None:
    """The synthetic folder of fold 1 lies where that of fold 0 should."""
    shutil.rmtree(shop.at("synthesize", method="toy"))
    shutil.copytree(shop.at("synthesize", method="toy", fold=1), shop.at("synthesize", method="toy"))
    shop.classify()


def a_generator_that_saw(part: Any) -> Callable[[Workshop], None]:
    def inject(shop: Workshop) -> None:
        path = shop.at("synthesize", method="toy") / "seen_groups.json"
        shop.edit(path, lambda seen: [*seen, shop.fold.part(part).groups[0]])
        shop.classify()

    return inject


def a_generator_that_does_not_say(shop: Workshop) -> None:
    """The list of groups is empty."""
    shop.edit(shop.at("synthesize", method="toy") / "seen_groups.json", lambda seen: [])
    shop.classify()


def sources(shop: Workshop, seen: Callable[[list[str]], list[str]] = list, **source: str) -> None:
    folder = shop.at("synthesize", method="toy")
    made = load_synthetic(folder)
    save_manifest(folder, [replace(r, **source) for r in made.records], seen(list(made.seen_groups)))


def a_translation_of_a_held_out_image(shop: Workshop) -> None:
    sources(shop, source_path=shop.fold.part("test").records[0].path)
    shop.classify()


def a_translation_of_a_held_out_patient(shop: Workshop) -> None:
    sources(shop, source_group=shop.fold.part("validation").groups[0])
    shop.classify()


def a_list_of_seen_groups_that_was_cut(shop: Workshop) -> None:
    """The manifest names a source whose group is no longer among those that the generator saw."""
    group = shop.fold.part("train").groups[0]
    sources(shop, lambda seen: [g for g in seen if g != group], source_group=group)
    shop.classify()


def a_pasted_image(part: Any) -> Callable[[Workshop], None]:
    """The generator 'makes' a held-out image; its manifest is spotless."""

    def inject(shop: Workshop) -> None:
        pasted = shop.fold.part(part).images[3]
        made = Toy.synthesize

        def paste(self: Toy, *args: Any) -> Any:
            for item in made(self, *args):
                yield replace(item, image=pasted) if item.label == 1 else item

        shop.patch.setattr(Toy, "synthesize", paste)
        shop.again("synthesize", method="toy")
        shop.classify()

    return inject


def a_copied_file(shop: Workshop) -> None:
    """A held-out file is copied into the folder; the suite crops, so that its pixels would come out otherwise."""
    fold = shop.fold
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 40, 3), dtype=np.uint8))
    target = shop.folder / "data" / fold.part("test").records[0].path
    wide.save(target)
    changes: dict[str, Any] = {"resize": "crop"}
    other = Workshop(suite_of(shop.folder, shop.folder / "data", **changes), shop.folder, shop.patch)
    for stage in ("split", "fit", "synthesize"):
        other.again(stage, **({} if stage == "split" else {"method": "toy"}))
    made = next((other.at("synthesize", method="toy") / "images").rglob("*.png"))
    shutil.copy(other.folder / "data" / other.fold.part("test").records[0].path, made)
    other.classify()


# --- tuning and model selection --------------------------------------------------------------------------------------


def tuning_asks_for_the_test_part(shop: Workshop) -> None:
    shop.fold.train_validation().part("test")


def a_method_asks_for_the_test_part(shop: Workshop) -> None:
    """A method reaches for what its training data keeps to itself."""
    fit = Toy.fit

    def curious(self: Toy, data: Any, ctx: Any) -> None:
        data._part("test", 16)
        fit(self, data, ctx)

    shop.patch.setattr(Toy, "fit", curious)
    shop.again("fit", method="toy")


def early_stopping_on(part: Any) -> Callable[[Workshop], None]:
    """The classify stage is changed to take its validation images from another part."""

    def inject(shop: Workshop) -> None:
        shop.patch.setattr(FoldData, "train_validation", lambda fold: Shifted(fold, part))
        shop.classify()

    return inject


class Shifted:
    """A fold that serves another part for validation."""

    def __init__(self, fold: FoldData, part: Any) -> None:
        self._fold, self._served = fold, part

    def part(self, name: Any) -> Part:
        return self._fold.part(self._served if name == "validation" else name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fold, name)


def a_segmentation_network_chosen_on_test_images(shop: Workshop) -> None:
    """The segment stage is changed to pick its best weights on test images, out of the fold that it trains with."""
    settings: dict[str, Any] = {
        "steps": 2,
        "filters": 4,
        "batch_size": 4,
        "evaluate_every": 1,
        "pseudo_masks": "haematoxylin",
    }
    shop = Workshop(suite_of(shop.folder, shop.folder / "data", segmentation=settings), shop.folder, shop.patch)
    split = shop.cell("split")
    segment = replace(split, stage="fcn_score", key="0" * 16, upstream=(split.id,))
    part = FoldData.part
    shop.patch.setattr(
        TrainValidationView, "part", lambda fold, name: part(fold, "test" if name == "validation" else name)
    )
    shop.do(segment)


def training_on_test_images(shop: Workshop) -> None:
    """The classify stage is changed to train on the test images too."""
    from bench.stages import classify

    assemble = classify.assemble_training_set

    def more(fold: FoldData, *args: Any) -> LabelledImages:
        train, test = assemble(fold, *args), shop.fold.part("test")
        groups = SourceImages(train.source_images.groups | test.source_images.groups)
        images, labels = np.concatenate([train.images, test.images]), np.concatenate([train.labels, test.labels])
        is_synthetic = np.concatenate([train.is_synthetic, np.zeros(len(test.labels), dtype=bool)])
        return replace(train, images=images, labels=labels, is_synthetic=is_synthetic, source_images=groups)

    shop.patch.setattr(classify, "assemble_training_set", more)
    shop.classify()


def selection_by_test_predictions(shop: Workshop) -> None:
    """A tuner scores the whole table of predictions."""
    selection_score(read_predictions(shop.at("classify", method="toy", ratio="1") / "predictions.csv"))


def selection_by_renamed_predictions(shop: Workshop) -> None:
    """Test rows are called validation rows; the fold's borders know better."""
    path = shop.at("classify", method="toy", ratio="1") / "predictions.csv"
    test: Predictions = read_predictions(path).select("test")
    renamed = replace(test, part=("validation",) * len(test.part))
    selection_score(renamed, fold_parts=shop.fold.fold_parts)


# --- feature statistics and normalisation constants ------------------------------------------------------------------


def a_threshold_fitted_on_everything(shop: Workshop) -> None:
    """A filter for synthetic images takes its threshold from all images of the dataset."""
    records = shop.session.plan.index.records
    threshold = FittedStatistics("the filter's threshold", {"distance": 1.0}, SourceImages.of(records))
    threshold.for_fold(shop.fold.fold_parts)


def a_threshold_of_another_fold(shop: Workshop) -> None:
    """A threshold is fitted, saved, and used for another fold."""
    other = Inputs(shop.cell("fit", method="toy", fold=1), shop.session.env).fold().part("train")
    FittedStatistics("the filter's threshold", {"distance": 1.0}, other.source_images).save(
        shop.folder / "threshold.json"
    )
    FittedStatistics.load(shop.folder / "threshold.json").for_fold(shop.fold.fold_parts)


def a_threshold_of_nobody(shop: Workshop) -> None:
    """A threshold does not list its source images on which images it was fitted."""
    FittedStatistics("the filter's threshold", {"distance": 1.0}, SourceImages()).for_fold(shop.fold.fold_parts)


def a_filter_of_copies_fitted_on_everything(shop: Workshop) -> None:
    """The thresholds by which copies are left out of a training set were fitted on all images of the dataset."""
    shop = Workshop(suite_of(shop.folder, shop.folder / "data", exclude_memorised=True), shop.folder, shop.patch)
    everything = SourceImages.of(shop.session.plan.index.records)
    folder = shop.at("memorised", method="toy")
    folder.mkdir(parents=True)
    FittedStatistics("the copy thresholds", {"pixels": 1.0}, everything).save(folder / "memorisation_thresholds.json")
    (folder / "memorised.csv").write_text("path,flagged\nimages/0/00000.png,1\n")
    shop.classify(ratio="1-without-memorised")


def constants_of_everything(shop: Workshop) -> None:
    """The channel means are computed on all parts of the fold."""
    everything = with_all_parts(shop.fold)
    shop = Workshop(suite_of(shop.folder, shop.folder / "data", classifiers=NORMALISED), shop.folder, shop.patch)
    shop.patch.setattr(FoldData, "training", everything)
    shop.classify()


def constants_of_another_fold(shop: Workshop) -> None:
    """Constants that were stored for another fold lie in the cell's folder when it is resumed."""
    other = Inputs(shop.cell("fit", method="toy", fold=1), shop.session.env).fold()
    shop = Workshop(suite_of(shop.folder, shop.folder / "data", classifiers=NORMALISED), shop.folder, shop.patch)
    partial = shop.artifacts.partial(*shop.cell("classify", method="toy", ratio="1").id)
    partial.mkdir(parents=True)
    channel_statistics(other.training).save(partial / "normalisation.json")
    shop.classify()


def with_all_parts(fold: FoldData) -> TrainingPart:
    """What a contributor hands on who thinks that more data is better data."""
    training, parts = fold.training, [fold.part(name) for name in ("train", "validation", "test")]
    training.records = tuple(r for p in parts for r in p.records)
    training.labels = np.concatenate([p.labels for p in parts])
    images = np.concatenate([p.images for p in parts])
    training.images = lambda size_px=None: images  # type: ignore[method-assign]
    return training


# --- the table -------------------------------------------------------------------------------------------------------

SPLIT, DRAWN = "bench.leakage.FoldParts.require_disjoint", "bench.data.splits.check_drawn_from"
GENERATOR, SOURCES = "bench.data.loaders.check_generator", "bench.data.loaders.check_sources"
CONTENT, OPEN = "bench.data.loaders.check_content", "bench.data.loaders.require_open"
SAMPLED = "bench.stages.synthesize.check_generator"
SELECTION, SELECTABLE = "bench.classifiers.trainer.check_selection", "bench.metrics.selection.check_selectable"
STATISTICS = "bench.leakage.check_statistics"


@dataclass(frozen=True)
class Leak:
    """``inject`` puts the leak in place and goes on as the harness would; ``check`` is what must stop it, saying so."""

    path: str
    name: str
    inject: Callable[[Workshop], Any]
    check: str
    says: str


LEAKS = (
    Leak("split", "a patient in two parts", a_patient_in_two_parts, SPLIT, "in one part only"),
    Leak("split", "a copy under another patient", a_copy_under_another_patient, SPLIT, "exact duplicates in"),
    Leak("split", "of other images", a_split_of_other_images, DRAWN, "drawn from other images"),
    Leak("synthetic", "generator fitted on everything", a_generator_fitted_on_everything, SAMPLED, "used groups"),
    Leak("synthetic", "generator of another fold", a_generator_of_another_fold, GENERATOR, "used groups"),
    Leak("synthetic", "generator saw validation", a_generator_that_saw("validation"), GENERATOR, "validation part"),
    Leak("synthetic", "generator saw test", a_generator_that_saw("test"), GENERATOR, "test part"),
    Leak(
        "synthetic",
        "generator does not list its source images",
        a_generator_that_does_not_say,
        GENERATOR,
        "does not list its source images",
    ),
    Leak("synthetic", "held-out source image", a_translation_of_a_held_out_image, SOURCES, "images of the test part"),
    Leak("synthetic", "held-out source patient", a_translation_of_a_held_out_patient, SOURCES, "of the validation"),
    Leak("synthetic", "list of seen groups cut", a_list_of_seen_groups_that_was_cut, SOURCES, "leaves out groups"),
    Leak(
        "synthetic", "validation image pasted", a_pasted_image("validation"), CONTENT, "duplicates of images of the v"
    ),
    Leak("synthetic", "test image pasted", a_pasted_image("test"), CONTENT, "duplicates of images of the test"),
    Leak("synthetic", "test file copied", a_copied_file, CONTENT, "duplicates of images of the test"),
    Leak("tuning", "sealed fold", tuning_asks_for_the_test_part, OPEN, "the test part was asked for"),
    Leak("tuning", "method's data", a_method_asks_for_the_test_part, OPEN, "the test part was asked for"),
    Leak("tuning", "segmentation", a_segmentation_network_chosen_on_test_images, OPEN, "the test part was asked for"),
    Leak("tuning", "early stopping on test", early_stopping_on("test"), SELECTION, "selection used .* test part"),
    Leak("tuning", "early stopping on training", early_stopping_on("train"), SELECTION, "selection used .* train"),
    Leak("tuning", "training on test", training_on_test_images, SELECTION, "training set used .* test part"),
    Leak("tuning", "score of test rows", selection_by_test_predictions, SELECTABLE, "predictions of the test part"),
    Leak("tuning", "score of renamed rows", selection_by_renamed_predictions, SELECTABLE, "used .* test part"),
    Leak("features", "threshold of everything", a_threshold_fitted_on_everything, STATISTICS, "threshold used"),
    Leak("features", "threshold of another fold", a_threshold_of_another_fold, STATISTICS, "threshold used"),
    Leak("features", "filter of copies", a_filter_of_copies_fitted_on_everything, STATISTICS, "thresholds used"),
    Leak("features", "threshold of nobody", a_threshold_of_nobody, STATISTICS, "does not list its source images"),
    Leak("normalisation", "constants of everything", constants_of_everything, STATISTICS, "constants used"),
    Leak("normalisation", "constants of another fold", constants_of_another_fold, STATISTICS, "constants used"),
)
EACH = pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: f"{leak.path}: {leak.name}")


@EACH
def test_an_injected_leak_raises(leak: Leak, shop: Workshop) -> None:
    with pytest.raises(LeakageError, match=leak.says):
        leak.inject(shop)


@EACH
def test_without_its_check_the_leak_goes_through(leak: Leak, shop: Workshop) -> None:
    shop.patch.setattr(leak.check, lambda *args, **kwargs: None)
    leak.inject(shop)


def test_every_path_of_a_leak_is_in_the_table() -> None:
    assert {leak.path for leak in LEAKS} == {"split", "synthetic", "tuning", "features", "normalisation"}


def test_without_a_leak_nothing_is_refused(shop: Workshop) -> None:
    """The same stages, untouched: also with constants of the training images, which end up in the saved weights."""
    from safetensors.numpy import load_file

    for stage in ("fit", "synthesize"):
        shop.again(stage, method="toy")
    assert shop.classify().metrics == {}
    shop = Workshop(suite_of(shop.folder, shop.folder / "data", classifiers=NORMALISED), shop.folder, shop.patch)
    shop.classify()
    folder, fold = shop.at("classify", method="toy", ratio="1"), shop.fold
    stored = FittedStatistics.load(folder / "normalisation.json")
    assert stored.source_images.groups == set(fold.part("train").groups)
    values = stored.for_fold(fold.fold_parts)
    x = fold.part("train").images.reshape(-1, 3) / 255
    np.testing.assert_allclose(values["mean"], x.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(values["sd"], x.std(axis=0), rtol=1e-9)
    np.testing.assert_allclose(load_file(folder / "classifier.safetensors")["mean"].ravel(), values["mean"], rtol=1e-6)


def test_validation_scores_may_select(shop: Workshop) -> None:
    predictions = read_predictions(shop.at("classify", method="toy", ratio="1") / "predictions.csv").select(
        "validation"
    )
    right = predictions.y_prob.argmax(axis=1) == predictions.y_true
    expected = np.mean([right[predictions.y_true == c].mean() for c in (0, 1)])
    assert selection_score(predictions, fold_parts=shop.fold.fold_parts) == pytest.approx(expected)
    assert selection_score(predictions, "brier") < 0 <= selection_score(predictions, "auroc")


def test_content_that_no_part_has_is_new_and_names_that_no_part_has_are_refused() -> None:
    fold_parts = FoldParts("fold 3", {p: SourceImages(frozenset({p})) for p in PARTS})
    fold_parts.require("it", SourceImages(frozenset({"train"}), content=frozenset({"new"})), "train", "do so")
    with pytest.raises(LeakageError, match=r"fold 3: it used groups that are not in this fold: 'x'; .*: do so"):
        fold_parts.require("it", SourceImages(frozenset({"x"})), "train", "do so")
