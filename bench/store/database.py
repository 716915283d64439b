"""SQL databases that several machines share: a check of the connection, and of passwords on a command line."""

from __future__ import annotations

import os
from typing import Final

from bench.errors import ConfigError
from bench.store.redact import redact, remember

EXTRA: Final = "pip install 'augbench[databases]'"
CONNECT_S: Final = 10  # libpq's limit for a host that does not answer; without one it is minutes


def require_database(url: str, setting: str) -> None:
    """Connect once to the SQL database of a URL; its password is hidden in all later texts.

    ``setting`` is where the URL is from. Raises ``ConfigError`` if there is no driver or no connection: MLflow would
    try again for minutes without a message.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    remember(url)
    os.environ.setdefault("PGCONNECT_TIMEOUT", f"{CONNECT_S}")
    try:
        create_engine(url, poolclass=NullPool).connect().close()
    except ImportError as e:
        raise ConfigError(redact(f"{setting} {url}: no driver ({e}); for PostgreSQL: {EXTRA}")) from None
    except (SQLAlchemyError, ValueError) as e:  # ValueError: a port that is no number
        reason = str(getattr(e, "orig", None) or e).partition("\n(Background")[0].strip()
        raise ConfigError(redact(f"{setting} {url}: {reason}")) from None
