"""Download of public data sets with Kaggle's client, an optional dependency."""

from __future__ import annotations

import os
from pathlib import Path

from bench.data.sets.breakhis import HOMEPAGE, find_breast_folder
from bench.errors import BenchError, ConfigError, DataError, nearest

KAGGLE = {"breakhis": "ambarish/breakhis"}


def download(name: str, into: Path) -> Path:
    """Download a dataset below ``into`` and return the folder to give to ``--data``.

    A second call uses the files that the first call downloaded. Raises ``BenchError`` if the client is not installed or
    the download fails, and ``DataError`` if the downloaded files are not the dataset.
    """
    if name not in KAGGLE:
        raise ConfigError(f"no download is known for {name!r}; {nearest(name, KAGGLE)}")
    into.mkdir(parents=True, exist_ok=True)
    os.environ["KAGGLEHUB_CACHE"] = str(into.resolve())  # the client reads it when it is imported or used
    try:
        import kagglehub
    except ImportError as e:
        raise BenchError(
            "downloads need the package kagglehub: pip install 'augbench[download]' and run again; "
            f"or fetch the images by hand from {HOMEPAGE}"
        ) from e
    try:
        fetched = Path(kagglehub.dataset_download(KAGGLE[name]))
    except Exception as e:  # the client raises its own errors and those of requests and urllib3
        raise BenchError(
            f"Kaggle did not deliver {KAGGLE[name]} ({type(e).__name__}: {e}); try again, "
            f"or fetch the images by hand from {HOMEPAGE}"
        ) from e
    try:
        return find_breast_folder(fetched)
    except DataError as e:
        raise DataError(f"what Kaggle delivered as {KAGGLE[name]} is not BreakHis as expected: {e}") from e
