"""Removes passwords and tokens from everything that bench prints, stores or puts on a command line.

Secrets are: the user part of a URL (``scheme://user:password@host``), URL parameters with such a name
(``?password=…``), the values of environment variables from which MLflow, Optuna, PostgreSQL or a cloud reads secrets,
and passwords of URLs given to ``remember``. Each occurrence in a text becomes ``***``.
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote, quote_plus, unquote, urlsplit

HIDDEN = "***"
DATABASES = ("postgresql", "mysql", "mariadb", "mssql", "oracle", "sqlite")  # schemes of SQL databases
SHORTEST = 4  # characters; a shorter password is hidden only inside its URL, not elsewhere in a text
_USER = re.compile(r"(?<![\w+.-])([A-Za-z][\w+.-]*://)[^\s'\"<>]*@(?=[^\s@'\"<>/]*(?:[/?#:\s'\"<>]|$))")
_PASSWORD = re.compile(r"://[^\s'\"<>/@:]*:[^\s'\"<>]+@[^\s@'\"<>/]*(?:[/?#:\s'\"<>]|$)")
_NAMED = r"[\w.-]*(?:passw(?:or)?d|pwd|token|secret|api[_-]?key|access[_-]?key|signature|credential)[\w.-]*"
_PARAMETER = re.compile(rf"([?&;]{_NAMED}=)[^&;\s'\"#]+", re.IGNORECASE)
_OWNERS = ("MLFLOW_", "OPTUNA_", "BENCH_", "DATABRICKS_", "AWS_", "AZURE_", "GOOGLE_", "KAGGLE_", "HF_", "PGPASSWORD")
_SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|ACCESS_KEY|API_KEY|_KEY$|CREDENTIAL")
_ADDRESS = re.compile(r"_(URI|URL)$")
_remembered: set[str] = set()


def remember(address: str | None) -> None:
    """Hide the password of a URL in all later texts. A path or None has none."""
    if address:
        _remembered.update(_passwords(address))


def has_password(text: str) -> bool:
    """Return whether a text contains a URL with a password; a user name alone (``scheme://user@host``) is none."""
    return bool(_PASSWORD.search(text) or _PARAMETER.search(text))


def redact(text: str) -> str:
    """Return the text without the secrets in it."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _PARAMETER.sub(rf"\1{HIDDEN}", _USER.sub(rf"\1{HIDDEN}@", text))


def _secrets() -> set[str]:
    found = set(_remembered)
    for name, value in os.environ.items():
        if not name.startswith(_OWNERS):
            continue
        if _ADDRESS.search(name):
            found |= _passwords(value)
        elif _SECRET.search(name):
            found |= {value} if len(value) >= 2 * SHORTEST else set()
    return found


def _passwords(address: str) -> set[str]:
    """Return the password of a URL in all spellings used in messages.

    Without a password it is the user, which can be a token, but not that of a database: its name is no secret.
    """
    if "://" not in address:
        return set()
    scheme, _, rest = address.partition("://")
    user, at, _ = rest.rpartition("@")
    token = "" if scheme.partition("+")[0] in DATABASES else user
    try:
        named = {m[0].partition("=")[2] for m in _PARAMETER.finditer("?" + urlsplit(address).query)}
    except ValueError:  # not a URL that Python can parse
        named = set()
    given = user.partition(":")[2] or token if at else ""
    spelt = {s for raw in ({given} | named) for s in (raw, unquote(raw), quote(unquote(raw), safe=""), quote_plus(raw))}
    return {s for s in spelt if len(s) >= SHORTEST}
