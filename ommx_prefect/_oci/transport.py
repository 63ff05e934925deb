"""Send HTTP requests to an OCI registry within limits; its errors become those of this package."""

from __future__ import annotations

import contextlib
import functools
import http.cookiejar
import importlib.metadata
import os
import ssl
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx

from ommx_prefect._oci.addresses import (
    MOST_REDIRECTS,
    AddressError,
    address_in,
    origin_of,
    redirected,
)
from ommx_prefect._oci.answers import (
    Answer,
    AnswerError,
    AnswerTooLargeError,
    OtherBytesError,
    discard,
    parsed,
    read_answer,
    read_at_most,
)
from ommx_prefect._oci.auth import RegistryAuth
from ommx_prefect._oci.credentials import Credentials
from ommx_prefect._oci.names import api_url, is_local
from ommx_prefect._oci.retries import BRIEF_RETRY, RETRY, retry_after_of, retrying
from ommx_prefect.exceptions import (
    NotInRegistryError,
    RegistryAuthError,
    RegistryError,
    RegistryUnavailableError,
)

T = TypeVar("T")

TIMEOUT = httpx.Timeout(60.0, connect=10.0)
BRIEF_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
CHUNK_BYTES = 1024 * 1024
MOST_ERROR_BYTES = 64 * 1024
# What is shown of what a registry says.
LONGEST_COMPLAINT = 500
LONGEST_REASON = 1_000
USER_AGENT = f"ommx-prefect/{importlib.metadata.version('ommx-prefect')}"
# What the spec's error codes for an upload have in common; a restarted registry forgets sessions.
LOST_UPLOAD = "BLOB_UPLOAD_"


class FileBody:
    """The bytes of a file as a request's body, which can be sent again from its start."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


class _NoCookies(http.cookiejar.CookieJar):
    """A cookie jar that stores nothing: cookies would be sent to hosts of the registry's choice."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        return


@functools.cache
def _tls(trust_env: bool, *_certificates: str | None) -> ssl.SSLContext:
    """Read the trusted certificates once: that takes longer than many a request."""
    return httpx.create_ssl_context(trust_env=trust_env)


class Connection:
    """Speaks HTTP with one registry about one repository; may be used by many threads."""

    def __init__(
        self,
        registry: str,
        repository: str,
        credentials: Credentials | None,
        *,
        brief: bool = False,
    ) -> None:
        self.registry, self.repository = registry, repository
        self._retry = BRIEF_RETRY if brief else RETRY
        self._auth = RegistryAuth(registry, repository, credentials)
        self._has_credentials = credentials is not None
        self._origin = origin_of(self._address())
        # A proxy has no business between this machine and itself.
        trust_env = not is_local(registry)
        self._client = httpx.Client(
            base_url=api_url(registry),
            verify=_tls(trust_env, *map(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR"))),
            timeout=BRIEF_TIMEOUT if brief else TIMEOUT,
            follow_redirects=False,  # see `_send`
            cookies=_NoCookies(),
            trust_env=trust_env,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        )
        weakref.finalize(self, self._client.close)  # one that is kept has nobody to close it

    def _address(self) -> httpx.URL:
        """Return the address of the registry's API; RegistryError where its name makes none."""
        with self._translated():
            url = address_in(httpx.URL("http://localhost"), api_url(self.registry))
        if url.path != "/v2/" or url.query:
            raise self.error("its name is no host[:port]")
        return url

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def retrying(self, operation: Callable[[], T]) -> T:
        """Do an operation, and repeat it while the registry is unavailable.

        Raises:
            RegistryUnavailableError: Not within the attempts and seconds of the retry table.
        """
        return retrying(self._retry, operation)

    def send(
        self, method: str, path: str | httpx.URL, allowed: frozenset[int], **options: Any
    ) -> Answer:
        """Send one request, once, and return its answer, a document, read to the end.

        Args:
            method: The HTTP method.
            path: Below `/v2/<repository>/`, or an address that `address` has returned.
            allowed: Statuses that are answers; every other one is raised.
            options: Of `httpx.Client.build_request`.
        """
        with self.stream(method, path, allowed, **options) as response:
            return read_answer(response)

    @contextlib.contextmanager
    def stream(
        self, method: str, path: str | httpx.URL, allowed: frozenset[int], **options: Any
    ) -> Iterator[httpx.Response]:
        """Send one request, once; the body of its response is left to be read."""
        url = path if isinstance(path, httpx.URL) else f"{self.repository}/{path}"
        with self._translated():
            response = self._send(method, url, **options)
            try:
                if response.status_code not in allowed:
                    raise self._error_of(method, response)
                yield response
            finally:
                response.close()

    def address(self, answer: Answer, given: str, *, of_registry: bool = False) -> httpx.URL:
        """Return the checked address that an answer gives.

        Args:
            answer: The answer.
            given: What it says, perhaps relative to its own address.
            of_registry: Whether only the registry itself will do.

        Raises:
            RegistryError: It makes no sense, or nothing is sent there.
        """
        with self._translated():
            url = address_in(answer.url, given)
            if of_registry and origin_of(url) != self._origin:
                raise AddressError(f"it sends us to another host, {url.host!r}")
        return url

    def _send(self, method: str, url: str | httpx.URL, **options: Any) -> httpx.Response:
        """Send a request, and send it on where it is redirected, in bounds.

        Credentials go to the registry alone; once another host had a say, not even there: it
        would choose what is done in our name.
        """
        is_ours = True
        for _ in range(MOST_REDIRECTS + 1):
            request = self._client.build_request(method, url, **options)
            is_ours = is_ours and origin_of(request.url) == self._origin
            send = self._auth.send if is_ours else _send_unknown
            response = send(self._client, request)
            if not response.has_redirect_location:
                return response
            discard(response)
            url = redirected(request, response)
        raise AddressError(f"it redirects more than {MOST_REDIRECTS} times")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate errors of the connection into a RegistryError."""
        try:
            yield
        except httpx.TransportError as error:
            reason = f"it cannot be reached ({type(error).__name__}: {error})"[:LONGEST_REASON]
            raise RegistryUnavailableError(self.registry, self.repository, reason) from error
        except AnswerTooLargeError as error:
            raise self.other_bytes(str(error)) from error
        except (AddressError, AnswerError) as error:
            raise self.error(str(error)) from error
        except (httpx.InvalidURL, httpx.HTTPError, httpx.StreamError, UnicodeError) as error:
            raise self.error(f"its answer makes no sense ({type(error).__name__})") from error

    def error(self, reason: str) -> RegistryError:
        """Return an error of this registry and repository, to be raised."""
        return RegistryError(self.registry, self.repository, reason[:LONGEST_REASON])

    def other_bytes(self, reason: str) -> OtherBytesError:
        """Return an error for a blob or manifest that is damaged in the registry, to be raised."""
        return OtherBytesError(self.registry, self.repository, reason[:LONGEST_REASON])

    def _error_of(self, method: str, response: httpx.Response) -> RegistryError:
        status = response.status_code
        said = f"it answers {status} to {method}{_complaint(response)}"
        if status == 401 and self._has_credentials:
            said = f"it does not take the user and the password that were found ({said})"
        where = (self.registry, self.repository, said)
        if status == 429 or status >= 500 or LOST_UPLOAD in said:
            return RegistryUnavailableError(*where, retry_after_of(response))
        if status in (401, 403):
            return RegistryAuthError(*where)
        return NotInRegistryError(*where) if status == 404 else RegistryError(*where)


def _complaint(response: httpx.Response) -> str:
    """Return the registry's error messages, in the form of the spec; empty without one."""
    try:
        errors = parsed(read_at_most(response, MOST_ERROR_BYTES))["errors"]
        said = "; ".join(f"{e['code']}: {e.get('message', '')}".rstrip(": ") for e in errors)
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f" ({said[:LONGEST_COMPLAINT]})"


def _send_unknown(client: httpx.Client, request: httpx.Request) -> httpx.Response:
    """Send a request to a host that is not the registry, without credentials."""
    return client.send(request, stream=True)
