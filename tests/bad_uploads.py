"""Files that somebody might send to a page, most of them malformed, by a seed: (kind, file name, bytes)."""

from __future__ import annotations

import gzip
import io
import multiprocessing
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache

import numpy as np
import psutil
from PIL import Image

from bench.pages.server import RequestError
from bench.pages.uploads import read_upload

Rng = np.random.Generator
PNG = b"\x89PNG\r\n\x1a\n"
NAMES = (
    "scan.png",
    "../../../etc/passwd",
    "..\\..\\boot.ini",
    "/root/.ssh/id",
    "a\x00b.png",
    "a" * 500,
    "",
    "скан.tiff",
)
# Kinds that can be used; and those of which a decoder need not see what is wrong. Everything else must be refused.
USABLE = {"16-bit PNG", "16-bit TIFF", "CMYK JPEG", "CMYK TIFF", "RGBA PNG", "LA PNG", "floats"} | {
    "palette with transparency"
}
EITHER = {"animated", "flipped bytes", "data bomb", "endless pages"}


def pixels(rng: Rng, side: int = 40, channels: int = 3) -> np.ndarray:
    return rng.integers(0, 256, (side, side, channels), dtype=np.uint8)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def any_image(rng: Rng) -> bytes:
    kind = str(rng.choice(["PNG", "JPEG", "TIFF", "BMP"]))
    return saved(Image.fromarray(pixels(rng)), kind)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, data: bytes, *extra: bytes, bits: int = 8, colour: int = 2) -> bytes:
    """A PNG of a header, other chunks, and compressed data, all with right check sums."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@cache
def zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


def truncated(rng: Rng) -> bytes:
    content = any_image(rng)
    return content[: int(rng.integers(4, len(content) * 3 // 4))]


def flipped(rng: Rng) -> bytes:
    content = bytearray(any_image(rng))
    for place in rng.integers(8, len(content), 12):
        content[place] ^= int(rng.integers(1, 256))
    return bytes(content)


def wrong_magic(rng: Rng) -> bytes:
    begin = (PNG, b"\xff\xd8\xff\xe0", b"II*\x00", b"MM\x00*", b"BM", b"GIF89a", b"RIFF", b"%PDF-1.7")
    return begin[int(rng.integers(len(begin)))] + rng.bytes(int(rng.integers(0, 3000)))


def svg(rng: Rng) -> bytes:
    entities = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(8))
    text = (
        f"<!DOCTYPE svg [<!ENTITY e0 'ha'>{entities}]><svg>&e8;</svg>",
        "<svg onload='alert(1)'/>",
        "\n <?xml?><svg/>",
    )
    return text[int(rng.integers(3))].encode()


def archive(rng: Rng) -> bytes:
    if rng.integers(2):
        return gzip.compress(bytes(1 << 20))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("../../evil.png", bytes(8 << 20))
    return out.getvalue()


def huge_dimensions(rng: Rng) -> bytes:
    side = int(rng.choice([7000, 20_000, 60_000, 2**31 - 1]))
    which = rng.integers(4)
    if which == 0:
        return png(side, side, zlib.compress(bytes(1000)))
    if which == 1:
        small = min(side, 60_000)
        jpeg = bytearray(saved(Image.fromarray(pixels(rng)), "JPEG"))
        at = jpeg.index(b"\xff\xc0") + 5
        jpeg[at : at + 4] = struct.pack(">HH", small, small)
        return bytes(jpeg)
    if which == 2:
        bmp = bytearray(saved(Image.fromarray(pixels(rng)), "BMP"))
        bmp[18:26] = struct.pack("<ii", side, side)
        return bytes(bmp)
    return tiff(rng, {256: side, 257: side})


def huge_tile(rng: Rng) -> bytes:
    return tiff(rng, {322: 60_000, 323: 60_000, 324: 8, 325: 100})


def endless_pages(rng: Rng) -> bytes:
    """A TIFF whose directory names itself as the next one."""
    content = bytearray(tiff(rng, {}))
    content[-4:] = struct.pack("<I", struct.unpack("<I", content[4:8])[0])
    return bytes(content)


def tiff(rng: Rng, changes: dict[int, int]) -> bytes:
    """A little-endian grey TIFF of 32 × 32 with some tags changed; its directory lies at the end."""
    data = rng.bytes(1024)
    tags = {256: 32, 257: 32, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 32, 279: 1024} | changes
    if 322 in changes:
        tags = {k: v for k, v in tags.items() if k not in (273, 278, 279)}
    entries = b"".join(struct.pack("<HHII", k, 4, 1, v) for k, v in sorted(tags.items()))
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\x00" + struct.pack("<I", 8 + len(data)) + data + directory


def text_bomb(rng: Rng) -> bytes:
    inflated = zeros(80)
    extra = chunk(b"zTXt", b"a\0\0" + inflated) if rng.integers(2) else chunk(b"iCCP", b"a\0\0" + inflated)
    return png(32, 32, zlib.compress(bytes(100)), extra)  # the picture itself is cut short


def data_bomb(rng: Rng) -> bytes:
    return png(32, 33, zeros(80))


def animated(rng: Rng) -> bytes:
    frames = [Image.fromarray(pixels(rng)) for _ in range(3)]
    kind = str(rng.choice(["PNG", "GIF", "TIFF", "WEBP"]))
    return saved(frames[0], kind, save_all=True, append_images=frames[1:])


def too_small(rng: Rng) -> bytes:
    return saved(Image.fromarray(pixels(rng, int(rng.integers(1, 16)))), "PNG")


def floats(rng: Rng) -> bytes:
    return saved(Image.fromarray(rng.normal(size=(32, 32)).astype(np.float32)), "TIFF")


def sixteen_bit(kind: str) -> Callable[[Rng], bytes]:
    return lambda rng: saved(Image.fromarray(rng.integers(0, 65536, (40, 40)).astype(np.uint16)), kind)


def of_mode(mode: str, kind: str) -> Callable[[Rng], bytes]:
    return lambda rng: saved(Image.fromarray(pixels(rng)).convert(mode), kind)


def transparent_palette(rng: Rng) -> bytes:
    return saved(Image.fromarray(pixels(rng)).convert("P"), "PNG", transparency=3)


KINDS: dict[str, Callable[[Rng], bytes]] = {
    "truncated": truncated,
    "flipped bytes": flipped,
    "wrong magic": wrong_magic,
    "SVG": svg,
    "archive": archive,
    "huge dimensions": huge_dimensions,
    "huge tile": huge_tile,
    "endless pages": endless_pages,
    "text bomb": text_bomb,
    "data bomb": data_bomb,
    "animated": animated,
    "too small": too_small,
    "floats": floats,
    "empty": lambda rng: b"",
    "noise": lambda rng: rng.bytes(int(rng.integers(1, 5000))),
    "16-bit PNG": sixteen_bit("PNG"),
    "16-bit TIFF": sixteen_bit("TIFF"),
    "CMYK JPEG": of_mode("CMYK", "JPEG"),
    "CMYK TIFF": of_mode("CMYK", "TIFF"),
    "RGBA PNG": of_mode("RGBA", "PNG"),
    "LA PNG": of_mode("LA", "PNG"),
    "palette with transparency": transparent_palette,
}


def bad_uploads(count: int, seed: int = 0) -> Iterator[tuple[str, str, bytes]]:
    """Yield so many uploads, all kinds in turn."""
    kinds = list(KINDS)
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        kind = kinds[i % len(kinds)]
        yield kind, NAMES[i % len(NAMES)], KINDS[kind](rng)


Outcome = tuple[tuple[int, int], tuple[str, ...]] | None  # size and notes of a picture; None: refused


def read_in_child(*contents: bytes) -> tuple[int, list[Outcome]]:
    """Read uploads one after another in a new process; return the peak of its memory's growth, and what was read.

    In a process of its own: where other tests ran there is freed memory, and what a reader takes of it does not show.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as child:
        return child.submit(_read_all, contents).result()


def _read_all(contents: Sequence[bytes]) -> tuple[int, list[Outcome]]:
    found: list[Outcome] = []
    with Peak.measured() as peak:
        for content in contents:
            try:
                upload = read_upload(content)
                found.append((upload.picture.size, tuple(upload.notes)))
            except RequestError:
                found.append(None)
    return peak.bytes, found


class Peak:
    """The largest growth of this process's memory within a block, sampled."""

    bytes = 0

    @classmethod
    @contextmanager
    def measured(cls) -> Iterator[Peak]:
        peak, process, over = cls(), psutil.Process(), threading.Event()
        before = process.memory_info().rss

        def watch() -> None:
            while not over.wait(0.002):
                peak.bytes = max(peak.bytes, process.memory_info().rss - before)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield peak
        finally:
            over.set()
            thread.join()
