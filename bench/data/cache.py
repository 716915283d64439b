"""Cache of decoded and resized images: one memory-mapped array per data set and size."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.image_files import open_image
from bench.data.pixels import as_rgb
from bench.errors import ConfigError, DataError
from bench.files import sha256_of, signature, sync_file, write_atomic
from bench.store.disk import reserve
from bench.types import DEFAULT_POLICY, DatasetIndex, PixelPolicy, Resize, Size, Uint8Images, height_width

_KEY = "[0-9a-f]" * 16  # in a pattern: a shorter prefix must not match the files of another policy
_RECIPE = "pillow-bicubic-antialias-2"  # part of the key; increase it when the same file would give different pixels


class ImageCache:
    """Resized images under ``folder``, keyed by their content hashes, the size and the resampling."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, index: DatasetIndex, size_px: Size, resize: Resize = "squash") -> Uint8Images:
        """Return uint8 [N, H, W, 3] in the order of ``index.records``, read-only and memory-mapped.

        ``squash`` stretches the image to the size; ``crop`` scales it to cover the size and cuts out the centre.
        Resampling is bicubic with antialiasing. The array is built at the first call, by one process at a time, and
        built again if the SHA-256 of the file does not match. Rows that another index already has at this size are
        copied, not decoded. Raises ``DataError`` when an image changed.
        """
        height, width = height_width(size_px)
        if min(height, width) < 1 or resize not in ("squash", "crop"):
            raise ConfigError(f"got size_px={size_px}, resize={resize!r}; a size ≥ 1 and squash or crop are needed")
        from filelock import FileLock

        hashes = [r.sha256 for r in index.records]
        prefix = _prefix(size_px, resize, index.pixels)
        key = hashlib.sha256("\n".join([_RECIPE, prefix, *hashes]).encode()).hexdigest()[:16]
        path = self.folder / f"{prefix}-{key}.npy"
        shape = (len(hashes), height, width, 3)
        found = _open(path, hashes, shape)
        if found is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                found = _open(path, hashes, shape)  # another process may have built it in the meantime
                if found is None:
                    self._build(path, index, size_px, resize)
                    found = _open(path, hashes, shape)
        if found is None:
            raise DataError(f"{path} was written and cannot be read back; is the disk full?")
        return found

    def _build(self, path: Path, index: DatasetIndex, size_px: Size, resize: Resize) -> None:
        hashes = [r.sha256 for r in index.records]
        known = dict(self._rows(_prefix(size_px, resize, index.pixels), size_px))
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        shape = (len(hashes), *height_width(size_px), 3)

        def fill(i: int) -> None:
            record = index.records[i]
            row = known.get(record.sha256)
            out[i] = (
                resized(index.root / record.path, record.sha256, size_px, resize, index.pixels) if row is None else row
            )

        try:
            out = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            reserve(temporary)
            with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
                list(pool.map(fill, range(len(hashes))))
            out.flush()
            sync_file(temporary)
            content = sha256_of(temporary)
            os.replace(temporary, path)
            _remember(path, {"recipe": _RECIPE, "sha256": hashes, "content": content})
        finally:
            temporary.unlink(missing_ok=True)

    def _rows(self, prefix: str, size_px: Size) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
        """Yield (sha256, pixels) of every row already built at this size."""
        for listing in sorted(self.folder.glob(f"{prefix}-{_KEY}.json")):
            hashes = [str(sha256) for sha256 in _listing(listing).get("sha256", ())]
            images = _open(listing.with_suffix(".npy"), hashes, (len(hashes), *height_width(size_px), 3))
            if images is not None:
                yield from zip(hashes, images, strict=True)


def _prefix(size_px: Size, resize: Resize, policy: PixelPolicy) -> str:
    """Return 'images-64-squash', or 'images-460x700-squash' (height, width) if not square; with the policy's suffix."""
    height, width = height_width(size_px)
    return f"images-{height if height == width else f'{height}x{width}'}-{resize}{policy.suffix}"


def resized(
    path: Path, sha256: str, size_px: Size, resize: Resize = "squash", policy: PixelPolicy = DEFAULT_POLICY
) -> npt.NDArray[np.uint8]:
    """Decode one file to uint8 [H, W, 3]; ``policy`` is that of its data set.

    Raises ``DataError`` when the file cannot be read or its content has changed since it was indexed.
    """
    from PIL import Image, ImageOps

    try:
        content = path.read_bytes()
    except OSError as e:
        raise DataError(f"{path} was listed but cannot be read any more: {e}") from e
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{path} changed since the images were listed; run again")
    image = as_rgb(open_image(content, policy.page), policy)
    size, filter_ = height_width(size_px)[::-1], Image.Resampling.BICUBIC
    fitted = ImageOps.fit(image, size, filter_) if resize == "crop" else image.resize(size, filter_)
    return np.asarray(fitted, dtype=np.uint8)


def _open(path: Path, hashes: Sequence[str], shape: tuple[int, ...]) -> Uint8Images | None:
    """Map a finished file read-only; None when it is missing, has another shape, or fails the content check.

    The content is hashed only when the file signature changed, because hashing 1 GB takes seconds.
    """
    listing = _listing(path.with_suffix(".json"))
    if (listing.get("recipe"), listing.get("sha256")) != (_RECIPE, list(hashes)):
        return None
    try:
        if list(signature(path)) != listing.get("signature"):
            if sha256_of(path) != listing.get("content"):
                return None
            _remember(path, listing)
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


def _listing(path: Path) -> dict[str, Any]:
    """Return the metadata stored beside an array; {} if it is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remember(path: Path, listing: Mapping[str, Any]) -> None:
    """Write the metadata of an array with its signature; an unwritable folder is not an error."""
    with suppress(OSError):
        write_atomic(path.with_suffix(".json"), json.dumps({**listing, "signature": signature(path)}))
