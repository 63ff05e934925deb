"""The grammar of OCI image names: tags, and names made from others."""

from __future__ import annotations

import hashlib
import re

# What an OCI tag may not contain (distribution spec: [A-Za-z0-9_][A-Za-z0-9._-]{0,127}).
NOT_IN_TAG = re.compile(r"[^A-Za-z0-9_.-]+")
TAG_LENGTH = 128


def with_suffix(name: str, suffix: str) -> str:
    """Return the name with `-suffix` at its tag, which stays within the length of a tag."""
    repository, _, tag = name.rpartition(":")
    return f"{repository}:{tag[: TAG_LENGTH - len(suffix) - 1]}-{suffix}"


def with_tag(name: str, tag: str) -> str:
    """Return the name of the same repository with another tag."""
    return f"{name.rpartition(':')[0]}:{tag}"


def as_tag(text: str) -> str:
    """Return the text as a part of a tag: what a tag cannot hold becomes a dash.

    Text beyond ASCII gets a few digits of its hash, so that different names stay different.
    """
    tag = NOT_IN_TAG.sub("-", text).strip("-")[: TAG_LENGTH - 8]
    if not text.isascii():
        digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:6]
        tag = f"{tag}-{digest}".strip("-")
    return tag or "run"


def suffix_of(flow_run_id: str) -> str:
    """Return what tells the names of two flow runs apart."""
    return flow_run_id.replace("-", "")[-8:]
