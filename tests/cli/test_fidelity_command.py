"""`bench fidelity` against torch-fidelity's own command line on the same folders; and what it says of bad ones."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from bench.cli.fidelity import image_files
from bench.cli.main import main
from bench.metrics.backbones import INCEPTION_FILE
from bench.metrics.features import FeatureExtractor

SIZE_PX = 64
THEIRS = {
    "fid": "frechet_inception_distance",
    "kid": "kernel_inception_distance_mean",
    "precision": "precision",
    "recall": "recall",
    "is": "inception_score_mean",
}


def call(*words: object) -> dict[str, dict[str, float]]:
    result = CliRunner().invoke(main, ["fidelity", *map(str, words), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def torch_fidelity_cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], real: Path, synthetic: Path, *words: object
) -> dict[str, float]:
    """Run its own ``main`` on two folders, by the words that a user would type."""
    from torch_fidelity.fidelity import main as fidelity

    given = ["--input1", synthetic, "--input2", real, "--samples-find-deep", "--save-cpu-ram", "--no-cache", *words]
    flags = ["--fid", "--kid", "--prc", "--isc", "--cpu", "--json", "--silent"]
    monkeypatch.setattr(sys, "argv", ["fidelity", *flags, *map(str, given)])
    capsys.readouterr()
    fidelity()
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def lite0() -> str:
    """Register our extractor with torch-fidelity, whose own pipeline then reads, batches, collects and scores."""
    from torch_fidelity import register_feature_extractor
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    ours = FeatureExtractor("tf_efficientnet_lite0", input_size_px=SIZE_PX)

    class Lite0(FeatureExtractorBase):
        def __init__(self, name: str, features_list: list[str], **kwargs: object) -> None:
            super().__init__(name, features_list)

        get_provided_features_list = staticmethod(lambda: ("pooled", "logits"))
        get_default_feature_layer_for_metric = staticmethod(lambda metric: "logits" if metric == "isc" else "pooled")
        can_be_compiled = staticmethod(lambda: False)

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            found = ours.embed([images.permute(0, 2, 3, 1).numpy()], [0] * len(images))
            both = {"pooled": torch.from_numpy(found.features), "logits": torch.from_numpy(found.logits)}
            return tuple(both[name] for name in self.features_list)

    name = f"bench-lite0-{SIZE_PX}px"
    register_feature_extractor(name, Lite0)
    return name


def pictures(
    folder: Path, n: int, seed: int, sizes: tuple[int, ...] = (48,), kinds: tuple[str, ...] = ("png",)
) -> Path:
    """Blots of a few colours; half of the files lie in a folder below."""
    rng = np.random.default_rng(seed)
    (folder / "below").mkdir(parents=True)
    for i in range(n):
        side = sizes[i % len(sizes)]
        small = rng.integers(0, 256, (int(rng.integers(2, 9)), 6, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((side, side + 4), Image.Resampling.BICUBIC)
        image.save(folder / ("below" if i % 2 else "") / f"{i:03d}.{kinds[i % len(kinds)]}")
    return folder


def test_equals_torch_fidelitys_command_line(
    lite0: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, synthetic = pictures(tmp_path / "real", 40, 0, kinds=("png", "jpg")), pictures(tmp_path / "synthetic", 20, 1)
    words = ("--feature-extractor", lite0, "--kid-subset-size", 20)
    wanted = torch_fidelity_cli(monkeypatch, capsys, real, synthetic, *words)
    got = call(real, synthetic, "--input-size", SIZE_PX)
    for ours, theirs in THEIRS.items():
        assert got["synthetic"][f"{ours}_{got['extractor']}"] == pytest.approx(wanted[theirs], rel=1e-9), ours
    assert got["synthetic"][f"kid_subset_size_{got['extractor']}"] == 20


def test_images_of_many_sizes_are_resized_one_by_one(
    lite0: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, synthetic = (pictures(tmp_path / name, 20, seed, (40, 40, 80)) for seed, name in enumerate("ab"))
    words = ("--feature-extractor", lite0, "--kid-subset-size", 20, "--batch-size", 1)  # it cannot batch them
    wanted = torch_fidelity_cli(monkeypatch, capsys, real, synthetic, *words)
    got = call(real, synthetic, "--input-size", SIZE_PX)
    for ours, theirs in THEIRS.items():
        assert got["synthetic"][f"{ours}_{got['extractor']}"] == pytest.approx(wanted[theirs], rel=1e-6, abs=2e-6), ours


@pytest.mark.realdata
def test_equals_it_on_30_and_30_real_images(
    lite0: str, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, synthetic = real_folders(real_data, tmp_path, 30)
    words = ("--feature-extractor", lite0, "--kid-subset-size", 30)
    wanted = torch_fidelity_cli(monkeypatch, capsys, real, synthetic, *words)
    got = call(real, synthetic, "--input-size", SIZE_PX)
    assert got["synthetic"][f"n_real_{got['extractor']}"] == got["synthetic"][f"n_synthetic_{got['extractor']}"] == 30
    for ours, theirs in THEIRS.items():
        assert got["synthetic"][f"{ours}_{got['extractor']}"] == pytest.approx(wanted[theirs], rel=1e-9), ours


@pytest.mark.realdata
@pytest.mark.slow
def test_equals_it_with_the_standard_inception(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = Path(os.environ.get("BENCH_WEIGHTS", ""))
    path = given / INCEPTION_FILE if given.is_dir() else given
    if path.name != INCEPTION_FILE or not path.is_file():
        pytest.skip(f"no {INCEPTION_FILE} given; set BENCH_WEIGHTS to it, or to its folder")
    real, synthetic = real_folders(real_data, tmp_path, 200)
    words = ("--feature-extractor", "inception-v3-compat", "--feature-extractor-weights-path", path)
    wanted = torch_fidelity_cli(monkeypatch, capsys, real, synthetic, *words, "--kid-subset-size", 200)
    got = call(real, synthetic, "--extractor", "inception", "--weights", path)
    for ours, theirs in THEIRS.items():
        assert got["synthetic"][f"{ours}_{got['extractor']}"] == pytest.approx(wanted[theirs], rel=1e-6, abs=1e-6), ours


def real_folders(root: Path, into: Path, n: int) -> tuple[Path, Path]:
    """Copy n + n dermoscopy images (n up to 200), of all classes, into two folders."""
    files = sorted((root / "ISIC9").rglob("*.jpg"))[:: 1000 // n][: 2 * n]
    if len(files) < 2 * n:
        pytest.skip(f"fewer than 2,000 images of ISIC9 under {root}")
    for i, path in enumerate(files):
        folder = into / ("real" if i % 2 else "synthetic")
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder / f"{i:03d}.jpg")  # some files are in two classes, by one name
    return into / "real", into / "synthetic"


def test_real_baseline_and_score_beside_it_are_of_equal_sizes(tmp_path: Path) -> None:
    real, synthetic = pictures(tmp_path / "real", 30, 0), pictures(tmp_path / "synthetic", 20, 1)
    got = call(real, synthetic, "--input-size", 32)
    tag = got["extractor"]
    assert tag.startswith("tf_efficientnet_lite0-32px-")
    sizes = {
        k: (got[k][f"n_real_{tag}"], got[k][f"n_synthetic_{tag}"])
        for k in ("synthetic", "real_baseline", "at_real_baseline")
    }
    assert sizes == {"synthetic": (30, 20), "real_baseline": (15, 15), "at_real_baseline": (15, 15)}
    assert set(got["real"]) == {f"is_{tag}", f"diversity_{tag}"}
    assert got["real_baseline"][f"fid_{tag}"] > 0


def test_the_table_names_the_extractor_the_sizes_and_the_subset(tmp_path: Path) -> None:
    real, synthetic = pictures(tmp_path / "real", 3, 0), pictures(tmp_path / "synthetic", 2, 1, kinds=("bmp",))
    result = CliRunner().invoke(main, ["fidelity", str(real), str(synthetic), "--input-size", "32"])
    assert result.exit_code == 0, result.output
    assert "tf_efficientnet_lite0-32px-" in result.stdout
    assert "2 vs 3" in result.stdout
    assert "subsets of 2 images" in result.stdout
    assert "–" in result.stdout  # what two images cannot tell
    got = call(real, synthetic, "--input-size", 32)
    assert got["synthetic"][f"precision_{got['extractor']}"] is None


def test_bad_folders_are_told(tmp_path: Path) -> None:
    good = pictures(tmp_path / "good", 2, 0)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no image")
    bad = pictures(tmp_path / "bad", 2, 0)
    (bad / "cut.png").write_bytes(b"\x89PNG\r\n")
    for folder, message in (
        ("none", "is not a folder"),
        ("empty", "no images below"),
        ("bad", "cut.png cannot be read"),
    ):
        result = CliRunner().invoke(main, ["fidelity", str(tmp_path / folder), str(good), "--input-size", "32"])
        assert result.exit_code == 2
        assert message in result.stderr
    result = CliRunner().invoke(main, ["fidelity", str(good), str(good), "--extractor", "tf_efficientnet_lit"])
    assert result.exit_code == 2
    assert "tf_efficientnet_lite0" in result.stderr


def test_files_come_in_the_order_of_their_real_paths(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "x", 6, 0)
    (folder / "000.png").rename(folder / "zzz.PNG")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "a.csv").write_text("")
    names = [str(p.relative_to(folder.resolve())) for p in image_files(folder)]
    assert names == ["002.png", "004.png", "below/001.png", "below/003.png", "below/005.png", "zzz.PNG"]
