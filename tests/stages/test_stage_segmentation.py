"""Stage segmentation: which arms have masks, what they train on, no leakage, resuming; its report."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import FakeContext, Interrupt
from PIL import Image
from toy import Toy, write_suite

from bench import registry
from bench.abilities import CarriesMasks
from bench.analysis.report import Records
from bench.analysis.rows import Rows
from bench.analysis.segmentation import segmented
from bench.config import stable_hash
from bench.engine.cell_run import run_cell
from bench.engine.executors.threads import limit_threads
from bench.engine.session import Session, prepare
from bench.errors import ConfigError, LeakageError, WeightsError
from bench.forecast.workload import workloads
from bench.interfaces import RunContext, TrainingData
from bench.metrics.overlap import hausdorff95
from bench.metrics.overlap_table import mean_scores, read_outlined
from bench.plan.plan import Cell, mask_carriers
from bench.plan.selection import select
from bench.report.build import build_report
from bench.report.charts.segmentations import BLUE, draw_segmentations
from bench.report.run_facts import report_info
from bench.report.sections import segmentation as segmentation_section
from bench.segmentation.network_config import SegmentationNetworkConfig
from bench.segmentation.smp_unet import build_segmentation_network
from bench.segmentation.trainer import MaskedImages, augmented, mean_dice, segment, train_segmentation
from bench.stages.common import Inputs
from bench.stages.segmentation import EXAMPLES, MASKS, stretched, training_images
from bench.store.cell_folders import Artifacts
from bench.tracking.rows import unit_name
from bench.types import ResultRow, SyntheticImage

NET: dict[str, Any] = {
    "encoder": "tu-test_resnet",
    "decoder_filters": [16, 8, 8],
    "steps": 6,
    "batch_size": 4,
    "evaluate_every": 3,
    "learning_rate": 0.01,
}
SUITE: dict[str, Any] = {
    "dataset": {"name": "phantom", "patients": 8, "images_per_patient": 3, "image_size_px": 48},
    "image_size_px": 32,
    "methods": {"none": {}, "classical": {}, "oversample": {}, "toy": {}, "mirror": {}},
    "ratios": [0.5],
    "segmentation_networks": {
        "unet": NET,
        "attention_unet": NET | {"attention": "scse", "decoder_filters": [16, 16, 16]},
    },
    "explain": {"images_per_class": 0},
}


class Mirror(Toy):
    """A translator whose images are the negatives of their sources."""

    def translation_size_px(self, image_size_px: int) -> int:
        return image_size_px

    def cycle(self, images: np.ndarray, label: int, fitted: Path, ctx: Any) -> tuple[np.ndarray, np.ndarray]:
        return 255 - images, images.copy()

    def synthesize(
        self, data: TrainingData, counts: Mapping[int, int], fitted: Path, ctx: RunContext
    ) -> Iterator[SyntheticImage]:
        for label, n in counts.items():
            rows = np.flatnonzero(data.labels != label)
            for i in range(n):
                row = int(rows[i % len(rows)])
                yield SyntheticImage(255 - data.images()[row], label, i, data.records[row].path)


def session(folder: Path, **changes: Any) -> Session:
    return prepare(str(write_suite(folder / "s.yaml", **{**SUITE, **changes})), (), None, folder / "out")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Session, list[ResultRow]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.REGISTRY["method"], "toy", "toy:Toy")
        patch.setitem(registry.REGISTRY["method"], "mirror", f"{__name__}:Mirror")
        made = session(tmp_path_factory.mktemp("segmentation"))
        limit_threads(1)
        cells = select(made.plan.cells, ["stage=segmentation", "fold=0"])
        cells = [c for c in cells if c.classifier != "attention_unet" or c.method == "none"]
        yield made, [run_cell(c, made.env) for c in cells]


def cell(session: Session, method: str, network: str = "unet") -> Cell:
    at = ("segmentation", method, network, 0)
    return next(c for c in session.plan.cells if (c.stage, c.method, c.classifier, c.fold) == at)


def folder(session: Session, method: str, network: str = "unet") -> Path:
    return Artifacts(session.env.out).folder(*cell(session, method, network).id)


def test_arms_with_masks_are_trained_and_others_are_not(done: tuple[Session, list[ResultRow]]) -> None:
    made, rows = done
    assert {(r.status, r.error) for r in rows} == {("done", None)}
    assert mask_carriers(made.suite) == ("none", "classical", "mirror")
    found = {(r.method, r.ratio, r.classifier) for r in rows if r.stage == "segmentation"}
    arms = [("none", "0"), ("classical", "0"), ("mirror", "0.5")]
    assert found == {*((*arm, "unet") for arm in arms), ("none", "0", "attention_unet")}
    planned = {(c.method, c.ratio, c.classifier) for c in made.plan.cells if c.stage == "segmentation"}
    assert planned == {(*arm, net) for arm in arms for net in ("unet", "attention_unet")}
    assert {r.method for r in rows if r.stage == "fit"} == {"mirror"}, "nothing is fitted that carries no mask"
    facts = {r.method: r.facts for r in rows if (r.stage, r.classifier) == ("segmentation", "unet")}
    assert facts["none"]["synthetic_images"] == facts["classical"]["synthetic_images"] == 0
    assert facts["mirror"]["synthetic_images"] == round(facts["none"]["real_images"] / 2)
    assert facts["none"]["real_images"] == facts["mirror"]["real_images"]


def test_reported_values_equal_those_of_the_table(done: tuple[Session, list[ResultRow]]) -> None:
    made, rows = done
    test = Inputs(cell(made, "none"), made.env).fold().part("test")
    for r in (r for r in rows if r.stage == "segmentation"):
        table = read_outlined(made.env.out / r.folder / MASKS)
        assert [x.image for x in table] == [record.path for record in test.records]
        assert [x.group for x in table] == list(test.groups)
        means = mean_scores(table, made.plan.index.classes)
        assert {k: v for k, v in r.metrics.items() if k.startswith("test/")} == {
            f"test/{k}": v for k, v in means.items()
        }
        scored = {f"test/lesion_{name}" for name in ("dice", "iou", "hd95_px")}
        assert {*scored, "test/dice", "validation/dice"} < r.metrics.keys()
    shown = [np.load(folder(made, m) / EXAMPLES) for m in ("none", "mirror")]
    distances = {x.image: x.hd95_px for x in read_outlined(folder(made, "none") / MASKS)}
    for path, true, found in zip(shown[0]["paths"], shown[0]["true"], shown[0]["found"], strict=True):
        assert distances[path] == hausdorff95(true, found, (1.5, 1.5)), "images of 48 px, seen at 32"
    assert shown[0]["images"].shape == (6, 32, 32, 3)
    assert shown[0]["true"].shape == shown[0]["found"].shape == shown[0]["maps"].shape == (6, 32, 32)
    facts = {r.method: r.facts for r in rows if (r.stage, r.classifier) == ("segmentation", "unet")}
    assert facts["none"]["grid"] == [4, 4]
    for kept in shown:
        assert ((kept["maps"].max((1, 2)) > 0) <= (kept["found"].max((1, 2)) > 0)).all(), "nothing found, nothing shown"
        assert kept["maps"].max() <= 1
    np.testing.assert_array_equal(shown[0]["paths"], shown[1]["paths"])
    np.testing.assert_array_equal(shown[0]["true"], shown[1]["true"])


def test_a_translation_has_its_sources_mask(done: tuple[Session, list[ResultRow]]) -> None:
    made, _ = done
    inputs = Inputs(cell(made, "mirror"), made.env)
    data, extra = training_images(inputs, inputs.fold().train_validation())
    real = len(data.images) - extra
    for image, mask in zip(data.images[real:], data.masks[real:], strict=True):
        source = next(i for i in range(real) if np.array_equal(255 - data.images[i], image))
        np.testing.assert_array_equal(mask, data.masks[source])
    plain, none = training_images(Inputs(cell(made, "none"), made.env), inputs.fold().train_validation())
    assert none == 0
    np.testing.assert_array_equal(plain.images, data.images[:real])


def test_the_harness_knows_the_stage(done: tuple[Session, list[ResultRow]]) -> None:
    made, rows = done
    row = next(r for r in rows if (r.stage, r.method, r.classifier) == ("segmentation", "mirror", "unet"))
    assert unit_name(row) == "mirror/r0.5/unet/fold0/repeat0"
    work = workloads(made.plan)
    assert work[row.key].units["step"] == 6
    assert work[row.key].batch == 4
    shapes = {(r.method, r.classifier): work[r.key].shape for r in rows if r.stage == "segmentation"}
    assert shapes["none", "unet"] != shapes["classical", "unet"], "what augments takes time"
    assert len(set(shapes.values())) == 4
    assert row.costs["flops_per_step"] > 0
    assert row.costs["parameters"] == row.facts["parameters"]
    only = select(made.plan.cells, ["stage=segmentation", "method=mirror", "classifier=unet", "fold=0"])
    assert [c.stage for c in only] == ["split", "fit", "synthesize", "segmentation"]


def test_suites_without_segmentation_networks_are_unchanged(
    done: tuple[Session, list[ResultRow]], tmp_path: Path
) -> None:
    made, _ = done
    without = session(tmp_path, segmentation_networks={})
    assert {c.id for c in without.plan.cells} == {c.id for c in made.plan.cells if c.stage != "segmentation"}
    assert "segmentation_networks" not in json.dumps(
        stable_hash.__globals__["to_plain"](without.suite.settings, keep_late=False)
    )
    changed = session(tmp_path, segmentation_networks={"unet": NET | {"steps": 7}})
    ids = [{c.id for c in s.plan.cells if c.stage == "segmentation"} for s in (made, changed)]
    assert ids[1]
    assert not ids[0] & ids[1]


def test_invalid_settings_are_reported_before_training(done: tuple[Session, list[ResultRow]], tmp_path: Path) -> None:
    for segmentation_networks, said in (
        ({"unet": NET | {"decoder_filters": [16, 8, 8, 8, 8, 8]}}, "3 to 5"),
        ({"unet": NET | {"decoder_filters": [16, 8, 8, 8]}, "small_cnn": NET}, "a classifier has the same name"),
        ({"unet": NET | {"atention": "scse"}}, "attention"),
        ({"unet": NET | {"attention": "gate"}}, "attention"),
        ({"unet": NET | {"attention": "scse"}}, "at least 16 each"),
    ):
        with pytest.raises(ConfigError, match=said):
            session(tmp_path, segmentation_networks=segmentation_networks)
    with pytest.raises(ConfigError, match="no multiple of 8"):
        session(tmp_path, image_size_px=36)
    for encoder in ("resnet1", "tu-nothing"):
        with pytest.raises(ConfigError, match=encoder):
            build_segmentation_network(SegmentationNetworkConfig(encoder=encoder))


def test_a_source_outside_the_training_part_is_refused(done: tuple[Session, list[ResultRow]]) -> None:
    made, _ = done
    mine = cell(made, "mirror")
    inputs = Inputs(mine, made.env)
    manifest = inputs.upstream("synthesize") / "manifest.csv"
    kept = manifest.read_text()
    rows = list(csv.DictReader(kept.splitlines()))
    held = inputs.fold().part("test").records[0]
    rows[0] |= {"source_path": held.path, "source_group": held.group_id}
    with manifest.open("w", newline="") as f:
        out = csv.DictWriter(f, rows[0].keys())
        out.writeheader()
        out.writerows(rows)
    try:
        with pytest.raises(LeakageError):
            training_images(inputs, inputs.fold().train_validation())
    finally:
        manifest.write_text(kept)


def images_with_masks(n: int, seed: int) -> MaskedImages:
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, 32, 32), np.uint8)
    for mask in masks:
        y, x = rng.integers(2, 16, 2)
        mask[y : y + 12, x : x + 12] = 1
    images = rng.normal(90, 25, (n, 32, 32, 3)) + 90 * masks[..., None]
    return MaskedImages(np.clip(images, 0, 255).astype(np.uint8), masks)


def trained(folder: Path, interrupt_at: int | None = None, ctx: FakeContext | None = None) -> tuple[Any, Any]:
    config = SegmentationNetworkConfig(**{**NET, "decoder_filters": (16, 8, 8), "steps": 30, "checkpoint_every": 7})
    classical = registry.load("method", "classical")
    ctx = ctx or FakeContext(folder, seed=3, interrupt_at=interrupt_at)
    torch.manual_seed(0)
    network = build_segmentation_network(config)
    data = images_with_masks(12, 0), images_with_masks(6, 1)
    result = train_segmentation(network, *data, config, ctx, augmented(classical(classical.Config())))
    return network, result


def test_it_learns_and_resumes_to_the_bit(tmp_path: Path) -> None:
    limit_threads(1)
    network, result = trained(tmp_path / "whole")
    validation = images_with_masks(6, 1)
    assert result.validation_score == mean_dice(network, validation, "cpu")["dice"] > 0.6
    ctx = FakeContext(tmp_path / "cut", seed=3, interrupt_at=20)
    with pytest.raises(Interrupt):
        trained(tmp_path, ctx=ctx)
    assert ctx.checkpoint is not None
    assert ctx.checkpoint["step"] == 14
    ctx.interrupt_at = None
    resumed, again = trained(tmp_path, ctx=ctx)
    assert again == result
    for a, b in zip(network.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    np.testing.assert_array_equal(
        segment(network, validation.images, "cpu"), segment(resumed, validation.images, "cpu")
    )


def test_classical_moves_image_and_mask_alike() -> None:
    cls = registry.load("method", "classical")
    classical = cls(cls.Config(brightness=0.0, contrast=0.0, saturation=0.0, stain=0.0))
    assert isinstance(classical, CarriesMasks)
    data = images_with_masks(16, 5)
    masks = torch.from_numpy(data.masks).float()
    images = masks[:, None].expand(-1, 3, -1, -1).contiguous()  # an image that equals its mask
    moved, turned = classical.transform_with_masks(images, masks, torch.Generator().manual_seed(1))
    assert set(turned.unique().tolist()) == {0.0, 1.0}
    assert torch.equal((moved[:, 0] >= 0.5).float(), turned)
    assert not torch.equal(turned, masks)
    full = cls(cls.Config())
    alone, _ = full.transform(images, masks.flatten(1), torch.Generator().manual_seed(2))
    along, _ = full.transform_with_masks(images, masks, torch.Generator().manual_seed(2))
    torch.testing.assert_close(alone, along, msg="the image is the same whether or not a mask goes along")


def test_masks_are_stretched_and_weights_are_local_only(tmp_path: Path) -> None:
    masks = np.zeros((1, 4, 8), np.uint8)
    masks[0, :, 4:] = 1
    wide = stretched(masks, 16)
    assert wide.shape == (1, 16, 16)
    assert (wide[0, :, 8:] == 1).all()
    assert not wide[0, :, :8].any()
    config = replace(
        SegmentationNetworkConfig(**{**NET, "decoder_filters": (16, 8, 8)}), encoder="resnet18", encoder_weights="local"
    )
    with pytest.raises(WeightsError, match="resnet18"):
        build_segmentation_network(config, None)
    source = build_segmentation_network(replace(config, encoder_weights="none"))
    state = {k: v + 1 for k, v in source.unet.get_submodule("encoder").state_dict().items()}
    torch.save(state | {"fc.weight": torch.zeros(2, 2)}, tmp_path / "resnet18.pth")
    loaded = build_segmentation_network(config, tmp_path)
    for key, value in loaded.unet.get_submodule("encoder").state_dict().items():
        assert torch.equal(value, state[key])
    torch.save({k: v for k, v in state.items() if k != "conv1.weight"}, tmp_path / "resnet18.pth")
    with pytest.raises(WeightsError, match=r"conv1\.weight"):
        build_segmentation_network(config, tmp_path)


def test_the_report_has_a_table_a_picture_and_the_excluded_arms(
    done: tuple[Session, list[ResultRow]], tmp_path: Path
) -> None:
    made, rows = done
    info = report_info(made, rows)
    path = build_report(rows, info, made.env.out, tmp_path / "a")
    text = path.read_text(encoding="utf-8").split("## Segmentation\n")[1].split("\n## ")[0]
    by = {(r.method, r.classifier): r for r in rows if r.stage == "segmentation"}
    tables = {
        name: text.split(f"\n{name} (")[1].split("\n\n")[1].splitlines()[2:] for name in info.segmentation_networks
    }
    assert [line.split(" | ")[0] for line in tables["unet"]] == ["| `none`", "| `classical`", "| `mirror` ×0.5"]
    for line, method in zip(tables["unet"], ("none", "classical", "mirror"), strict=True):
        cells = line.strip("| ").split(" | ")
        metrics = by[method, "unet"].metrics
        assert cells[2] == f"{100 * metrics['test/lesion_dice']:.1f}"
        assert cells[-1] == "1 of 2"
        if method != "none":
            change = 100 * (metrics["test/lesion_dice"] - by["none", "unet"].metrics["test/lesion_dice"])
            assert float(cells[3].replace("−", "-")) == pytest.approx(change, abs=0.05 + 1e-9)
    of_classes = list(csv.DictReader((tmp_path / "a" / "tables" / "dice-of-each-class-unet.csv").open()))
    wanted = [f"{100 * by['none', 'unet'].metrics[f'test/dice{of}']:.1f}" for of in ("", "_benign", "_malignant")]
    assert of_classes[0] == dict(zip(("Arm", "All images", "benign", "malignant"), ("none", *wanted), strict=True))
    assert "Excluded: `oversample`" in text
    assert "Excluded: `toy`, whose images are generated from noise" in text
    assert "`mirror` have the mask of the image they were translated from" in text
    written = list(csv.DictReader((tmp_path / "a" / "leaderboard.csv").open()))
    scores = {
        x["metric"]: float(x["mean"])
        for x in written
        if (x["classifier"], x["method"], x["reference"]) == ("unet", "none", "")
    }
    for name in ("lesion_hd95_px", "missed_share", "dice_benign"):
        assert scores[f"segmentation/{name}"] == by["none", "unet"].metrics[f"test/{name}"]
    picture = tmp_path / "a" / "pictures" / "segmentation_unet.png"
    with Image.open(picture) as image:
        seen = {tuple(c) for c in np.asarray(image).reshape(-1, 3).tolist()}
    assert BLUE in seen, "the true outlines"
    again = draw_segmentations(Rows(rows), info, made.env.out, tmp_path / "b")
    assert list(again) == [f"pictures/segmentation_{name}.png" for name in info.segmentation_networks]
    assert picture.read_bytes() == (tmp_path / "b" / "pictures" / "segmentation_unet.png").read_bytes()
    assert draw_segmentations(Rows(rows), info, tmp_path, tmp_path / "c") == {}, "where the files are gone"


def test_differences_are_paired_and_tested(tmp_path: Path) -> None:
    from report_rows import made_up, row

    _, info = made_up(tmp_path, folds=5, generative=(), classifiers=(), pictures=False, patients=4)
    info = replace(info, segmentation_networks=("unet",), mask_carriers=("none", "classical"))
    rng, rows = np.random.default_rng(0), []
    level = rng.uniform(0.3, 0.8, 5)
    for fold in range(5):
        for method, gain in (("none", 0.0), ("classical", 0.1 + 0.002 * fold)):
            metrics = {"test/lesion_dice": level[fold] + gain, "test/lesion_iou": level[fold] / 2}
            metrics |= {"test/lesion_hd95_px": 20 - 100 * gain, "test/dice": 0.9, "test/dice_benign": 0.25}
            metrics |= {} if fold else {"test/missed_share": 0.125}
            at = {"ratio": "0", "classifier": "unet", "metrics": metrics, "facts": {"parameters": 7}}
            rows.append(row("segmentation", method, (fold, 0), **at))
    none, classical = segmented(Rows(rows), info)
    assert (none.arm.method, none.scores["lesion_dice"].word, none.parameters) == ("none", "", 7)
    found = {name.removeprefix("lesion_"): (x.word, round(x.difference, 6)) for name, x in classical.scores.items()}
    assert found == {"dice": ("helps", 0.104), "iou": ("undecided", 0.0), "hd95_px": ("helps", -10.4)}
    beside = {name: (x.word, round(x.score.mean, 6), x.score.n) for name, x in classical.beside.items()}
    assert beside == {"missed_share": ("", 0.125, 1), "dice": ("", 0.9, 5), "dice_benign": ("", 0.25, 5)}
    assert [s.blocks for s in segmentation_section.sections(Records(), info)] == [()]
