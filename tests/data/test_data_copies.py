"""Handling of copies before any split: grouped, dropped, refused or kept, and always reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from data_sets import jpeg, png, scene, write

import bench.data.records as records_module
from bench.data.duplicates import OnNearDuplicate, exact_copies, near_copies, resolve_near_copies
from bench.data.examine import decode
from bench.data.near_duplicates import NearPair
from bench.data.sets.image_folder import ImageFolder, ImageFolderConfig
from bench.data.splits import PARTS, SplitConfig, make_splits
from bench.errors import DataError
from bench.types import DatasetIndex, ImageRecord


def index(root: Path, **options: object) -> DatasetIndex:
    config = ImageFolderConfig(group_regex=r"/(?P<group>P\d+)_", **options)  # type: ignore[arg-type]
    return ImageFolder(config).index(root, root.parent / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six patients per class with two images each, and the copies used in the tests."""
    root = tmp_path / "set"
    for label, name in enumerate("ab"):
        for patient in range(6):
            for i in range(2):
                write(root / name / f"P{label}{patient}_{i}.png", png(scene(100 * label + 10 * patient + i)))
    write(root / "a" / "P00_copy.jpg", jpeg(scene(0)))  # of P00_0, same patient: allowed
    write(root / "a" / "P05_copy.jpg", jpeg(scene(10).rotate(90, expand=True)))  # of P01_0
    write(root / "a" / "P04_copy.jpg", jpeg(scene(10).resize((100, 80))))  # of P01_0 too
    write(root / "b" / "P15_copy.jpg", jpeg(scene(20)))  # of P02_0, which is an a
    return root


CONFLICT = {"a/P02_0.png", "b/P15_copy.jpg"}
CROSSING = {"a/P04_copy.jpg", "a/P05_copy.jpg"}


def test_group_merges_patients_and_excludes_conflicts(folder: Path) -> None:
    found = index(folder)
    kinds = {p.path: p.kind for p in found.problems}
    assert {p for p, k in kinds.items() if k == "near_copy_under_two_labels"} == CONFLICT
    assert {p for p, k in kinds.items() if k == "near_copy_across_groups"} == CROSSING
    assert len(kinds) == 4
    records = found.by_path()
    assert not CONFLICT & set(records)
    assert len(records) == 24 + 4 - 2
    for patient in ("P01", "P04", "P05"):
        assert records[f"a/{patient}_1.png"].group_id == "P01"
    assert {r.group_id for r in records.values()} == {f"P{i:02d}" for i in range(16)} - {
        f"P{i:02d}" for i in range(4, 10)
    }


def test_no_split_separates_near_copies(folder: Path) -> None:
    found = index(folder)
    for split in make_splits(found, SplitConfig(folds=3, repeats=3)):
        part = {path: name for name in PARTS for path in getattr(split, name)}
        assert len({part[p] for p in ("a/P01_0.png", "a/P04_copy.jpg", "a/P05_copy.jpg")}) == 1


def test_messages_name_the_finding_and_the_action(folder: Path) -> None:
    details = {p.path: p.detail for p in index(folder).problems}
    assert "near copy of a/P01_0.png" in details["a/P05_copy.jpg"]
    assert "turned 270°" in details["a/P05_copy.jpg"]
    assert "both are of group 'P01' now" in details["a/P05_copy.jpg"]
    assert "a/P02_0.png, which is labelled a" in details["b/P15_copy.jpg"]


def test_drop_keeps_the_first_by_path_and_every_patient(folder: Path) -> None:
    found = index(folder, on_near_duplicate="drop")
    assert not (CONFLICT | CROSSING) & set(found.by_path())
    assert "a/P00_copy.jpg" in found.by_path()  # within one patient
    assert len({r.group_id for r in found.records}) == 12
    assert {p.path for p in found.problems} == CONFLICT | CROSSING


def test_keep_reports_and_keeps(folder: Path) -> None:
    found = index(folder, on_near_duplicate="keep")
    assert len(found.records) == 28
    assert len({r.group_id for r in found.records}) == 12
    assert {p.path for p in found.problems} == CONFLICT | CROSSING


def test_refuse_names_them_all(folder: Path) -> None:
    with pytest.raises(DataError, match="on_near_duplicate") as e:
        index(folder, on_near_duplicate="refuse")
    assert all(path in str(e.value) for path in CONFLICT | CROSSING)
    for path in CONFLICT | CROSSING:
        (folder / path).unlink()
    assert len(index(folder, on_near_duplicate="refuse").records) == 24


def test_an_image_similar_to_one_with_two_labels_is_excluded(folder: Path) -> None:
    twice = png(scene(500))
    write(folder / "a" / "P03_x.png", twice)
    write(folder / "b" / "P13_x.png", twice)
    write(folder / "b" / "P13_y.jpg", jpeg(scene(500)))
    found = index(folder)
    kinds = {p.path: p.kind for p in found.problems}
    assert kinds["b/P13_y.jpg"] == "near_copy_under_two_labels"
    assert not {"a/P03_x.png", "b/P13_x.png", "b/P13_y.jpg"} & set(found.by_path())


def test_a_second_start_reads_no_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = index(folder)
    monkeypatch.setattr(records_module, "decode", lambda content: pytest.fail("decoded again"))
    monkeypatch.setattr(records_module, "look_at", lambda image: pytest.fail("looked at again"))
    assert index(folder) == first


def test_pairs_are_found_again_from_the_files(folder: Path) -> None:
    first = index(folder)
    for memory in (folder.parent / "cache").glob("near-*.json"):
        memory.unlink()
    assert index(folder) == first  # the thumbnails of candidates are computed again from their files


# --- clusters that have run together


def linked(links: list[tuple[int, int]], labels: int = 1, groups: int | None = None) -> tuple[list, list]:
    """Return an image per number, each of its own group or of ``groups`` groups, and the near pairs between them."""
    count = 1 + max(max(link) for link in links)
    numbered = range(max(count, 500))
    records = [
        ImageRecord(f"{i:03d}.png", i % labels, f"g{i % groups if groups else i:03d}", f"s{i:03d}") for i in numbered
    ]
    return records, [NearPair(f"s{i:03d}", f"s{j:03d}", 0.97, "same") for i, j in links]


CHAIN = [(i, i + 1) for i in range(30)]
ALL_ALIKE = [(i, j) for i in range(100) for j in range(i + 1, min(i + 5, 100))]
COPIES_OF_ONE = [(i, j) for i in range(20) for j in range(i + 1, 20)]


@pytest.mark.parametrize("links", [CHAIN, ALL_ALIKE])
@pytest.mark.parametrize("policy", ["group", "drop", "keep"])
def test_a_cluster_that_has_run_together_is_reported_and_not_acted_on(links: list, policy: OnNearDuplicate) -> None:
    records, pairs = linked(links, labels=2)
    left, problems = resolve_near_copies(records, records, pairs, ("a", "b"), policy)
    assert left == records
    (problem,) = problems
    assert (problem.path, problem.kind) == ("000.png", "near_copies_run_together")
    assert f"{1 + max(j for _, j in links)} images" in problem.detail


@pytest.mark.parametrize("links", [COPIES_OF_ONE, CHAIN[:9]])
def test_a_cluster_of_copies_or_a_short_chain_is_merged(links: list) -> None:
    records, pairs = linked(links)
    left, problems = resolve_near_copies(records, records, pairs, ("a",), "group")
    tied = 1 + max(j for _, j in links)
    assert {r.group_id for r in left[:tied]} == {"g000"}
    assert {p.kind for p in problems} == {"near_copy_across_groups"}


def test_other_clusters_are_handled_beside_one_that_has_run_together() -> None:
    records, pairs = linked([*CHAIN, (200, 201)])
    left, problems = resolve_near_copies(records, records, pairs, ("a",), "group")
    assert left[201].group_id == "g200"
    assert left[1].group_id == "g001"
    assert len(problems) == 2


def copies_of_two(n: int) -> list[ImageRecord]:
    """Return n copies of each of two contents, which alternate, in groups of their own; one copy has another label."""
    return [ImageRecord(f"{i:04d}.png", int(i == 1), f"g{i:04d}", "ab"[i % 2]) for i in range(2 * n)]


def test_the_work_for_copies_of_near_copies_grows_as_their_number_does() -> None:
    pair = NearPair("a", "b", 0.9, "same")
    few, many = (near_copies(copies_of_two(n), [pair]) for n in (100, 200))
    assert len(many) < 2.3 * len(few)
    problems = exact_copies(copies_of_two(1000), ("x", "y"))[0]
    assert max(len(p.detail) for p in problems) < 200
    assert sum("and 996 more" in p.detail for p in problems) == 1000, "each copy of b, which has two labels"


def test_all_copies_of_near_copies_are_merged_or_left_out_as_if_all_pairs_were_listed() -> None:
    pair = NearPair("a", "b", 0.9, "same")
    records = [replace(r, label=0) for r in copies_of_two(20)]
    left, problems = resolve_near_copies(records, records, [pair], ("x", "y"), "group")
    assert {r.group_id for r in left} == {"g0000"}
    assert len(problems) == len(records) - 1
    left, _ = resolve_near_copies(records, records, [pair], ("x", "y"), "drop")
    assert {r.sha256 for r in left} == {"a"}
    mixed = copies_of_two(20)  # one b has another label, so all a are in conflict, and so are the b of the first label
    left, _ = resolve_near_copies(mixed, mixed, [pair], ("x", "y"), "group")
    assert {r.path for r in left} == {r.path for r in mixed if r.sha256 == "b" and r.label == 0}


def test_copies_of_a_file_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/P0_0.png", "a/P0_1.png", "b/P1_0.png"):
        write(tmp_path / "set" / name, png(scene(int(name[0] == "b"))))
    decoded = []
    monkeypatch.setattr(records_module, "decode", lambda *args: decoded.append(1) or decode(*args))
    index(tmp_path / "set")
    assert len(decoded) == 2
