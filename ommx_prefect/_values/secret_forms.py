"""The forms in which a secret may appear in texts, and its parts that are secrets themselves.

| shown | found as |
|---|---|
| as it is | itself; each line of several; the token of `Bearer <token>`; a URL's password |
| by `repr`, in JSON, in a URL | escaped as these do |
| on one line | with a blank for each run of blanks and line ends |
| in base64, alone or behind other bytes (`user:secret`) | the letters that it alone decides |
| in bytes | all of these in UTF-8, and as it is in UTF-16 and UTF-32 |
| bytes that are no plain text | themselves, hexadecimal, and read as a text in the usual ways |

A secret of bytes is kept as a text, as Python keeps odd file names: `text_of` and `bytes_of`.

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
PAIR = re.compile(r"(?<![^;&?\s])([\w.-]{1,64})=[\"']?([^;&\s\"']{1,8192})")
OTHER_PAIRS = frozenset({"sig", "signature"})
PEM = "-----"
WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")


def text_of(data: bytes | bytearray | memoryview) -> str:
    """Return bytes as a text; what is not UTF-8 in them as lone surrogates: none is lost."""
    return bytes(data).decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    """Return the bytes of which `text_of` has made a text; a text's own in UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a half of a pair, which no bytes give
        return text.encode("utf-8", "backslashreplace")


def parts_of(secret: str, *, is_cookie: bool = False) -> set[str]:
    """Return a secret and its parts that are secrets too, if long enough to be searched for."""
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


def secrets_in_url(text: str) -> set[str]:
    """Return the passwords in a text with a URL, and what names like credentials stand for there.

    `https://host/x?token=...`, `?sig=...`.
    """
    if "://" not in text:
        return set()
    pairs = {value for name, value in PAIR.findall(text) if _is_pair(name)}
    return url_passwords(text) | pairs | set(map(unquote, pairs))


@functools.lru_cache(maxsize=1_000)
def forms_of(secret: str) -> frozenset[str]:
    """Return the forms in which a secret may appear in a text."""
    data = bytes_of(secret)
    readings = {secret, " ".join(secret.split())}
    forms = {repr(data)[2:-1], *_base64_forms(data)}
    forms |= {quote(data), quote(data, safe=""), quote_plus(data)}
    if not secret.isprintable():
        readings |= {data.decode("latin-1"), data.decode(errors="replace")}
        forms |= {data.hex(), data.hex().upper()}
    forms.update(*map(_escaped, readings))
    shortest = min(SHORTEST_SECRET, len(secret))
    long = (form for form in forms if len(form.replace("\ufffd", "")) >= shortest)
    return frozenset((secret, *long))


def needles_of(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """Return the bytes by which secrets are found in data, such as JSON with their text."""
    found = set()
    for secret in secrets:
        shown = {text for form in forms_of(secret) for text in (form, json.dumps(form)[1:-1])}
        found |= {text.encode("utf-8", "backslashreplace") for text in shown}
        found |= {secret.encode(name, "surrogatepass") for name in WIDE}
        found.add(bytes_of(secret))
    return tuple(sorted(found))


def _lines_of(secret: str) -> Iterator[str]:
    # In an environment variable, or in JSON, the ends of lines are written out.
    lines = secret.replace("\\n", "\n").splitlines()[:MOST_LINES]
    return (x.strip() for x in lines if len(lines) > 1 and not x.startswith(PEM))


def _basic(encoded: str) -> Iterator[str]:
    """Yield the password of Basic authentication."""
    with contextlib.suppress(ValueError):
        yield base64.b64decode(encoded, validate=True).decode().partition(":")[2]


def _is_pair(name: str) -> bool:
    return is_secret_name(name) or name.lower() in OTHER_PAIRS


def _escaped(text: str) -> Iterator[str]:
    """Yield a text as it is, and as it is written where something has to be escaped."""
    yield text
    yield text.encode("utf-8", "backslashreplace").decode()
    yield repr(text)[1:-1]
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]


def _base64_forms(data: bytes) -> Iterator[str]:
    """Yield the letters of base64 that the data decide alone, whatever stands before them."""
    for before in range(3):
        first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + data)[first:last].decode()
