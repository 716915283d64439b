"""Download of public data sets with Kaggle's client, an optional dependency."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench.data.sets import breakhis, chest_xray, ham10000, malaria
from bench.errors import BenchError, ConfigError, DataError, nearest


class Source(NamedTuple):
    """Kaggle's name of a data set, where else it is, and what finds its folder."""

    handle: str
    homepage: str
    find: Callable[[Path | None], Path]


KAGGLE = {
    "breakhis": Source("ambarish/breakhis", breakhis.HOMEPAGE, breakhis.find_breast_folder),
    "chest_xray": Source("paultimothymooney/chest-xray-pneumonia", chest_xray.HOMEPAGE, chest_xray.find_chest_folder),
    "malaria": Source("iarunava/cell-images-for-detecting-malaria", malaria.HOMEPAGE, malaria.find_cell_folder),
    "ham10000": Source("kmader/skin-cancer-mnist-ham10000", ham10000.HOMEPAGE, ham10000.find_ham_folder),
}


def download(name: str, into: Path) -> Path:
    """Download a dataset below ``into`` and return the folder to give to ``--data``.

    A second call uses the files that the first call downloaded. Raises ``BenchError`` if the client is not installed or
    the download fails, and ``DataError`` if the downloaded files are not the dataset.
    """
    if name not in KAGGLE:
        raise ConfigError(f"no download is known for {name!r}; {nearest(name, KAGGLE)}")
    handle, homepage, find = KAGGLE[name]
    into.mkdir(parents=True, exist_ok=True)
    os.environ["KAGGLEHUB_CACHE"] = str(into.resolve())  # the client reads it when it is imported or used
    try:
        import kagglehub
    except ImportError as e:
        raise BenchError(
            "downloads need the package kagglehub: pip install 'augbench[download]' and run again; "
            f"or fetch the images by hand from {homepage}"
        ) from e
    try:
        fetched = Path(kagglehub.dataset_download(handle))
    except Exception as e:  # the client raises its own errors and those of requests and urllib3
        raise BenchError(
            f"Kaggle did not deliver {handle} ({type(e).__name__}: {e}); try again, "
            f"or fetch the images by hand from {homepage}"
        ) from e
    try:
        return find(fetched)
    except DataError as e:
        raise DataError(f"what Kaggle delivered as {handle} is not {name} as expected: {e}") from e
