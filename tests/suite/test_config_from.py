"""``--config-from``: a YAML file changes a suite before ``--set`` does; an arm may fine-tune classifiers in its way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from toy import register, write_squares, write_suite

from bench.cli.main import main
from bench.engine.session import prepare
from bench.errors import ConfigError
from bench.suite.resolved import resolved
from bench.suite.suite import load_suite


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    monkeypatch.chdir(tmp_path)
    write_suite(Path("s.yaml"))


def test_a_file_changes_the_suite_and_set_comes_after_it() -> None:
    Path("best.yaml").write_text("methods: {toy: {steps: 9, fail_at: 100}, none: {}}\nseed: 3\n")
    suite = load_suite("s.yaml", ("methods.toy.steps=11", "@best.yaml"))
    config = suite.method("toy").config
    assert (config.steps, config.fail_at, suite.settings.seed) == (11, 100, 3)
    assert suite.classifier("small_cnn").config.width == 4  # what the file does not name stays


def test_two_files_for_two_arms_do_not_disturb_each_other() -> None:
    for arm, rate in (("toy", 0.25), ("none", 0.5)):
        Path(f"{arm}.yaml").write_text(f"methods: {{{arm}: {{classifiers: {{small_cnn: {{learning_rate: {rate}}}}}}}}}")
    suite = load_suite("s.yaml", ("@toy.yaml", "@none.yaml"))
    rates = {arm: suite.classifier("small_cnn", arm).config.learning_rate for arm in ("toy", "none", None)}
    assert rates == {"toy": 0.25, "none": 0.5, None: 1e-3}
    assert suite.classifier("small_cnn", "toy").config.width == 4  # beneath the changes: the suite's own


def test_an_arm_s_own_classifier_is_a_cell_of_its_own(tmp_path: Path) -> None:
    data = write_squares(tmp_path / "data")
    Path("best.yaml").write_text("methods: {toy: {classifiers: {small_cnn: {learning_rate: 0.25}}}}")
    plain, tuned = (prepare("s.yaml", files, data, tmp_path / "out") for files in ((), ("@best.yaml",)))
    keys = [{c.key for c in s.plan.cells if (c.stage, c.method) == ("classify", m)} for s in (plain, tuned)
            for m in ("none", "toy")]  # fmt: skip
    assert keys[0] == keys[2]
    assert not keys[1] & keys[3]
    assert tuned.command.endswith(f"--config-from best.yaml --data {data} --out {tmp_path / 'out'}")
    assert resolved(tuned.suite)["methods"]["toy"]["classifiers"]["small_cnn"]["learning_rate"] == 0.25
    assert "classifiers" not in resolved(tuned.suite)["methods"]["none"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methods: {toy: {stepps: 3}}", "did you mean 'steps'"),
        ("methods: {toy: {classifiers: {small_cn: {}}}}", "did you mean 'small_cnn'"),
        ("methods: {toy: {classifiers: {small_cnn: {widht: 3}}}}", "did you mean 'width'"),
        ("methods: {toy: {classifiers: {small_cnn: 3}}}", "expected a mapping"),
        ("methods: {toy: {classifiers: [1]}}", "expected a mapping"),
        ("methodds: {}", "did you mean 'methods'"),
    ],
)
def test_a_typo_in_the_file_fails_with_the_nearest_name(text: str, message: str) -> None:
    Path("best.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_suite("s.yaml", ("@best.yaml",))


def test_the_commands_take_the_option(tmp_path: Path) -> None:
    write_squares(tmp_path / "data")
    Path("best.yaml").write_text("methods: {toy: {stepps: 3}}")
    result = CliRunner().invoke(main, ["plan", "--suite", "s.yaml", "--data", "data", "--config-from", "best.yaml"])
    assert (result.exit_code, "did you mean 'steps'" in result.output) == (2, True)
    assert CliRunner().invoke(main, ["plan", "--suite", "s.yaml", "--config-from", "no.yaml"]).exit_code == 2


def test_false_leaves_out_what_a_suite_names(tmp_path: Path) -> None:
    data = write_squares(tmp_path / "data")
    write_suite(Path("s.yaml"), methods={"none": {}, "toy": {}, "cyclegan": {}, "cgan": {}})
    left = prepare("s.yaml", ("methods.c*gan=false",), data, tmp_path / "out")
    assert [m.name for m in left.suite.methods] == ["none", "toy"]
    whole = prepare("s.yaml", (), data, tmp_path / "out")
    assert {c.id for c in left.plan.cells} < {c.id for c in whole.plan.cells}, "what is left is the same work"
    assert list(resolved(left.suite)["methods"]) == ["none", "toy"]
    with pytest.raises(ConfigError, match=r"methods\.cycelgan=false: not in this suite; did you mean 'cyclegan'"):
        load_suite("s.yaml", ("methods.cycelgan=false",))
    with pytest.raises(ConfigError, match="methods: expected a mapping"):
        load_suite("s.yaml", ("methods.*=false",))


def test_methods_that_cannot_serve_the_classes_are_named_with_the_way_around(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(6):
            pixels = np.random.default_rng([ord(name), i]).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{name}{i}.png")
    methods = {"none": {}, "cyclegan": {}, "tlsgan_lite0": {}, "cgan": {}}
    write_suite(Path("s.yaml"), methods=methods, dataset={"name": "image_folder"})
    with pytest.raises(ConfigError, match="cyclegan: a CycleGAN translates between 2 classes") as refused:
        prepare("s.yaml", (), tmp_path / "data", tmp_path / "out")
    way_around = str(refused.value).rpartition("to run the others: ")[2].replace("--set ", "").split()
    assert way_around == ["methods.cyclegan=false", "methods.tlsgan_lite0=false"]
    suite = prepare("s.yaml", tuple(way_around), tmp_path / "data", tmp_path / "out").suite
    assert [m.name for m in suite.methods] == ["none", "cgan"]
