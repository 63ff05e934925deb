"""Parse the authentication challenge of a registry, and the token scope of a request."""

from __future__ import annotations

import re
from dataclasses import dataclass

# The parameters: `realm="https://...",service="..."`, quoted or not. A name begins where no letter
# stands before it: the search is linear.
_PARAMETER = re.compile(r'(?<!\w)(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
LONGEST_CHALLENGE = 8_192


@dataclass(frozen=True)
class Challenge:
    """The authentication that a registry asks for: its `WWW-Authenticate` header.

    Attributes:
        scheme: `basic` or `bearer`, in small letters.
        realm: Of bearer: the address of the token server.
        service: Of bearer: the registry's name for the token server.
        scope: Of bearer: what the request would have needed; may be empty.
    """

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def challenge_of(header: str) -> Challenge:
    """Parse a `WWW-Authenticate` header."""
    scheme, _, rest = header[:LONGEST_CHALLENGE].strip().partition(" ")
    found = {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain
        for name, quoted, plain in _PARAMETER.findall(rest)
    }
    known = {key: found[key] for key in ("realm", "service", "scope") if key in found}
    return Challenge(scheme.lower(), **known)


def scope_of(method: str, repository: str, mounted_from: str | None = None) -> str:
    """Return the token scope that a request needs where the challenge does not name one."""
    actions = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(method, "pull,push")
    scope = f"repository:{repository}:{actions}"
    return f"{scope} repository:{mounted_from}:pull" if mounted_from else scope
