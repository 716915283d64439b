"""What `make setup` tells uv: the indexes that pip is set to, unless uv has its own; and pip where uv fails."""

from __future__ import annotations

import subprocess
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

PATH = Path(__file__).parents[1] / ".ci" / "install"
LISTED = """:env:.index-url='https://a.example/simple'
:env:.find-links='/wheels /more'
global.cert='/etc/ca.crt'
global.extra-index-url='https://b.example/simple https://c.example/simple'
global.index-url='https://never.example/simple'
"""


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module, without any variable of uv."""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_STRATEGY", "UV_FIND_LINKS", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    loader = SourceFileLoader("install", str(PATH))
    spec = spec_from_loader("install", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_uv_gets_the_indexes_of_pip(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=LISTED))
    found = install.uv_environment()
    assert found["UV_DEFAULT_INDEX"] == "https://a.example/simple"  # the environment comes before a file
    assert found["UV_INDEX"] == "https://b.example/simple https://c.example/simple"
    assert found["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert found["UV_FIND_LINKS"] == "/wheels,/more"
    assert found["SSL_CERT_FILE"] == "/etc/ca.crt"
    monkeypatch.setenv("UV_INDEX", "https://mine.example/simple")
    assert install.uv_environment()["UV_INDEX"] == "https://mine.example/simple"


def test_without_settings_uv_gets_none(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=""))
    assert not {"UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_STRATEGY", "UV_FIND_LINKS"} & set(install.uv_environment())


@pytest.mark.parametrize("has_uv", [True, False])
def test_pip_installs_if_uv_does_not(has_uv: bool, install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def fails_as_uv(command: list[str], **_: Any) -> Any:
        calls.append(command)
        return SimpleNamespace(stdout="", returncode=int(command[0] == "/bin/uv"))

    monkeypatch.setattr(subprocess, "run", fails_as_uv)
    monkeypatch.setattr(install.shutil, "which", lambda *_, **__: "/bin/uv" if has_uv else None)
    assert install.main() == 0
    assert calls[-1][1:4] == ["-m", "pip", "install"]
    assert calls[-1][-2:] == ["-e", ".[dev]"]
    assert any(call[0] == "/bin/uv" for call in calls) == has_uv
