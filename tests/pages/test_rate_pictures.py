"""Which images a rating study shows: no picture of the data set twice, and the fewest repeats where it must be."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from toy import write_squares, write_suite

from bench.cli.main import main
from bench.data.synthetic_files import save_manifest
from bench.engine.session import Session, prepare
from bench.errors import ConfigError
from bench.pages.rate.build import held_out, open_study, pictures
from bench.pages.rate.choose import Candidate, choose, repeats
from bench.store.cell_folders import Artifacts
from bench.store.ratings import REAL, Study, encode_study, load_study
from bench.types import SyntheticRecord

CLASSES = ("benign", "malignant")


def candidates(source: str, shown: Sequence[str], folds: int = 2) -> list[Candidate]:
    """Return one candidate of each class and fold for each picture."""
    return [
        Candidate(source, label, fold, 0, f"{source}/{label}/{fold}/{i}", f"{label}{p}" if p else "", lambda: None)
        for label in range(2)
        for fold in range(folds)
        for i, p in enumerate(shown)
    ]


def test_no_picture_twice_where_there_are_enough() -> None:
    shown = [f"p{i}" for i in range(12)]  # 24 of both classes: as many as are needed
    sources = [candidates(s, shown) for s in (REAL, "cyclegan", "tlsgan")]
    for seed in range(5):
        chosen = choose(sources, 8, CLASSES, seed)
        assert repeats(chosen) == 0
        assert set(Counter((c.source, c.label, c.fold) for c in chosen).values()) == {2}
    assert choose(sources, 8, CLASSES, 0) == choose(sources, 8, CLASSES, 0)
    assert {c.copied_from for c in choose(sources, 8, CLASSES, 0)} != {
        c.copied_from for c in choose(sources, 8, CLASSES, 1)
    }


def test_the_scarce_get_what_only_they_can_show() -> None:
    """Real images are of any picture, translations of four: drawing real ones first would use these up."""
    sources = [candidates(REAL, [f"p{i}" for i in range(8)], 1), candidates("cyclegan", ["p0", "p1", "p2", "p3"], 1)]
    for seed in range(10):
        chosen = choose(sources, 8, CLASSES, seed)
        assert repeats(chosen) == 0
        assert not {c.picture[1:] for c in chosen if c.source == REAL} & {"p0", "p1", "p2", "p3"}


def test_a_fold_gives_way_to_a_repeat_avoided() -> None:
    """The second fold has one picture, which the other method needs."""
    own = [c for c in candidates("a", ["p0", "p1", "p2"]) if c.fold == 0 or c.picture.endswith("p0")]
    chosen = choose([own, candidates("b", ["p0", "p3"], 1)], 4, CLASSES, 0)[:4]
    assert [c.fold for c in chosen] == [0] * 4
    assert {c.picture for c in chosen} == {"0p1", "0p2", "1p1", "1p2"}
    assert Counter(c.fold for c in choose([own], 4, CLASSES, 0)) == {0: 2, 1: 2}  # without need it stays even


def test_the_fewest_repeats_where_there_are_too_few() -> None:
    sources = [candidates(s, ["p0", "p1", "p2"], 2) for s in (REAL, "cyclegan", "tlsgan")]
    chosen = choose(sources, 6, CLASSES, 0)
    assert repeats(chosen) == 18 - 6
    assert len({c.copied_from for c in chosen}) == 18  # a picture again, never the same image
    assert set(Counter((c.source, c.label) for c in chosen).values()) == {3}
    assert set(Counter(c.picture for c in chosen).values()) == {3}  # each as often as the others


def test_images_made_from_noise_repeat_nothing() -> None:
    sources = [candidates(REAL, ["p0", "p1"]), candidates("cgan", [""] * 9)]
    assert repeats(choose(sources, 4, CLASSES, 0)) == 0
    with pytest.raises(ConfigError, match="cgan has 18 images of benign, 25 are needed; use a smaller --per-method"):
        choose([candidates("cgan", [""] * 9)], 50, CLASSES, 0)


# From a run on disk


def finished(root: Path) -> Session:
    """Return a session whose methods translated every training image of their fold, and one that starts from noise.

    One benign picture is in the data set under two names.
    """
    write_squares(root / "data")
    dataset = {"name": "image_folder", "group_regex": r"(?P<group>[bm]\d+)_", "on_duplicate": "keep"}
    methods: dict[str, dict[str, str]] = {name: {} for name in ("none", "cyclegan", "tlsgan_lite0", "cgan")}
    write_suite(root / "suite.yaml", dataset=dataset, ratios=[1.0], methods=methods)
    first, second = sorted((root / "data" / "benign").iterdir())[:2]
    second.write_bytes(first.read_bytes())
    session = prepare(str(root / "suite.yaml"), (), root / "data", root / "out")
    artifacts, rng = Artifacts(session.env.out), np.random.default_rng(0)
    record = session.plan.index.by_path()
    for cell in session.plan.work:
        if cell.stage != "synthesize" or artifacts.is_done(*cell.id):
            continue
        held = {c.copied_from for c in held_out(session) if c.fold == cell.fold}
        with artifacts.work(*cell.id) as folder:
            records = []
            for i, source in enumerate(p for p in record if p not in held):
                path = folder / f"images/{i:05d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
                label = 1 - record[source].label
                at = "" if cell.method == "cgan" else source
                records.append(SyntheticRecord(path.relative_to(folder).as_posix(), label, i, "checkpoint", at))
            save_manifest(folder, records, ["b0"])
            artifacts.commit(*cell.id, {"metrics": {}, "costs": {}, "facts": {}, "finished_at": ""})
    return session


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return finished(tmp_path_factory.mktemp("pictures"))


def test_the_key_tells_which_picture_and_none_is_shown_twice(session: Session) -> None:
    folder, study = open_study(session, "kept", 8)
    shown = [i.picture for i in study.images if i.picture]
    assert len(shown) == len(set(shown)) == 24
    assert study.repeats == 0
    assert load_study(folder) == study
    assert json.loads((folder / "manifest.json").read_text())["repeats"] == 0
    for image in study.images:
        assert (image.picture == "") is (image.source == "cgan")
        if image.source == REAL:
            assert image.picture == pictures(session.plan.index)[image.copied_from]
        elif image.picture:
            assert image.picture in session.plan.index.by_path()
            assert not image.picture.startswith(image.label)  # translated from the other class


def test_copies_of_a_file_are_one_picture(session: Session) -> None:
    shown = pictures(session.plan.index)
    twice = [p for p, first in shown.items() if p != first]
    assert len(twice) == 1
    assert twice[0] not in shown.values()


def test_repeats_are_counted_and_said(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.pages.server.run", lambda *_: None)
    root = session.env.out.parent
    where = ["--suite", str(root / "suite.yaml"), "--data", str(root / "data"), "--out", str(session.env.out)]
    needed = 20 * 3  # real ones and two methods' translations
    shown = CliRunner().invoke(main, ["rate", *where, "--study", "many", "--per-method", "20"])
    assert shown.exit_code == 0, shown.output
    study = load_study(session.env.out / "studies" / "many")
    assert study.repeats == needed - len(set(pictures(session.plan.index).values())) > 0
    assert f"{study.repeats} images show pictures that are in the study already" in shown.output
    shown = CliRunner().invoke(main, ["rate", *where, "--study", "kept", "--per-method", "8"])
    assert "already" not in shown.output


def test_old_studies_are_read(session: Session, tmp_path: Path) -> None:
    _, study = open_study(session, "kept", 8)
    data = json.loads(encode_study(study))
    del data["repeats"]
    for image in data["images"]:
        del image["picture"]
    (tmp_path / "manifest.json").write_text(json.dumps(data))
    old: Study = load_study(tmp_path)
    assert old.repeats is None
    assert {i.picture for i in old.images} == {None}
    assert old.order("ann") == study.order("ann")
