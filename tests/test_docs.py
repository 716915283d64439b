"""README and docs say what is so: their examples run, their commands, links, suites, names and defaults exist.

A fenced block below `<!-- file: NAME -->` is a file of the page's example folder; one below `<!-- run -->` is a console
in that folder, whose lines `bench …` are run in this process. `<!-- run with: KEY=VALUE … -->` makes it smaller by
`--set`.
"""

from __future__ import annotations

import ast
import json
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from markdown_it import MarkdownIt
from markdown_it.token import Token
from toy import leave_out_figures

from bench import registry
from bench.cli.main import main
from bench.cli.options import INTERRUPTED
from bench.cli.profile import ProfileGroup
from bench.engine.scheduler import Summary
from bench.metrics.fidelity import frechet_distance_low_rank
from bench.suite.shipped import shipped_suites, suite_files
from bench.tracking.session_view import MLflowView

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*PAGES, ROOT / "reports" / "README.md"]
MARKER = re.compile(r"<!-- (file|run with|run|tested by)(?:: (.*))? -->")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
pages = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and what the comment right above it says: ('file', 'my_metric.py')."""

    page: Path
    line: int
    language: str
    text: str
    marker: str = ""
    name: str = ""

    @property
    def commands(self) -> list[list[str]]:
        """The words of each line that begins with `bench` or `python`, with or without a prompt."""
        text = self.text.replace("\\\n", " ")
        lines = [line.strip().removeprefix("$ ") for line in text.splitlines()]
        return [shlex.split(x, comments=True) for x in lines if x.startswith(("bench ", "python "))]


@cache
def tokens(page: Path) -> list[Token]:
    return MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))


@cache
def blocks(page: Path) -> list[Block]:
    found, above = [], ("", "")
    for token in tokens(page):
        if token.type == "fence":
            line = (token.map or [0])[0] + 1
            found.append(Block(page, line, token.info.strip(), token.content, *above))
        match = MARKER.fullmatch(token.content.strip()) if token.type == "html_block" else None
        above = (match[1], match[2] or "") if match else ("", "")
    return found


def inline(page: Path, kind: str) -> list[Token]:
    return [child for token in tokens(page) for child in token.children or () if child.type == kind]


def spans(page: Path) -> list[str]:
    return [" ".join(token.content.split()) for token in inline(page, "code_inline")]


# --- the examples ---

RUNS = [b for page in PAGES for b in blocks(page) if b.marker.startswith("run")]
SCRIPT = "make_images.py"
QUICK = {"fidelity.input_size_px": 32, "explain.images_per_class": 1, "split.folds": 2, "split.repeats": 1}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    """A folder for each page with examples: its files, and the images that docs/extending.md draws."""
    found = {}
    script = next(b.text for b in blocks(ROOT / "docs" / "extending.md") if b.name == SCRIPT)
    for page in {b.page for b in RUNS}:
        folder = found[page] = tmp_path_factory.mktemp(page.stem)
        for block in blocks(page):
            if block.marker == "file":
                (folder / block.name).write_text(block.text, encoding="utf-8")
        (folder / SCRIPT).write_text(script, encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            runpy.run_path(SCRIPT)
    return found


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Leave no trace of modules from the examples' folders; skip what other tests are about.

    That is MLflow, drawing, LaTeX tables, and the Fréchet distance, which takes most of a second a set of images.
    """
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(registry, "_FOLDERS", [])
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setattr(MLflowView, "finished", lambda *_: None)
    monkeypatch.setattr(MLflowView, "complete", lambda *_: None)
    leave_out_figures(monkeypatch)
    monkeypatch.setattr("bench.report.build.latex", lambda *_: "")
    monkeypatch.setattr("bench.metrics.fidelity.frechet_distance", frechet_distance_low_rank)
    monkeypatch.setattr("bench.report.run_facts.suites_that_answer", lambda *_: {})
    before = set(sys.modules)
    yield monkeypatch
    for name in set(sys.modules) - before:
        if (
            "." not in name
            and registry._FOLDERS
            and str(getattr(sys.modules[name], "__file__", "")).startswith(tuple(registry._FOLDERS))
        ):
            del sys.modules[name]


@pytest.mark.parametrize("block", RUNS, ids=lambda b: f"{b.page.stem}-{b.line}")
def test_an_example_runs_as_it_stands(block: Block, folders: dict[Path, Path], beside: pytest.MonkeyPatch) -> None:
    folder = folders[block.page]
    beside.chdir(folder)
    assert block.commands
    settings = [*(f"{key}={value}" for key, value in QUICK.items()), *shlex.split(block.name)]
    smaller = [word for setting in settings for word in ("--set", setting)]
    for words in block.commands:
        if words[0] == "python":
            assert words[1:] == [SCRIPT]  # the folder has what it draws
            continue
        quick = ["--jobs", "1", *smaller] if words[1] == "run" else []
        result = CliRunner().invoke(main, [*words[1:], *quick])
        assert result.exit_code == 0, result.output
        if words[1] != "run":
            continue
        path = Path(next(word for word in words if word.endswith(".yaml")))
        suite = yaml.safe_load(path.read_text(encoding="utf-8"))
        report = (folder / "runs" / "reports" / path.stem / "leaderboard.md").read_text(encoding="utf-8")
        for name in suite["methods"]:
            assert f"methods.{name}=false" in smaller or f"| `{name}`" in report
        page = (folder / "runs" / "reports" / path.stem / "report.html").read_text(encoding="utf-8")
        for name in suite["classifiers"]:
            assert f"Scores and comparisons: {name}</h2>" in page
        for name in suite.get("metrics", ()):
            assert f"- `{name}`: " in report
            assert f"| `patient_{name}` | `none` | – |" in report
        assert "not run yet" not in report


@pages
def test_every_example_in_python_or_yaml_is_tested(page: Path) -> None:
    for block in blocks(page):
        if block.language not in ("python", "yaml"):
            continue
        assert block.marker in ("file", "tested by"), f"{page.name}, line {block.line}: no marker above the block"
        if block.marker == "file":  # a comment is not seen on GitHub
            assert f"`{block.name}`:\n\n<!-- file: {block.name} -->\n```" in page.read_text(encoding="utf-8")
        if block.marker == "tested by":
            assert (ROOT / block.name).is_file(), block.name
            for node in ast.parse(block.text).body if block.language == "python" else ():
                if isinstance(node, ast.Import | ast.ImportFrom):
                    exec(ast.unparse(node), {})  # what it imports is there


# --- commands, suites, exit codes ---


def commands(page: Path) -> list[list[str]]:
    """Every command of `bench` that a page names: in code spans and in blocks."""
    found = [
        words for b in blocks(page) if b.language in ("", "console") for words in b.commands if words[0] == "bench"
    ]
    for span in spans(page):
        if span.startswith("bench "):
            found += [shlex.split(span.replace("'", ""))]
    return found


@cache
def subcommands(group: click.Group) -> dict[str, click.Command]:
    """Return the commands of a group by name, also of one that imports them when they are used."""
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command}


def resolve(words: list[str]) -> tuple[list[click.Command], list[str]]:
    """Return the commands that the first words name, outermost first, and the words that are left."""
    chain: list[click.Command] = [main]
    words = [w for w in words[1:]]
    while isinstance(chain[-1], click.Group) and words and not words[0].startswith("-"):
        verbs = subcommands(chain[-1])
        assert words[0] in verbs, f"bench has no verb {words[0]!r}"
        chain.append(verbs[words.pop(0)])
    if isinstance(chain[-1], ProfileGroup):  # `bench profile --suite …` is `bench profile suite --suite …`
        chain.append(subcommands(chain[-1])["suite"])
    return chain, words


def options(command: click.Command) -> set[str]:
    return {"--help", *(name for p in command.params for name in (*p.opts, *p.secondary_opts))}


def every_command(group: click.Group = main) -> Iterator[click.Command]:
    for command in subcommands(group).values():
        yield command
        if isinstance(command, click.Group):
            yield from every_command(command)


@cache
def every_option() -> set[str]:
    return {name for command in every_command() for name in options(command)} | {"--version"}


@pages
def test_every_verb_option_and_suite_that_is_named_exists(page: Path) -> None:
    known = every_option()
    for span in spans(page):
        if span.startswith("--"):
            assert set(OPTION.findall(span)) <= known, f"{page.name}: {span}"
    own = {b.name for b in blocks(page) if b.marker == "file"}
    own |= {"suite.yaml"} if any(words[1] == "init" for words in commands(page)) else set()
    for words in commands(page):
        if "|" in words or "…" in words[1:2]:  # `bench run | plan`: names of verbs
            continue
        chain, rest = resolve(words)
        missing = {w.partition("=")[0] for w in rest if w.startswith("--")} - options(chain[-1]) - {"--version"}
        assert not missing, f"{page.name}: {' '.join(words)}: no option {', '.join(sorted(missing))}"
        for name in [value for option, value in pairwise(rest) if option == "--suite"]:
            placeholder = name.isupper() or name == "…"
            assert placeholder or name in {*own, *suite_files(), *shipped_suites()}, (
                f"{page.name}: no suite is called {name}"
            )


def codes(text: str) -> dict[int, str]:
    """'Exit codes: 0 all done, 1 some cells failed, …' -> {0: 'all done', …}, without what stands in brackets."""
    sentence = re.search(r"Exit codes: (.*?)\.\s", re.sub(r" \([^)]*\)", "", " ".join(text.split())) + " ")
    assert sentence
    parts = re.split(r"(?:^|, )(\d+) ", sentence[1])
    return dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))


def test_the_exit_codes_that_are_named_are_those_that_there_are() -> None:
    from bench.cli.audit import STRICT_EXIT
    from bench.errors import DiskError

    said = codes((ROOT / "README.md").read_text(encoding="utf-8"))
    assert said == codes(str(sys.modules["bench.cli.main"].__doc__))
    assert Summary().exit_code == 0
    assert Summary(failed={("fit", "k"): "why"}).exit_code == 1
    assert set(said) == {0, 1, click.UsageError("").exit_code, STRICT_EXIT, DiskError.exit_code, INTERRUPTED}
    for page in PAGES:
        text = " ".join(page.read_text(encoding="utf-8").split())
        assert {int(n) for n in re.findall(r"\bexit(?:s|ed)?(?: code)?(?: with)? (\d+)\b", text)} <= set(said), (
            page.name
        )


# --- links and pictures ---


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    found = tokens(page)
    titles = [found[i + 1].content for i, token in enumerate(found) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKED, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_every_link_and_picture_leads_somewhere(page: Path) -> None:
    targets = [str(t.attrGet("href")) for t in inline(page, "link_open")]
    targets += [str(t.attrGet("src")) for t in inline(page, "image")]
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}"


def test_the_index_names_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {str(t.attrGet("href")) for t in inline(index, "link_open")}
    assert {p.name for p in PAGES if p.parent == index.parent} - {"README.md"} <= linked


def test_the_site_has_every_page_and_the_statistics_in_its_menu() -> None:
    menu = re.findall(r": ((?:docs/|README).*\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    api = sorted((ROOT / "docs" / "api").glob("*.md"))
    assert sorted(menu) == sorted(p.relative_to(ROOT).as_posix() for p in [*PAGES, *api])
    for page in api:
        for module in re.findall(r"^::: (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), f"{page.name}: {module}"


# --- what the pages say of the code ---


def rows(page: Path) -> list[list[Token]]:
    """The body rows of a page's tables, a token a cell."""
    found: list[list[Token]] = []
    for token, inner in pairwise(tokens(page)):
        if token.type == "tr_open":
            found.append([])
        if token.type == "td_open":
            found[-1].append(inner)
    return [row for row in found if row]


def in_code(cell: Token) -> list[str]:
    return [t.content for t in cell.children or () if t.type == "code_inline"]


METHODS = ROOT / "docs" / "methods.md"


@pytest.mark.parametrize("kind", registry.KINDS)
def test_the_tables_hold_everything_registered_with_its_defaults_and_file(kind: registry.Kind) -> None:
    by_name = {name: row for row in rows(METHODS) for name in in_code(row[0])}
    own = {n for n in registry.names(kind) if n in registry.REGISTRY[kind]}
    assert own <= by_name.keys(), f"docs/methods.md needs a row for {', '.join(sorted(own - by_name.keys()))}"
    for name in own:
        _, what, source, defaults, file = by_name[name]
        assert what.content
        assert source.content, f"{name}: name the source, or –"
        module = registry.resolve(kind, name).partition(":")[0]
        links = [str(t.attrGet("href")) for t in file.children or () if t.type == "link_open"]
        assert links == [f"../{module.replace('.', '/')}.py"], name
        config = registry.load(kind, name).Config
        for said in in_code(defaults):
            field, _, value = said.partition("=")
            assert str(default(config, field)) == value, f"{name}: {said}"


def default(config: Any, name: str) -> Any:
    found = next(f for f in fields(config) if f.name == name)
    assert found.default is not MISSING
    return found.default


def test_no_table_names_what_is_not_registered() -> None:
    known = {name for kind in registry.KINDS for name in registry.names(kind)}
    assert {name for row in rows(METHODS) for name in in_code(row[0])} <= known
    timm = next(row for row in rows(METHODS) if row[0].content == "any other name")
    config = registry.load("classifier", "resnet18").Config
    assert in_code(timm[3])
    for said in in_code(timm[3]):
        assert str(default(config, said.partition("=")[0])) == said.partition("=")[2]


@pytest.mark.parametrize("page", ["README.md", "docs/verdicts.md", "docs/selftest.md"])
def test_shares_beside_a_link_to_the_selftest_are_those_of_its_report(page: str) -> None:
    report = json.loads((ROOT / "reports" / "selftest" / "selftest.json").read_text(encoding="utf-8"))
    measured = {f"{100 * p['found']['value']:.1f}" for p in report["promises"]}
    parts = (ROOT / page).read_text(encoding="utf-8").split("\n\n")
    beside = [part for part in parts if "reports/selftest" in part]
    assert beside
    for part in beside:
        assert set(re.findall(r"(\d+\.\d) %", part)) <= measured


def test_the_citation_is_valid_and_of_this_version() -> None:
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert found["cff-version"] == "1.2.0"  # its required keys, by the schema: these four
    assert all(found[key] for key in ("message", "title", "authors"))
    assert all({"name"} <= author.keys() or {"family-names"} <= author.keys() for author in found["authors"])
    assert found["type"] in ("software", "dataset")
    assert (found["version"], found["license"]) == (project["version"], project["license"]["text"])


def test_the_page_of_suites_names_every_one_that_ships() -> None:
    named = {span for row in rows(ROOT / "docs" / "suites.md") for cell in row for span in _code(cell)}
    assert set(suite_files()) - named <= {"ablation-training-lite0"}, "the second half of ablation-training"
    assert {n for n in named if n.endswith("-small")} <= set(suite_files())


def _code(cell: Token) -> list[str]:
    return [child.content for child in cell.children or () if child.type == "code_inline"]
