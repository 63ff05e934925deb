"""The forms in which a secret may appear in texts, and its parts that are secrets themselves.

| shown | found as |
|---|---|
| as it is | itself; each line of several; the token of `Bearer <token>`; a URL's password |
| by `repr`, in JSON, in a URL | escaped as these do |
| in base64, alone or behind other bytes (`user:secret`) | the letters that it alone decides |
| in bytes | all of these in UTF-8, and as it is in UTF-16 and UTF-32 |

What is derived in another way (a hash, a part, encryption, compression) cannot be found.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote

from ommx_prefect._values.secret_names import is_secret_name

# A shorter text is hidden where it stands, and not searched elsewhere: it would be found by chance.
SHORTEST_SECRET = 8
MOST_LINES = 1_000
# The scheme of an `Authorization` header, and what it is followed by.
SCHEME = re.compile(r"(?:bearer|basic|token|apikey|negotiate|digest) {1,8}(\S.*)", re.I | re.S)
# A user and a password in a URL; the bounds keep the search linear.
URL_PASSWORD = re.compile(
    r"(://[^\s/?#:@\"'<>]{0,128}):(?!\*\*redacted\*\*@)([^\s/?#@\"'<>]{1,512})@"
)
# `name=value` of a query, a connection string or a cookie.
PAIR = re.compile(r"(?<![^;&?\s])([\w.-]{1,64})=([^;&\s\"']{1,8192})")
OTHER_PAIRS = frozenset({"sig", "signature"})
PEM = "-----"
WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")


def parts_of(secret: str, *, is_cookie: bool = False) -> set[str]:
    """Return a secret and what in it is one by itself, where it is long enough to be searched."""
    found = {secret, *_lines_of(secret), *url_passwords(secret)}
    if header := SCHEME.fullmatch(secret.strip()):
        found |= {header[1], *_basic(header[1])}
    found |= {value for name, value in PAIR.findall(secret) if is_cookie or _is_pair(name)}
    return {text for text in found if len(text.strip()) >= SHORTEST_SECRET}


def url_passwords(text: str) -> set[str]:
    """Return the passwords of the URLs in a text, as they are written and as they are."""
    if "://" not in text or "@" not in text:
        return set()
    written = [password for _, password in URL_PASSWORD.findall(text)]
    return {*written, *map(unquote, written)}


@functools.lru_cache(maxsize=1_000)
def forms_of(secret: str) -> frozenset[str]:
    """Return how a secret is met in a text."""
    data = secret.encode("utf-8", "backslashreplace")
    forms = {
        secret,
        data.decode(),
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(data),
        quote(data, safe=""),
        quote_plus(data),
        *_base64_forms(data),
    }
    shortest = min(SHORTEST_SECRET, len(secret))
    return frozenset(form for form in forms if len(form) >= shortest)


def needles_of(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """Return how secrets are met in bytes."""
    found = set()
    for secret in secrets:
        found |= {form.encode("utf-8", "backslashreplace") for form in forms_of(secret)}
        with contextlib.suppress(UnicodeEncodeError):  # a half of a pair, which no such text has
            found |= {secret.encode(name) for name in WIDE}
    return tuple(sorted(found))


def _lines_of(secret: str) -> Iterator[str]:
    lines = secret.splitlines()[:MOST_LINES]
    return (x.strip() for x in lines if len(lines) > 1 and not x.startswith(PEM))


def _basic(encoded: str) -> Iterator[str]:
    """Yield the password of Basic authentication."""
    with contextlib.suppress(ValueError):
        yield base64.b64decode(encoded, validate=True).decode().partition(":")[2]


def _is_pair(name: str) -> bool:
    return is_secret_name(name) or name.lower() in OTHER_PAIRS


def _base64_forms(data: bytes) -> Iterator[str]:
    """Yield the letters of base64 that the data decide alone, whatever stands before them."""
    for before in range(3):
        first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + data)[first:last].decode()
