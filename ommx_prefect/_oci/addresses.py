"""Check every address to which a registry's answer may send the next request.

| address | where it may point to |
|---|---|
| where an upload goes on; a redirect of GET, HEAD and PUT | any host, without credentials |
| another redirect; the next page of a list | the registry itself |
| a redirect of the token server | the token server itself |

All of them over HTTPS. Plain HTTP is spoken with this machine only, and only on behalf of a
registry of this machine: another one has no business with what listens here.
"""

from __future__ import annotations

from typing import TypeAlias

import httpx

from ommx_prefect._oci.names import is_local

MOST_REDIRECTS = 5
LONGEST_ADDRESS = 16_384
MOST_PORT = 65_535
# What may be redirected to another host: an upload's bytes, and what is only read.
MAY_LEAVE = frozenset({"GET", "HEAD", "PUT"})
# Redirects after which a request has the same method and body.
AS_IT_WAS = frozenset({307, 308})

Origin: TypeAlias = "tuple[str, str, int | None]"


class AddressError(ValueError):
    """A registry's answer names an address that is refused; the text says why."""


def origin_of(url: httpx.URL) -> Origin:
    """Return what credentials belong to: scheme, host and port."""
    return url.scheme, url.raw_host.decode("ascii"), url.port


def address_in(base: httpx.URL, given: str) -> httpx.URL:
    """Return the address that an answer gives, relative to that of the answer.

    Raises:
        AddressError: It is none, or not spoken to over HTTPS, or holds a user's name.
    """
    try:
        url = base.join(given) if len(given) <= LONGEST_ADDRESS else httpx.URL("")
        host = url.host
    except (httpx.InvalidURL, ValueError):
        raise AddressError("it sends us to an address that makes no sense") from None
    is_port = url.port is None or 0 < url.port <= MOST_PORT
    if not host or not is_port or url.scheme not in ("http", "https") or url.userinfo:
        raise AddressError("it sends us to an address that makes no sense")
    if url.scheme == "http" and not (is_local(host) and is_local(base.host)):
        raise AddressError(f"it sends us to {host!r}, which is not spoken to over HTTPS")
    return url


def redirected(request: httpx.Request, response: httpx.Response) -> httpx.URL:
    """Return where a redirect sends a request on, with its method and its body.

    Raises:
        AddressError: It would change the method, or may not go there.
    """
    url = address_in(response.url, response.headers["Location"])
    method = request.method
    if response.status_code not in AS_IT_WAS and method not in ("GET", "HEAD"):
        raise AddressError(f"it redirects {method} with {response.status_code}")
    if origin_of(url) != origin_of(request.url) and method not in MAY_LEAVE:
        raise AddressError(f"it redirects {method} to another host, {url.host!r}")
    return url
