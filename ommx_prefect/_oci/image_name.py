"""The grammar of OCI image names: tags, and names made from others."""

from __future__ import annotations

import hashlib
import re

# What an OCI tag may not contain (distribution spec: [A-Za-z0-9_][A-Za-z0-9._-]{0,127}).
NOT_IN_TAG = re.compile(r"[^A-Za-z0-9_.-]+")
TAG_LENGTH = 128
# What may stand between the words of a path.
SEPARATOR = re.compile(r"\.|__?|-+")


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
    tag = _plain_tag(text)
    return tag if text.isascii() else _with_digest(tag, text)


def as_distinct_tag(text: str) -> str:
    """Return the text as a part of a tag, and a different part for each different text.

    A text that a tag cannot hold as it stands gets a few digits of its hash.
    """
    tag = _plain_tag(text)
    return tag if tag == text else _with_digest(tag, text)


def as_distinct_path(text: str) -> str:
    r"""Return the text as a part of a repository's path, and a different one for each text.

    A path holds lower-case letters and digits in words that a single separator joins
    (distribution spec: [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*).
    """
    path = re.sub("[^a-z0-9]+", _separator, text.lower()).strip("-._") or "run"
    if path == text and len(path) <= TAG_LENGTH:
        return path
    return f"{path[: TAG_LENGTH - 8].rstrip('-._')}-{_digits(text)}"


def _separator(found: re.Match[str]) -> str:
    return found[0] if SEPARATOR.fullmatch(found[0]) else "-"


def bounded_tag(tag: str) -> str:
    """Return a tag that is not too long; of a longer one the beginning and a hash of the whole."""
    return tag if len(tag) <= TAG_LENGTH else _with_digest(tag[: TAG_LENGTH - 8], tag)


def _plain_tag(text: str) -> str:
    return NOT_IN_TAG.sub("-", text).lstrip("-.").rstrip("-")[: TAG_LENGTH - 8] or "run"


def _with_digest(tag: str, text: str) -> str:
    return f"{tag}-{_digits(text)}"


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:6]


def suffix_of(flow_run_id: str) -> str:
    """Return the suffix that makes the image name of a flow run unique."""
    return flow_run_id.replace("-", "")[-8:]
