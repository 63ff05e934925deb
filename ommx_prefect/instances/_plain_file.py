"""Give every reader the same plain UTF-8 text, also of packed files and those in Latin-1.

Readers differ on what is around the text: OMMX's loader ends at a byte that is not UTF-8 and at the
end of the first member of a gzip file, and SCIP takes no byte order mark.
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from ommx_prefect.exceptions import InstanceFileError

# A packed file may not grow without measure: 3 MB can hold 3 GB of zeros. Models shrink by 5 to
# 30; the first megabytes are free, for the ratio of a small file says little.
MAX_RATIO = 200
FREE_BYTES = 16 * 2**20
MAX_BYTES = 4 * 2**30

_GZIP, _UTF8_MARK = b"\x1f\x8b", codecs.BOM_UTF8
# How a content begins that is no model's text, what it is, and what to do.
_NO_TEXT = (
    (_GZIP, "it is packed twice. Unpack it once"),
    (b"BZh", "it is packed with bzip2. Unpack it, or pack it with gzip"),
    (b"\xfd7zXZ\0", "it is packed with xz. Unpack it, or pack it with gzip"),
    (b"\x28\xb5\x2f\xfd", "it is packed with zstd. Unpack it, or pack it with gzip"),
    (b"PK\x03\x04", "it is a zip archive. Unpack it, or pack the file in it with gzip"),
    (b"\x1f\x9d", "it is packed with compress. Unpack it, or pack it with gzip"),
    (b"version https://git-lfs", "it is a pointer of Git LFS, not the file. Run: git lfs pull"),
    (codecs.BOM_UTF16_LE, "it is written in UTF-16 or UTF-32. Save it as UTF-8"),
    (codecs.BOM_UTF16_BE, "it is written in UTF-16. Save it as UTF-8"),
)
_CHUNK = 2**20


@contextmanager
def plain_file(path: Path, suffix: str) -> Iterator[Path]:
    """Yield a path to the file's text that every reader takes; a copy if the file is not plain.

    Raises:
        InstanceFileError: It is empty or no text, its gzip data is broken, or it unpacks to too
            much.
    """
    packed = _starts(path).startswith(_GZIP)
    encoding = _encoding(path, packed)
    if not packed and encoding == "utf-8" and _is_plain_name(path, suffix):
        yield path
        return
    with TemporaryDirectory(prefix="ommx-prefect-") as folder:
        copy = Path(folder, f"model{suffix}")
        with copy.open("wb") as file:
            for text in codecs.iterdecode(_content(path, packed), encoding):
                file.write(text.encode())
        yield copy


def _starts(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _is_plain_name(path: Path, suffix: str) -> bool:
    """Tell whether every reader takes the path: they choose the format by a lower-case ending."""
    try:
        return path.name.endswith(suffix) and bool(str(path).encode())
    except UnicodeEncodeError:
        return False


def _encoding(path: Path, packed: bool) -> str:
    """Return how the text is written: UTF-8, with or without a mark, else Latin-1."""
    content = _content(path, packed)
    first = next(content, b"")
    if not first.strip():
        raise InstanceFileError(str(path), "it is empty. Fetch it again")
    reason = next((what for begin, what in _NO_TEXT if first.startswith(begin)), "")
    if not reason and b"\0" in first:
        reason = "it holds zero bytes, and so is no text. Fetch it again"
    if reason:
        raise InstanceFileError(str(path), reason)
    plain = "utf-8-sig" if first.startswith(_UTF8_MARK) else "utf-8"
    return plain if _is_utf8(chain([first], content)) else "latin-1"


def _is_utf8(content: Iterable[bytes]) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in content:
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _content(path: Path, packed: bool) -> Iterator[bytes]:
    with path.open("rb") as raw:
        yield from _unpacked(path, raw) if packed else _chunks(raw)


def _chunks(file: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _unpacked(path: Path, raw: IO[bytes]) -> Iterator[bytes]:
    limit = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * path.stat().st_size))
    size = 0
    try:
        with gzip.open(raw) as file:
            for chunk in _chunks(file):
                size += len(chunk)
                if size > limit:
                    raise InstanceFileError(str(path), _too_much(limit))
                yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        reason = f"its gzip data is broken ({error}). Fetch it again"
        raise InstanceFileError(str(path), reason) from error


def _too_much(limit: int) -> str:
    return (
        f"it unpacks to more than {limit / 2**20:,.0f} MiB; a packed model may be {MAX_RATIO} "
        f"times its size, and {MAX_BYTES / 2**30:,.0f} GiB. Unpack it yourself if it is a model"
    )
