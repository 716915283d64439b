"""The comparison as JUnit XML for CI services: one test suite per kind of row, one test case per cell."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree as ET

from bench.check.compare import Comparison, Finding
from bench.check.rows import KINDS, WORDS
from bench.files import write_atomic

NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(path: Path, suite: str, comparison: Comparison, elapsed_s: float) -> None:
    """Write the file. A test case fails if a row of its cell moved or is missing; the message is the first one."""
    root = ET.Element("testsuites", name=f"bench check {suite}", time=f"{elapsed_s:.1f}")
    tests = failures = 0
    for kind in KINDS:
        of_kind = [f for f in comparison.findings if f.kind == kind]
        if not of_kind:
            continue
        node = ET.SubElement(root, "testsuite", name=WORDS[kind])
        cases = [_case(node, f"bench.check.{suite}.{kind}", cell, found) for cell, found in _by_cell(of_kind)]
        tests, failures = tests + len(cases), failures + sum(cases)
        node.attrib |= {
            "tests": str(len(cases)),
            "failures": str(sum(cases)),
            "errors": "0",
            "skipped": "0",
            "time": f"{elapsed_s:.1f}" if kind == "cell" else "0",
            "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": socket.gethostname(),
        }
    root.attrib |= {"tests": str(tests), "failures": str(failures), "errors": "0"}
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode")
    write_atomic(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')


def _by_cell(findings: Sequence[Finding]) -> Iterator[tuple[str, list[Finding]]]:
    for cell, found in groupby(sorted(findings, key=lambda f: f.cell), key=lambda f: f.cell):
        yield cell, list(found)


def _case(suite: ET.Element, classname: str, cell: str, findings: Sequence[Finding]) -> bool:
    """Add a test case; return whether it fails."""
    case = ET.SubElement(suite, "testcase", classname=classname, name=cell, time="0")
    bad = [f for f in findings if f.fails]
    if bad:
        message = bad[0].text + (f"; and {len(bad) - 1} more" if len(bad) > 1 else "")
        failure = ET.SubElement(case, "failure", message=_clean(message), type="regression")
        failure.text = _clean("\n".join(f.text for f in bad))
    return bool(bad)


def _clean(text: str) -> str:
    return NOT_XML.sub("?", text)
