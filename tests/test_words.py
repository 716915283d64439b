"""No word of the project's old dialect in identifiers, stored keys, help, report texts or headings of docs.

``WORDS`` maps each to the standard term. Names of test functions are sentences, in which ``PLAIN`` words are allowed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import click
import pytest

from bench.cli.main import main

ROOT = Path(__file__).parents[1]
WORDS = {
    "provenance|admit|admits|origin": "leakage, require, source images",
    "sealed": "train/validation view",
    "twins?": "from-scratch counterpart",
    "cross|carried": "cross-dataset, other data sets",
    "no copies|without copies|exclude copies": "exclude_memorised",
    "judge|judges|judged|judging|yardstick|guards?|guarded|planted": "evaluate, reference workload, check, injected",
    "desk|bills?|beat|beats|beating|settled?": "trial queue, tuning cost, heartbeat, finished",
    "own head|segmenters?": "discriminator classifier, segmentation network",
    "team|quicken|descend|first look": "train state, to_fast_layout, optimizer_step, discriminator features",
    "floors?": "real-vs-real baseline, minimum",
    "foretold|told|of it tuning": "predicted, of which tuning",
    "smallest effects?": "minimum detectable effect",
    "equal compute|longer": "compute-matched, train_multipliers",
    "prices?|priced": "performance drop, cost",
    "in small": "smoke-test version",
    "at a time": "parallel jobs, one by one",
}
FIELDS = {"within": "in_distribution", "across": "out_of_distribution", "longer": "multiplied"}  # and keys of results
PLAIN = {"longer", "told", "cross", "origin", "at a time"}
ALLOWED = {  # the term of another field, and where it is used
    "cross": re.compile(r"cross_(dataset|entropy|val|modality|shift)|cross-|binary_cross|entropy|^cross$"),
    "origin": re.compile(r"cross-origin|get_origin|^origin$|^ORIGIN$"),  # of a web page; of a type
    "provenance": re.compile(r"^provenance$"),  # of pretrained weights, as in timm
}
FILES = {  # the only files with a bare word of ``ALLOWED``
    "cross": {"bench/audit/view.py", "bench/audit/audit.py", "tests/metrics/test_metrics_fidelity.py"},
    "origin": {
        "bench/pages/server.py",
        "bench/config.py",
        "tests/pages/test_web_server.py",
        "tests/pages/test_rate.py",
    },
    "provenance": {"bench/classifiers/timm_network.py", "bench/metrics/backbones.py"},
}
FORBIDDEN = re.compile(r"\b(?:" + "|".join(WORDS) + r")\b")
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def words_of(name: str) -> str:
    """'longerArms_of' -> 'longer arms of'."""
    return " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)).lower()


def names(nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """Yield line and text of every identifier and of every string key; not of functions of numpy, math and torch."""
    for node in nodes:
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Attribute(value=ast.Name(id="np" | "math" | "torch")):
                continue
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield line, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield line, name
            case ast.keyword(arg=str(name)):
                yield line, name
            case ast.Dict(keys=keys):
                yield from ((line, k.value) for k in keys if isinstance(k, ast.Constant) and isinstance(k.value, str))
            case ast.Subscript(slice=ast.Constant(value=str(name))):
                yield line, name


def fields_of(nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """Yield line and name of every annotated field of a class."""
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    yield field.lineno, field.target.id


@cache
def forbidden(name: str) -> list[str]:
    sentence = name.startswith("test_")
    return [w for w in FORBIDDEN.findall(words_of(name)) if not (sentence and w in PLAIN)]


def bad_words(name: str, file: str) -> list[str]:
    """Return the words of a name that should be others, without those that are allowed in this file."""
    found = forbidden(name)
    return [w for w in found if not (w in ALLOWED and ALLOWED[w].search(name) and (name != w or file in FILES[w]))]


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", ["bench", "tlsgan", "baselines", "tests"])
def test_identifiers_and_keys(folder: str) -> None:
    found = []
    for path in sorted({*(ROOT / folder).rglob("*.py")} - {Path(__file__)}):
        file, nodes = path.relative_to(ROOT).as_posix(), list(ast.walk(parsed(path)))
        for line, name in names(nodes):
            if bad := bad_words(name, file):
                found.append(f"{file}, line {line}: {name} ({', '.join(bad)})")
        for line, name in fields_of(nodes):
            if name in FIELDS:
                found.append(f"{file}, line {line}: field {name}: use {FIELDS[name]}")
    assert not found, f"{sorted(found)}; standard terms: {WORDS}"


def test_texts_of_reports() -> None:
    for path in sorted((ROOT / "bench" / "report").rglob("*.py")):
        nodes = list(ast.walk(parsed(path)))
        documented = {id(n.body[0].value) for n in nodes if hasattr(n, "body") and ast_docstring(n)}
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
                assert not wrong(node.value), f"{path.name}, line {node.lineno}: {wrong(node.value)} in {node.value!r}"


def ast_docstring(node: ast.AST) -> bool:
    body = getattr(node, "body", None)
    return isinstance(body, list) and bool(body) and isinstance(body[0], ast.Expr)


def wrong(text: str) -> list[str]:
    """Return the words of a sentence that should be others."""
    return [w for w in FORBIDDEN.findall(text.lower()) if w not in PLAIN]


def commands(command: click.Command, context: click.Context) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if below := command.get_command(context, name):
                yield from commands(below, context)


def test_help_of_the_command_line() -> None:
    seen = list(commands(main, click.Context(main)))
    assert len(seen) > 15
    for command in seen:
        texts = [
            command.help or "",
            command.short_help or "",
            *(getattr(p, "help", None) or "" for p in command.params),
        ]
        texts += [option for p in command.params for option in p.opts]
        for text in texts:
            assert not wrong(text), f"{command.name}: {wrong(text)} in {text!r}"


@pytest.mark.parametrize("page", DOCS, ids=lambda p: p.name)
def test_headings_of_docs(page: Path) -> None:
    """Headings, and the heads of tables."""
    lines = page.read_text(encoding="utf-8").splitlines()
    heads = [a for a, b in pairwise(lines) if a.startswith("|") and set(b) <= set("|-: ")]
    for text in (*(x for x in lines if x.startswith("#")), *heads):
        assert not wrong(text), f"{page.name}: {text}"


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("longer_arms", ["longer"]),
        ("longerArms", ["longer"]),
        ("SETTLED", ["settled"]),
        ("smallest_effect", ["smallest effect"]),
        ("test_a_planted_leak", ["planted"]),
        ("build_cross", ["cross"]),
        ("shift_price", ["price"]),
        ("test_no_longer_there", []),
        ("cross_entropy", []),
        ("belongs", []),
    ],
)
def test_words_are_found_in_every_spelling(name: str, bad: list[str]) -> None:
    assert bad_words(name, "any.py") == bad
