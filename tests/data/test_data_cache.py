"""The image cache: correct pixels, built once, never decoded twice, rebuilt when damaged."""

from __future__ import annotations

import dataclasses
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from data_sets import picture, png, two_classes, write
from PIL import Image

import bench.data.cache as cache_module
from bench.data.cache import ImageCache
from bench.data.sets.image_folder import ImageFolder, ImageFolderConfig
from bench.errors import ConfigError, DataError
from bench.types import DatasetIndex


@pytest.fixture
def index(tmp_path: Path) -> DatasetIndex:
    return ImageFolder(ImageFolderConfig()).index(two_classes(tmp_path / "set"), tmp_path / "scan")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files decoded from now on."""
    seen: list[str] = []
    real = cache_module.resized

    def counting(path: Path, *args: object) -> np.ndarray:
        seen.append(path.name)
        return real(path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(cache_module, "resized", counting)
    return seen


def test_rows_are_the_records_resized(index: DatasetIndex, tmp_path: Path) -> None:
    images = ImageCache(tmp_path / "cache").load(index, 16)
    assert images.shape == (24, 16, 16, 3)
    assert images.dtype == np.uint8
    assert isinstance(images, np.memmap)
    assert not images.flags.writeable
    for i in (0, 11, 23):
        file = Image.open(index.root / index.records[i].path)
        np.testing.assert_array_equal(images[i], np.asarray(file.resize((16, 16), Image.Resampling.BICUBIC)))


def test_crop_keeps_the_aspect_and_the_centre(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    wide[:, 20:40] = 200
    for name in ("a/x.png", "b/y.png"):
        write(tmp_path / "set" / name, png(Image.fromarray(wide + (name == "b/y.png"))))
    config = ImageFolderConfig(on_near_duplicate="keep")  # the two differ by one grey level
    index = ImageFolder(config).index(tmp_path / "set", tmp_path / "scan")
    cropped = ImageCache(tmp_path / "cache").load(index, 20, "crop")
    squashed = ImageCache(tmp_path / "cache").load(index, 20, "squash")
    assert cropped[0].min() == 200
    assert squashed[0, :, :5].max() == 0


def test_grey_files_become_three_channels(tmp_path: Path) -> None:
    for name in ("a/x.png", "b/y.png"):
        write(tmp_path / "set" / name, png(picture(len(name) + ord(name[0]), mode="L")))
    index = ImageFolder(ImageFolderConfig()).index(tmp_path / "set", tmp_path / "scan")
    images = ImageCache(tmp_path / "cache").load(index, 16)
    np.testing.assert_array_equal(images[..., 0], images[..., 2])


def test_nothing_is_decoded_twice_for_a_size(index: DatasetIndex, tmp_path: Path, decoded: list[str]) -> None:
    cache = ImageCache(tmp_path / "cache")
    first = cache.load(index, 16)
    assert len(decoded) == 24
    np.testing.assert_array_equal(ImageCache(tmp_path / "cache").load(index, 16), first)
    half = dataclasses.replace(index, records=index.records[::-2])
    np.testing.assert_array_equal(cache.load(half, 16), first[::-2])  # another index of the same files
    assert len(decoded) == 24
    cache.load(index, 8)
    assert len(decoded) == 48
    write(index.root / "a" / "new.png", png(picture(4321)))
    more = ImageFolder(ImageFolderConfig()).index(index.root, tmp_path / "scan")
    cache.load(more, 16)
    assert decoded[48:] == ["new.png"]


def test_the_key_is_the_content_not_the_place(index: DatasetIndex, tmp_path: Path, decoded: list[str]) -> None:
    cache = ImageCache(tmp_path / "cache")
    cache.load(index, 16)
    index.root.rename(tmp_path / "moved")
    cache.load(dataclasses.replace(index, root=tmp_path / "moved"), 16)
    assert len(decoded) == 24


@pytest.mark.parametrize("keep", [0, 50, 1000])
def test_a_truncated_file_is_built_again(index: DatasetIndex, tmp_path: Path, keep: int, decoded: list[str]) -> None:
    cache = ImageCache(tmp_path / "cache")
    first = np.array(cache.load(index, 16))
    (path,) = (tmp_path / "cache").glob("*.npy")
    path.write_bytes(path.read_bytes()[:keep])
    np.testing.assert_array_equal(cache.load(index, 16), first)
    assert len(decoded) == 48


def test_a_foreign_array_is_replaced(index: DatasetIndex, tmp_path: Path, decoded: list[str]) -> None:
    cache = ImageCache(tmp_path / "cache")
    first = np.array(cache.load(index, 16))
    (path,) = (tmp_path / "cache").glob("*.npy")
    for wrong in (np.zeros((24, 8, 8, 3), np.uint8), np.zeros((24, 16, 16, 3), np.float32)):
        np.save(path, wrong)
        np.testing.assert_array_equal(cache.load(index, 16), first)
    assert len(decoded) == 72


def test_an_interrupted_build_leaves_no_files(
    index: DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> np.ndarray:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache_module, "resized", fail)
    with pytest.raises(KeyboardInterrupt):
        ImageCache(tmp_path / "cache").load(index, 16)
    assert not [p for p in (tmp_path / "cache").iterdir() if p.suffix != ".lock"]


def test_a_changed_or_removed_file_is_an_error(index: DatasetIndex, tmp_path: Path) -> None:
    write(index.root / index.records[3].path, png(picture(999)))
    with pytest.raises(DataError, match="changed since"):
        ImageCache(tmp_path / "cache").load(index, 16)
    (index.root / index.records[3].path).unlink()
    with pytest.raises(DataError, match="cannot be read any more"):
        ImageCache(tmp_path / "cache").load(index, 16)


def test_arguments_are_checked(index: DatasetIndex, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        ImageCache(tmp_path).load(index, 0)
    with pytest.raises(ConfigError):
        ImageCache(tmp_path).load(index, 16, "stretch")  # type: ignore[arg-type]


def _load_and_count(index: DatasetIndex, folder: Path, start: object, counts: object) -> None:
    done = 0
    real = cache_module.resized

    def counting(*args: object) -> np.ndarray:
        nonlocal done
        done += 1
        return real(*args)  # type: ignore[arg-type]

    cache_module.resized = counting  # type: ignore[assignment]
    start.wait()  # type: ignore[attr-defined]
    ImageCache(folder).load(index, 16)
    counts.put(done)  # type: ignore[attr-defined]


def test_of_two_processes_one_builds(index: DatasetIndex, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, counts = context.Barrier(2), context.Queue()
    both = [context.Process(target=_load_and_count, args=(index, tmp_path / "cache", start, counts)) for _ in range(2)]
    for process in both:
        process.start()
    found = sorted(counts.get(timeout=30) for _ in both)
    for process in both:
        process.join()
    assert found == [0, 24]
