"""leaderboard.tex: every table, equal numbers of cells in all rows, special characters escaped."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from report_rows import made_up

from bench.analysis.info import ReportInfo
from bench.analysis.report import Records, collect
from bench.analysis.rows import Rows
from bench.report.latex import escape, latex
from bench.report.page import sections

EVIL = r"50% & $x_1^2$ #{a}~\b <c> [d]"


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Records, ReportInfo]:
    root = tmp_path_factory.mktemp("out")
    rows, info = made_up(root, folds=2, generative=("tls_gan",), patients=8, pictures=False)
    rows = [replace(r, classifier=EVIL) if r.classifier == "small_cnn" else r for r in rows]
    info = replace(info, suite=EVIL, dataset=EVIL, classifiers=(EVIL, "tf_efficientnet_lite0"))
    return collect(Rows(rows), info, root), info


def unescaped(text: str, character: str) -> list[str]:
    return re.findall(rf"(?<!\\){re.escape(character)}", text)


def test_names_are_escaped() -> None:
    assert escape(EVIL) == (
        r"50\% \& \$x\_1\textasciicircum{}2\$ \#\{a\}\textasciitilde{}\textbackslash{}b \textless{}c\textgreater{} [d]"
    )
    assert escape("−1.2 ± 3 ×0.5 –") == r"$-$1.2 $\pm$ 3 $\times$0.5 --"


def whole(collected: tuple[Records, ReportInfo]) -> str:
    return latex(sections(*collected, {}, {}), "made by a test", collected[1].suite)


def test_every_row_has_as_many_cells_as_the_table_has_columns(collected: tuple[Records, ReportInfo]) -> None:
    tables = re.findall(r"\\begin\{tabular\}\{(\w+)\}\n\\toprule\n(.*?)\\bottomrule", whole(collected), re.DOTALL)
    assert len(tables) > 15
    for columns, body in tables:
        rows = [line for line in body.splitlines() if line != r"\midrule"]
        assert {len(unescaped(line, "&")) + 1 for line in rows} == {len(columns)}
        assert all(line.endswith(r" \\") for line in rows)
        assert not any(line.startswith("[") for line in rows)  # \\ would read it as its argument
    columns, board = tables[0]
    assert columns == "lllcccc"
    rows = board.splitlines()
    assert sum(line.startswith(r"\texttt{") for line in rows) == 2 * (3 + 2)
    intervals = [line for line in rows[2:] if not line.startswith(r"\texttt{")]
    assert intervals
    assert all(line.startswith(" & ") and "[" in line for line in intervals)


def test_the_syntax_is_valid_as_far_as_checked_without_latex(collected: tuple[Records, ReportInfo]) -> None:
    text = whole(collected)
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    body = "\n".join(lines)
    assert text.startswith("% ")
    assert not unescaped(body, "%")
    assert not unescaped(body, "#")
    assert len(unescaped(body, "{")) == len(unescaped(body, "}"))
    assert len(unescaped(body, "$")) % 2 == 0
    assert not unescaped(re.sub(r"\\label\{[^}]*\}", "", body), "_")
    assert body.isascii()
    tables = body.count(r"\begin{table}")
    for name in ("table", "tabular"):
        assert body.count(rf"\begin{{{name}}}") == body.count(rf"\end{{{name}}}") == tables
    assert set(re.findall(r"\\([a-z]+)", body)) <= {
        *("begin", "end", "caption", "label", "centering", "scriptsize", "setlength", "tabcolsep", "toprule"),
        *("midrule", "bottomrule", "texttt", "textbf", "emph", "times", "pm", "textbackslash", "textasciicircum"),
        *("textasciitilde", "textless", "textgreater"),
    }  # only commands of LaTeX and booktabs
    labels = re.findall(r"\\label\{(.*?)\}", body)
    assert len(set(labels)) == tables
    assert all(re.fullmatch(r"tab:[a-z0-9-]+", label) for label in labels)


def test_it_has_the_numbers_of_the_leaderboard(collected: tuple[Records, ReportInfo]) -> None:
    records, _ = collected
    line = next(x for x in records.lines if x.classifier != EVIL and x.arm.label == "tls_gan ×0.5")
    score, verdict = line.scores["patient_balanced_accuracy"], line.versus["none"]["patient_balanced_accuracy"]
    table = whole(collected).split(r"\end{table}")[0].splitlines()
    at = next(i for i, text in enumerate(table)
              if text.startswith(r"\texttt{tls\_gan} $\times$0.5") and "efficientnet" in text)  # fmt: skip
    cells, below = (re.sub(r"\$-\$", "-", text).split(" & ") for text in table[at : at + 2])
    assert cells[2].replace(r"\textbf{", "").strip("}") == verdict.word
    assert float(cells[3]) == pytest.approx(100 * verdict.difference, abs=0.051)
    assert float(re.findall(r"\d+\.\d", cells[4])[0]) == pytest.approx(100 * score.mean, abs=0.051)
    assert below[0] == ""
    assert below[4] == f"[{100 * score.low:.1f}, {100 * score.high:.1f}]"
