"""The names of timm's networks, without importing timm, which takes seconds; planning a run needs only the names."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_REGISTERED = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)


@cache
def _declared() -> frozenset[str]:
    """Return the names of the functions that timm's files register as models."""
    spec = find_spec("timm")
    folders = [Path(p) / "models" for p in (spec.submodule_search_locations or ())] if spec else []
    texts = (path.read_text(encoding="utf-8") for folder in folders for path in folder.glob("*.py"))
    return frozenset(name for text in texts for name in _REGISTERED.findall(text))


def is_timm_model(name: str) -> bool:
    """Whether timm has a network of this name. timm is imported only if its files do not declare it directly."""
    if name in _declared():
        return True
    import timm

    return bool(timm.is_model(name))
