"""Hook of mkdocs: the site has README, docs and every file that they link to, at their paths in the repository.

Source files become pages. Links therefore work on GitHub and on the site alike.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".cff": "yaml"}  # of source files


def on_files(files: Files, config: Any) -> Files:
    """Replace the files of the docs folder by the pages and all files that they link to."""
    for file in [f for f in files if f.src_dir == config.docs_dir]:
        files.remove(file)
    todo, seen = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], set()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        files.append(_site_file(path, config))
        if path.suffix == ".md":
            todo += linked_files(path)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links to source files at their pages; in a report, drop links to what is not a committed file."""
    folder = (ROOT / page.file.src_uri).parent

    def changed(link: re.Match[str]) -> str:
        path = folder / link["target"]
        if path.suffix in LANGUAGES and path.is_file():
            return f"[{link['text']}]({link['target']}.md)"
        missing = folder.parent == ROOT / "reports" and ":" not in link["target"] and not path.is_file()
        return ("" if link["image"] else link["text"]) if missing else link[0]

    return LINK.sub(changed, markdown)


def linked_files(page: Path) -> Iterator[Path]:
    """Yield the files of the repository that a page links to."""
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        path = Path(os.path.normpath(page.parent / link["target"]))
        if path.is_file() and path.is_relative_to(ROOT):
            yield path


def _site_file(path: Path, config: Any) -> File:
    uri = path.relative_to(ROOT).as_posix()
    if path.suffix not in LANGUAGES:
        return File.generated(config, uri, abs_src_path=str(path))
    source = path.read_text(encoding="utf-8").rstrip()
    text = f"# {path.name}\n\n`{uri}`\n\n````{LANGUAGES[path.suffix]}\n{source}\n````\n"
    return File.generated(config, f"{uri}.md", content=text)
