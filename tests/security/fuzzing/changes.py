"""How a stage is changed: as disks and networks do it, and as somebody who means harm does.

`damaged` changes bytes, or what a file is. `forged` changes fields, and makes the digest right
again: whoever may write to a stage can compute it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

from ommx_prefect._format.model import sha256_digest
from ommx_prefect._shards.digests import packed_with_digest
from ommx_prefect._shards.schema import to_document

# Bytes that are the syntax of something, and texts that others have tripped over.
SYNTAX = [b'"', b"{", b"}", b"[", b",", b":", b"\\u0000", b"\\ud800", b"../", b"1e999", b"\xc4\xff"]
SYNTAX += [b"NaN", b"-1", b"9" * 400, b"null", b"\x80", b"\xff", b"\x00", b"[" * 2000]
HOSTILE: list[Any] = [None, True, -1, 0, 2**63, 2**64 - 1, 1e308, float("nan"), float("inf")]
HOSTILE += ["", "..", "../../../../thesis.tex", "/etc/hostname", "\x00", "a\nb\x1b[2J", "\u202e"]
HOSTILE += ["x" * 3_000_000, "sha256:../../../../etc/hostname", "sha256:" + "0" * 64, "A" * 300]
HOSTILE += ["9999-01-01T00:00:00+00:00", [], {}, [[]], {"": ""}, b"bytes", "oci://127.0.0.1:9/x"]
HOSTILE += ["registry.example/acme/payroll:one", "interrupted", "draft", [1] * 1000]
# A hole in a file: nothing on the disk, and all of it in memory.
LARGE_BYTES = 200 * 2**20
PLANTED = ["readme.txt", "..x", "sealed.json", "sealing.json", "outbox.json", "inbox.json"]
PLANTED += ["starts/x-1-n", "shards/x-1-n", "quarantine/x", "blobs/x", "\u202eevil", "a b", "-rf"]
PLANTED += ["checkpoints/x-1-n", "starts/" + "k" * 200, "unsent/flow.json", "shards/x/y/z"]


@dataclass(frozen=True)
class Change:
    """What was done to a stage.

    Attributes:
        how: In words.
        paths: The files that are not as they were.
        is_forged: Whether it may say what its writer likes.
    """

    how: str
    paths: tuple[Path, ...]
    is_forged: bool = False


def changed_bytes(data: bytes, dice: random.Random) -> bytes:
    """Change bytes as disks, networks and people do."""
    for _ in range(dice.choice((1, 1, 1, 2, 5))):
        place = dice.randrange(len(data) + 1)
        other = dice.randrange(len(data) + 1)
        kind = dice.randrange(6)
        if kind == 0 and place < len(data):
            data = data[:place] + bytes([data[place] ^ 1 << dice.randrange(8)]) + data[place + 1 :]
        elif kind == 1:
            data = data[:place]
        elif kind == 2:
            data = data[:place] + dice.choice(SYNTAX) + data[place:]
        elif kind == 3:
            data = data[:place] + data[place + dice.randrange(1, 30) :]
        elif kind == 4:
            data = data[:place] + data[other : other + 40] + data[place:]
        else:
            data = dice.randbytes(dice.randrange(40))
    return data


def put(path: Path, data: bytes) -> None:
    """Put a new file there: the one that is there may be a link to another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)


# ---------------------------------------------------------------- damage


def damaged(paths: list[Path], root: Path, outside: Path, dice: random.Random) -> Change:
    """Damage a file of a stage, or put one there that nobody knows."""
    path = dice.choice(paths)
    how = dice.choices(list(DAMAGE), weights=[weight for weight, _ in DAMAGE.values()])[0]
    return DAMAGE[how][1](path, paths, root, outside, dice)


def _bytes(path: Path, paths: Any, root: Path, outside: Path, dice: random.Random) -> Change:
    put(path, changed_bytes(path.read_bytes(), dice))
    return Change("bytes", (path,))


def _empty(path: Path, *_: Any) -> Change:
    put(path, b"")
    return Change("empty", (path,))


def _gone(path: Path, *_: Any) -> Change:
    path.unlink()
    return Change("gone", (path,))


def _swapped(path: Path, paths: list[Path], *rest: Any) -> Change:
    other = rest[-1].choice(paths)
    mine, its = path.read_bytes(), other.read_bytes()
    put(path, its)
    put(other, mine)
    return Change("swapped", (path, other) if other != path else ())


def _copied(path: Path, paths: list[Path], *rest: Any) -> Change:
    """The record of one, under the name of another, or of nobody."""
    name = rest[-1].choice([x.name for x in paths] + ["x-1-n"])
    put(path.with_name(name), path.read_bytes())
    return Change("copied", (path.with_name(name),))


def _link(path: Path, paths: list[Path], root: Path, outside: Path, dice: random.Random) -> Change:
    path.unlink()
    path.symlink_to(dice.choice([outside / "thesis.tex", outside, Path("/dev/zero"), paths[0]]))
    return Change("link", (path,))


def _pipe(path: Path, *_: Any) -> Change:
    path.unlink()
    os.mkfifo(path)
    return Change("pipe", (path,))


def _folder(path: Path, *_: Any) -> Change:
    path.unlink()
    path.mkdir()
    return Change("folder", (path,))


def _large(path: Path, *_: Any) -> Change:
    put(path, b"")
    os.truncate(path, LARGE_BYTES)
    return Change("large", (path,))


def _planted(path: Path, paths: Any, root: Path, outside: Path, dice: random.Random) -> Change:
    new = root / dice.choice(PLANTED)
    data = dice.choice([b"", b"{}", b"hello", path.read_bytes()])
    with contextlib.suppress(OSError):
        put(new, data)
    return Change("planted", (new,), is_forged=True)


DAMAGE: dict[str, tuple[int, Callable[..., Change]]] = {
    "bytes": (50, _bytes),
    "empty": (5, _empty),
    "gone": (8, _gone),
    "swapped": (6, _swapped),
    "copied": (6, _copied),
    "link": (5, _link),
    "pipe": (3, _pipe),
    "folder": (3, _folder),
    "large": (2, _large),
    "planted": (8, _planted),
}


# ---------------------------------------------------------------- forgery


def forged(paths: list[Path], root: Path, owner: str, dice: random.Random) -> Change:
    """Change fields of a document, and make its digests right again."""
    for _ in range(1000):
        path = dice.choice(paths)
        name = f"{owner}/{path.relative_to(root).as_posix()}".replace("/manifests/", "/")
        with contextlib.suppress(ValueError, TypeError, OverflowError, RecursionError, KeyError):
            put(path, _forged(path, name.removeprefix(f"{owner}/{owner}_"), owner, dice))
            return Change("forged", (path,), is_forged=True)
    raise AssertionError("nothing here can be forged")


def _forged(path: Path, name: str, owner: str, dice: random.Random) -> bytes:
    data = path.read_bytes()
    if data[:1] != b"{":
        return _forged_packed(data, dice)
    document = json.loads(data)
    if "annotations" in document and "schemaVersion" in document:
        return _forged_manifest(path, document, owner, dice)
    return _forged_document(document, name, dice)


def _forged_document(document: dict[str, Any], name: str, dice: random.Random) -> bytes:
    document.pop("digest", None)
    number = document.pop("format", 2)
    fields = tampered(document, dice)
    return to_document(fields, dice.choice([number, number, number, 0, 1, 99, "2"]), name)


def _forged_manifest(path: Path, document: Any, owner: str, dice: random.Random) -> bytes:
    notes, kind = document["annotations"], dice.randrange(3)
    if kind == 0:
        return json.dumps(tampered(document, dice)).encode()
    if text := notes.get("org.ommx-prefect.document"):
        name = notes["org.ommx-prefect.object"]
        forged_text = _forged_document(json.loads(text), name, dice)
        notes["org.ommx-prefect.document"] = forged_text.decode()
        return json.dumps(document).encode()
    if inline := notes.get("org.ommx-prefect.shard"):
        shard = _forged_packed(base64.b64decode(inline), dice)
        notes["org.ommx-prefect.shard"] = base64.b64encode(shard).decode()
        return json.dumps(document).encode()
    blobs = path.parent.parent / "blobs"
    data = _forged_packed((blobs / document["config"]["digest"]).read_bytes(), dice)
    document["config"].update(digest=sha256_digest(data), size=len(data))
    put(blobs / sha256_digest(data), data)
    return json.dumps(document).encode()


def _forged_packed(data: bytes, dice: random.Random) -> bytes:
    """Forge a shard, or an archive with one in it."""
    document = msgpack.unpackb(data)
    if "shard" in document and dice.randrange(4):
        document["shard"] = _forged_packed(document["shard"], dice)
        return bytes(msgpack.packb(document))
    if "shard" in document:
        return bytes(msgpack.packb(tampered(document, dice)))
    document.pop("digest", None)
    if document.get("documents") and dice.randrange(2):
        document["documents"] = _forged_experiment(document["documents"], dice)
    else:
        document = tampered(document, dice)
    return packed_with_digest(bytes(msgpack.packb(document)))


def _forged_experiment(documents: dict[str, bytes], dice: random.Random) -> dict[str, bytes]:
    """Forge the manifest or the config of what an attempt recorded."""
    manifest, config = json.loads(documents["manifest"]), json.loads(documents["config"])
    kind = dice.randrange(3)
    if kind == 0:
        manifest = tampered(manifest, dice)
    elif kind == 1:
        config = tampered(config, dice)
        packed = json.dumps(config).encode()
        manifest["config"].update(digest=sha256_digest(packed), size=len(packed))
        documents = {**documents, "config": packed}
    else:
        table = tampered(msgpack.unpackb(documents["parameters"], strict_map_key=False), dice)
        packed = bytes(msgpack.packb(table))
        for layer in manifest["layers"]:
            if layer["digest"] == sha256_digest(documents["parameters"]):
                layer.update(digest=sha256_digest(packed), size=len(packed))
        documents = {**documents, "parameters": packed}
    return {**documents, "manifest": json.dumps(manifest).encode()}


def tampered(value: Any, dice: random.Random) -> Any:
    """Change one value somewhere in a document, or take it away, or add one."""
    if not isinstance(value, (dict, list)) or not value or not dice.randrange(8):
        return dice.choice(HOSTILE)
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    where = dice.choice(list(copy) if isinstance(copy, dict) else range(len(copy)))
    kind = dice.randrange(12)
    if kind == 0:
        del copy[where]
    elif kind == 1 and isinstance(copy, dict):
        copy[dice.choice([str(where).upper(), "x", "../x", ""])] = copy[where]
    else:
        copy[where] = tampered(copy[where], dice)
    return copy
