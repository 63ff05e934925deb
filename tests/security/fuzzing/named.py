"""Which files of a stage can be changed, and what an error has to name where one is."""

from __future__ import annotations

import re
from pathlib import Path

from ommx_prefect._stages.oci_groups import open_group
from ommx_prefect._stages.oci_manifests import name_of
from ommx_prefect._stages.store import GROUPS
from tests.security.fuzzing.scenes import Scene

KEY = re.compile(r"(?:[0-9a-f-]{36}|run)-\d+-[0-9a-f]{12}")
DIGEST = re.compile(r"[0-9a-f]{64}")


def files(root: Path) -> list[Path]:
    """The files of a stage that can be changed: of a registry, tags and blobs."""
    found = sorted(path for path in root.rglob("*") if path.is_file())
    return [x for x in found if x.name != ".lock" and not _is_by_digest(x)]


def _is_by_digest(path: Path) -> bool:
    return path.parent.name == "manifests" and path.name.startswith("sha256:")


def keys_of(template: Path, scene: Scene) -> dict[str, set[str]]:
    """Return which records name a blob, by the name of the file of the blob."""
    found: dict[str, set[str]] = {}
    for root in {scene.own, scene.shared}:
        here = template / root.relative_to(scene.folder)
        for path in here.rglob(f"*_{GROUPS}_*"):
            group = open_group(name_of(path.name), "", path.read_bytes())
            found[path.name] = {key for record in group.records for key in KEY.findall(record)}
        for path in (x for x in here.rglob("*") if x.is_file() and x.stat().st_size < 10**6):
            keys = set(KEY.findall(str(path.relative_to(here))))
            text = path.read_bytes().decode("latin-1")
            for digest in DIGEST.findall(text) if keys else ():
                found.setdefault(digest, set()).update(keys)
                found.setdefault(f"sha256:{digest}", set()).update(keys)
    # A shard's own bytes are a blob there; what it names, its manifest names, too.
    return found


def names_of(path: Path, keys: dict[str, set[str]]) -> set[str]:
    """What an error about a file names: the file, its object, or a record that has it."""
    tag = path.name.replace("_", "/")
    own = tag.partition("/")[2] or tag  # an error about several names the flow run once
    known = set(KEY.findall(str(path))) | keys.get(path.name, set())
    return {path.name, tag, own, path.name.removeprefix("sha256:"), *known}
