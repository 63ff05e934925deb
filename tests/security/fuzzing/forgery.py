"""How a stage is changed by somebody who means harm.

Fields are changed, and the digests made right again: whoever may write to a stage can compute them.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import random
import zlib
from pathlib import Path
from typing import Any

import msgpack

from ommx_prefect._format.model import sha256_digest
from ommx_prefect._shards.digests import packed_with_digest
from ommx_prefect._shards.schema import to_document
from tests.security.fuzzing.changes import Change, put

# A stage that does not answer.
ELSEWHERE = "oci://127.0.0.1:9/x"
HOSTILE: list[Any] = [None, True, -1, 0, 2**63, 2**64 - 1, 1e308, float("nan"), float("inf")]
HOSTILE += ["", "..", "../../../../thesis.tex", "/etc/hostname", "\x00", "a\nb\x1b[2J", "\u202e"]
HOSTILE += ["x" * 3_000_000, "sha256:../../../../etc/hostname", "sha256:" + "0" * 64, "A" * 300]
HOSTILE += ["9999-01-01T00:00:00+00:00", [], {}, [[]], {"": ""}, b"bytes", ELSEWHERE]
HOSTILE += ["registry.example/acme/payroll:one", "interrupted", "draft", [1] * 1000]
# Names that are no records of attempts.
IN_GROUPS = ["FLOW_RUN/flow.json", "FLOW_RUN/shards/x-1-n", "FLOW_RUN/starts/../../flow.json"]
IN_GROUPS += ["x/starts/y", "FLOW_RUN/groups/0", "FLOW_RUN/sealed.json", ""]
IN_GROUPS += ["FLOW_RUN/parts/x-1-n", "FLOW_RUN/rolled-back/x"]


@functools.cache
def bomb() -> bytes:
    """Return a group that is much larger when it is unpacked."""
    return zlib.compress(bytes(300 * 2**20))


def forged(paths: list[Path], root: Path, flow_run_id: str, dice: random.Random) -> Change:
    """Change fields of a document, and make its digests right again."""
    for _ in range(1000):
        path = dice.choice(paths)
        name = f"{flow_run_id}/{path.relative_to(root).as_posix()}".replace("/manifests/", "/")
        with contextlib.suppress(ValueError, TypeError, OverflowError, RecursionError, KeyError):
            put(
                path,
                _forged(
                    path, name.removeprefix(f"{flow_run_id}/{flow_run_id}_"), flow_run_id, dice
                ),
            )
            return Change("forged", (path,), is_forged=True)
    raise AssertionError("nothing here can be forged")


def _forged(path: Path, name: str, flow_run_id: str, dice: random.Random) -> bytes:
    data = path.read_bytes()
    if data[:1] != b"{":
        return _forged_packed(data, dice)
    document = json.loads(data)
    if "annotations" in document and "schemaVersion" in document:
        return _forged_manifest(path, document, flow_run_id, dice)
    return _forged_document(document, name, dice)


def _forged_document(document: dict[str, Any], name: str, dice: random.Random) -> bytes:
    _unsigned(document, dice).pop("digest", None)
    number = document.pop("format", 2)
    fields = tampered(document, dice)
    return to_document(fields, dice.choice([number, number, number, 0, 1, 99, "2"]), name)


def _forged_manifest(path: Path, document: Any, flow_run_id: str, dice: random.Random) -> bytes:
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
    if grouped := notes.get("org.ommx-prefect.records"):
        packed = _forged_group(base64.b64decode(grouped), flow_run_id, dice)
        notes["org.ommx-prefect.records"] = base64.b64encode(packed).decode()
        return json.dumps(document).encode()
    blobs = path.parent.parent / "blobs"
    data = _forged_packed((blobs / document["config"]["digest"]).read_bytes(), dice)
    document["config"].update(digest=sha256_digest(data), size=len(data))
    put(blobs / sha256_digest(data), data)
    return json.dumps(document).encode()


def _forged_group(packed: bytes, flow_run_id: str, dice: random.Random) -> bytes:
    """Forge a record of a group, or what the group says that it holds."""
    if not dice.randrange(12):
        return bomb()
    group = msgpack.unpackb(zlib.decompress(packed))
    records = group["records"]
    name, kind = dice.choice(list(records)), dice.randrange(6)
    if kind == 0:
        group = tampered(group, dice)
    elif kind == 1:
        records[dice.choice(IN_GROUPS).replace("FLOW_RUN", flow_run_id)] = records[name]
    elif records[name][:1] == b"{":
        records[name] = _forged_document(json.loads(records[name]), name, dice)
    else:
        records[name] = _forged_packed(records[name], dice)
    return zlib.compress(bytes(msgpack.packb(group))) + dice.choice((b"", b"", b"", b"more"))


def _unsigned(document: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """Take the signature off, or leave it where it does not belong."""
    if dice.randrange(2):
        document.pop("signature", None)
    return document


def _forged_packed(data: bytes, dice: random.Random) -> bytes:
    """Forge a shard, or an archive with one in it."""
    document = msgpack.unpackb(data)
    if "shard" in document and dice.randrange(4):
        document["shard"] = _forged_packed(document["shard"], dice)
        return bytes(msgpack.packb(document))
    if "shard" in document:
        return bytes(msgpack.packb(tampered(document, dice)))
    _unsigned(document, dice).pop("digest", None)
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
