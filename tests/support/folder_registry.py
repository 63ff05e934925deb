"""An OCI registry that is a folder: what lies there is what it answers, checked by nobody.

    <folder>/<repository>/manifests/<tag, or digest>
    <folder>/<repository>/blobs/<digest>

So a test changes its answers by changing files. It takes uploads, mounts, moves and removals as a
real one does, and leaves out what our client does not use.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.support.scripted_server import Handler, answering

_PATH = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>manifests|blobs|tags)/(?P<reference>.*)")


class FolderRegistry:
    """What a registry does, on a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._digests: dict[tuple[int, int, int], str] = {}

    def script(self, handler: Handler) -> None:
        """Answer one request."""
        body, address = handler.body(), urlsplit(handler.path)
        found = _PATH.fullmatch(address.path)
        if found is None:
            return handler.answer(200, b"{}")
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        place = self.folder / found["name"]
        answer = getattr(self, f"_{found['kind']}")
        with contextlib.suppress(ConnectionError):  # who had enough closes the connection
            try:
                return answer(handler, place, found["reference"], body, query)
            except ConnectionError:
                raise
            except (OSError, ValueError):
                return handler.answer(404, b"{}")

    def _tags(
        self, handler: Handler, place: Path, reference: str, body: bytes, query: dict[str, str]
    ) -> None:
        tags = [x for x in os.listdir(place / "manifests") if ":" not in x]
        handler.answer(200, json.dumps({"tags": tags}).encode())

    def _manifests(
        self, handler: Handler, place: Path, reference: str, body: bytes, query: dict[str, str]
    ) -> None:
        path = place / "manifests" / reference
        if handler.command == "PUT":
            self._store(place / "manifests" / _digest(body), body)
            self._store(path, body)
            return handler.answer(201, b"", {"Docker-Content-Digest": _digest(body)})
        if handler.command == "DELETE":
            with self._lock:
                self._remove(place, reference)
            return handler.answer(202, b"")
        data = _content(path)
        return handler.answer(200, data, {"Docker-Content-Digest": _digest(data)})

    def _remove(self, place: Path, digest: str) -> None:
        for path in (place / "manifests").iterdir():
            if path.name == digest or (path.is_file() and self._digest_of(path) == digest):
                path.unlink()

    def _digest_of(self, path: Path) -> str:
        """The digest of a file, read once for each that is put there: files may be large."""
        status = path.stat()
        key = (status.st_ino, status.st_mtime_ns, status.st_size)
        if key not in self._digests:
            self._digests[key] = _digest(path.read_bytes())
        return self._digests[key]

    def _blobs(
        self, handler: Handler, place: Path, reference: str, body: bytes, query: dict[str, str]
    ) -> None:
        source = self.folder / query.get("from", "-") / "blobs" / query.get("mount", "-")
        if handler.command == "POST" and source.is_file():
            # One blob of both repositories, as in any registry.
            (place / "blobs").mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                (place / "blobs" / query["mount"]).symlink_to(source)
            return handler.answer(201, b"")
        if handler.command == "POST":
            name = place.relative_to(self.folder)
            where = {"Location": f"/v2/{name}/blobs/uploads/{uuid.uuid4().hex}"}
            return handler.answer(202, b"", where)
        if handler.command == "PUT":
            self._store(place / "blobs" / query["digest"], body)
            return handler.answer(201, b"")
        path = place / "blobs" / reference
        return handler.answer(200, _content(path))

    def _store(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{uuid.uuid4().hex}")
        scratch.write_bytes(data)
        with self._lock:
            if path.is_dir() and not path.is_symlink():  # as a test has put it there
                shutil.rmtree(path)
            os.replace(scratch, path)  # also what is a link, to a folder perhaps


def _content(path: Path) -> bytes:
    """Read what is a file; nobody waits for who writes to a pipe."""
    if not path.is_file():
        raise FileNotFoundError(path)
    return path.read_bytes()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@contextlib.contextmanager
def folder_registry(folder: Path) -> Iterator[str]:
    """Serve a folder; yields `host:port`."""
    with answering(FolderRegistry(folder).script, keeps=True) as host:
        yield host
