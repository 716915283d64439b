"""`bench init`: the proposals for folders and tables are right, and the suite that it writes can be run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from data_sets import made_up_index, picture, png, two_classes, write

from bench.audit.class_patterns import class_options
from bench.audit.group_patterns import group_patterns
from bench.audit.proposal import propose_split
from bench.audit.table_columns import guess_columns
from bench.cli.main import main
from bench.data.sets.image_folder import ImageFolder, ImageFolderConfig
from bench.data.tables import read_table
from bench.errors import ConfigError, DataError


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)

    def call(*words: str, answers: str = "") -> Result:
        return CliRunner().invoke(main, words, input=answers)

    return call


def table(
    folder: Path, header: str = "Image_File,Patient ID,Diagnosis", classes: tuple[str, ...] = ("yes", "no")
) -> Path:
    """Twelve patients with two images each, in a table."""
    lines = [header]
    for i in range(24):
        name = f"scans/s{i:02d}.png"
        write(folder / name, png(picture(i, (40, 36))))
        lines.append(f"{name},P{i // 2},{classes[i // 2 % 2]}")
    return write(folder / "labels.csv", "\n".join(lines).encode())


def test_a_table_becomes_a_suite_that_can_be_planned(tmp_path: Path, bench) -> None:
    table(tmp_path, classes=("benign", "malignant"))
    done = bench("init", "labels.csv")  # nothing is unclear, so nothing is asked
    assert done.exit_code == 0, done.output
    assert "24 images (benign 12, malignant 12) of 12 patients" in done.output
    suite = yaml.safe_load((tmp_path / "suite.yaml").read_text(encoding="utf-8"))
    assert suite["data"] == "labels.csv"
    assert suite["dataset"] == {
        "name": "table", "image": "Image_File", "label": "Diagnosis", "group": "Patient ID", "positive": "malignant",
    }  # fmt: skip
    assert (suite["image_size_px"], suite["split"]["protocol"], suite["split"]["folds"]) == (32, "kfold", 5)
    assert list(suite["methods"]) == ["none", "classical", "oversample", "noise"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    planned = bench("plan", "--suite", str(tmp_path / "suite.yaml"), "--out", str(elsewhere))
    assert planned.exit_code == 0, planned.output
    audited = bench("data", "audit", "labels.csv", "--out", str(elsewhere))
    assert audited.exit_code == 0, audited.output
    again = bench("init", "labels.csv")
    assert again.exit_code == 2
    assert "suite.yaml exists" in again.output


def test_the_positive_class_is_asked_and_with_yes_proposed(tmp_path: Path, bench) -> None:
    write(tmp_path / "labels.csv", table(tmp_path, classes=("A", "B")).read_bytes() + b"\nscans/s00.png,P0,A")
    done = bench("init", "labels.csv", answers="A\n")
    assert done.exit_code == 0, done.output
    assert "which class is the positive one" in done.output
    assert yaml.safe_load((tmp_path / "suite.yaml").read_text(encoding="utf-8"))["dataset"]["positive"] == "A"
    assert bench("init", ".", "--yes", "--out", "yes.yaml").exit_code == 0  # the only table of the folder
    equal = "  # the first of two classes of equal size: CHECK that it is the finding"
    assert equal in (tmp_path / "yes.yaml").read_text(encoding="utf-8")
    given = bench("init", "labels.csv", "--yes", "--out", "given.yaml", "--set", "dataset.positive=B", "--set",
                  "dataset.image=image_file")  # fmt: skip
    assert given.exit_code == 0, given.output
    assert yaml.safe_load((tmp_path / "given.yaml").read_text(encoding="utf-8"))["dataset"]["positive"] == "B"


def test_a_folder_becomes_a_suite_with_the_pattern_that_was_chosen(tmp_path: Path, bench) -> None:
    two_classes(tmp_path / "set", patients=5)
    done = bench("init", "set", "--set", "dataset.positive=a", answers="1\n")
    assert done.exit_code == 0, done.output
    assert "10 groups, 3 to 3 images each, median 3, such as P000: a/P000_0.png" in done.output
    suite = yaml.safe_load((tmp_path / "suite.yaml").read_text(encoding="utf-8"))
    config = ImageFolderConfig(group_regex=suite["dataset"]["group_regex"])
    assert {f.group for f in ImageFolder(config).listing(tmp_path / "set").files} == {
        f"P{label}{patient:02d}" for label in range(2) for patient in range(5)
    }
    assert bench("init", "set", "--yes", "--out", "none.yaml", "--set", "dataset.group_regex=null").exit_code == 0


def chest() -> dict[str, int]:
    sick = [f"PNEUMONIA/person{p}_{'virus' if p % 3 else 'bacteria'}_{p + i}.jpeg" for p in range(9) for i in range(3)]
    healthy = [f"NORMAL/{'NORMAL2-' * (p % 2)}IM-{p:04d}-000{i}.jpeg" for p in range(9) for i in range(2)]
    return dict.fromkeys(sick, 1) | dict.fromkeys([*healthy, "NORMAL/IM-0002-0001-0002.jpeg"], 0)


def malaria() -> dict[str, int]:
    name = "{c}/{start}C{p}P{q}ThinF_IMG_2015_{i}_cell_{i}.png"
    return {
        name.format(c=c, start=c * (p == 3), p=100 + p, q=60 + p, i=i): label
        for label, c in enumerate(("Parasitized", "Uninfected"))
        for p in range(8)
        for i in range(3)
    }


@pytest.mark.parametrize(
    ("paths", "groups", "example"),
    [
        (chest(), 18, "NORMAL2-IM-0003"),
        (malaria(), 8, "C103"),
        ({f"{'ab'[i % 2]}/HAM_{i:07d}__ISIC_{i}.jpg": i % 2 for i in range(20)}, 20, "HAM_0000003"),
        ({f"{'ab'[p % 2]}/case {p}/img{i}.png": p % 2 for p in range(10) for i in range(3)}, 10, "case 3"),
        ({f"{'ab'[p % 2]}/{p:03d}/img{i}.png": p % 2 for p in range(10) for i in range(3)}, 10, "003"),
        ({f"{'ab'[p % 2]}/{p:03d}-{i}.png": p % 2 for p in range(10) for i in range(3)}, 10, "003"),
    ],
    ids=["chest", "malaria", "ham", "named", "folder", "leading"],
)
def test_the_patient_is_found_in_usual_paths(paths: dict[str, int], groups: int, example: str) -> None:
    best = group_patterns(paths)[0]
    assert len(best.images) == groups
    assert example in best.images
    assert f"{groups} groups" in best.words


def test_no_patient_is_found_where_names_tell_none() -> None:
    assert group_patterns({f"{'ab'[i % 2]}/{'ab'[i % 2]} ({i}).png": i % 2 for i in range(40)}) == []
    assert group_patterns({f"{'ab'[i % 2]}/IMG_{i:04d}.png": i % 2 for i in range(40)}) == []
    assert group_patterns({f"{c}/IMG_{i:04d}.png": label for label, c in enumerate("ab") for i in range(20)}) == []


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "groups"), [("chest_xray", 2277), ("malaria", 160), ("ham10000", 5997)])
def test_the_patients_of_real_folders_are_found(name: str, groups: int, real_data: Path) -> None:
    listing = ImageFolder(ImageFolderConfig()).listing(real_data / name)
    assert len(group_patterns({f.path: f.label for f in listing.files})[0].images) == groups


def test_the_split_is_one_that_the_groups_can_carry() -> None:
    assert propose_split(made_up_index([[3, 0]] * 4 + [[0, 3]] * 4))[0]["folds"] == 4
    assert propose_split(made_up_index([[3, 0]] * 30 + [[0, 3]] * 30))[0]["folds"] == 5
    curve = propose_split(made_up_index([[1, 0]] * 500 + [[0, 1]] * 500))[0]
    assert (curve["train_patients"], curve["replicates"]) == ([30, 60], 12)


def test_a_class_with_too_few_patients_is_named_with_what_to_do() -> None:
    with pytest.raises(DataError, match=r"c2 2\).* --set 'dataset\.classes=\[c0, c1\]'"):
        propose_split(made_up_index([[3, 0, 0]] * 5 + [[0, 3, 0]] * 5 + [[0, 0, 3]] * 2))
    with pytest.raises(DataError, match=r"at least 3 of each class are needed$"):
        propose_split(made_up_index([[3, 0]] * 5 + [[0, 3]] * 2))


def test_columns_are_recognised_by_content_or_named_in_an_error(tmp_path: Path) -> None:
    text = "where,which,who,dataset\na/1.png,x,7,train\na/2.png,y,7,test\n"
    odd = read_table(write(tmp_path / "odd.csv", text.encode()))
    assert guess_columns(odd, {}) == {"image": "where", "label": "which", "split": "dataset"}
    with pytest.raises(ConfigError, match=r"no column of labels was recognised among a, b, c; .*dataset\.label=COLUMN"):
        guess_columns(read_table(write(tmp_path / "none.csv", b"a,b,c\n1.png,1,3\n2.png,2,4\n")), {})
    with pytest.raises(ConfigError, match=r"no column of labels was recognised among path, edema, effusion; "):
        guess_columns(read_table(write(tmp_path / "several.csv", b"path,edema,effusion\n1.png,1,1\n2.png,0,0\n")), {})
    index = read_table(write(tmp_path / "index.csv", b",path,BI-RADS,site,MRN\n0,1.png,2,x,7\n1,2.png,3,y,7\n"))
    assert guess_columns(index, {}) == {"image": "path", "label": "BI-RADS", "group": "MRN"}
    assert index.columns[0] == "column 1"


def test_a_folder_with_tables_of_unclear_columns_is_not_guessed_from_its_names(tmp_path: Path, bench) -> None:
    for i in range(16):
        write(tmp_path / "set" / "scans" / f"benign_{i}.png", png(picture(i, (40, 36))))
    write(tmp_path / "set" / "a b.csv", b"file,x,y\nbenign_1.png,1,2\nbenign_2.png,2,1\n")
    refused = bench("init", "set", "--yes")
    assert refused.exit_code == 2
    assert "has no folders of classes, but a b.csv" in refused.output
    assert f"bench init '{tmp_path}/set/a b.csv' --set dataset.label=COLUMN" in refused.output.replace("\n", "")


def test_sides_views_and_numbers_are_no_classes(tmp_path: Path) -> None:
    for i in range(8):
        for view in ("left", "right"):
            write(tmp_path / f"{view}_{i}.png", b"")
            write(tmp_path / "ends" / f"x{i}_{view}.png", b"")
        for number in range(2):
            write(tmp_path / "numbers" / f"P{i}_{number}.png", b"")
    assert class_options(tmp_path) == class_options(tmp_path / "ends") == class_options(tmp_path / "numbers") == {}
