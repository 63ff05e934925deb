"""How a request reaches an OCI registry: tried again where that helps, its errors made ours.

Retry lives here and nowhere else. What is tried again is a whole operation (an upload begins
anew: the registry may have lost the session), and every operation may safely happen twice.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import httpx
import stamina

from ommx_prefect._oci.auth import RegistryAuth
from ommx_prefect._oci.credentials import Credentials
from ommx_prefect._oci.names import api_url, is_local
from ommx_prefect.exceptions import (
    NotInRegistryError,
    RegistryAuthError,
    RegistryError,
    RegistryUnavailableError,
)

T = TypeVar("T")


class RetryTable(TypedDict):
    """The keywords of `stamina.retry_context`, in seconds."""

    attempts: int
    timeout: float
    wait_initial: float
    wait_max: float
    wait_jitter: float


# Exponential backoff with jitter, bounded in attempts and in time: 0.5, 1, 2, 4, ... seconds.
RETRY: RetryTable = {
    "attempts": 6,
    "timeout": 60.0,
    "wait_initial": 0.5,
    "wait_max": 10.0,
    "wait_jitter": 1.0,
}
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
# Where what cannot be sent now waits and goes out later: nobody waits long for it.
BRIEF_RETRY: RetryTable = {
    "attempts": 3,
    "timeout": 10.0,
    "wait_initial": 0.2,
    "wait_max": 1.0,
    "wait_jitter": 0.2,
}
BRIEF_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
# The most that a registry's Retry-After is heeded.
MOST_RETRY_AFTER_SECONDS = 30.0
CHUNK_BYTES = 1024 * 1024
MOST_ERROR_BYTES = 4096
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
        self._client = httpx.Client(
            base_url=api_url(registry),
            auth=RegistryAuth(registry, repository, credentials),
            timeout=BRIEF_TIMEOUT if brief else TIMEOUT,
            follow_redirects=True,
            # A proxy has no business between this machine and itself.
            trust_env=not is_local(registry),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        )
        weakref.finalize(self, self._client.close)  # one that is kept has nobody to close it

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def retrying(self, operation: Callable[[], T]) -> T:
        """Do an operation, again and again while the registry is not to be had.

        Raises:
            RegistryUnavailableError: Not within the attempts and seconds of the retry table.
        """
        for attempt in stamina.retry_context(on=_backoff, **self._retry):
            with attempt:
                return operation()
        raise AssertionError("stamina ends with a return or the last error")

    def send(
        self, method: str, path: str | httpx.URL, allowed: frozenset[int], **options: Any
    ) -> httpx.Response:
        """Send one request, once, and return its response, read to the end.

        Args:
            method: The HTTP method.
            path: Below `/v2/<repository>/`, or an address that the registry gave.
            allowed: Statuses that are answers; every other one is raised.
            options: Of `httpx.Client.request`.
        """
        with self.stream(method, path, allowed, **options) as response:
            response.read()
            return response

    @contextlib.contextmanager
    def stream(
        self, method: str, path: str | httpx.URL, allowed: frozenset[int], **options: Any
    ) -> Iterator[httpx.Response]:
        """Send one request, once; the body of its response is left to be read."""
        url = path if isinstance(path, httpx.URL) else f"{self.repository}/{path}"
        try:
            with self._client.stream(method, url, **options) as response:
                if response.status_code not in allowed:
                    raise self._error_of(method, response)
                yield response
        except httpx.TransportError as error:
            reason = f"it cannot be reached ({type(error).__name__}: {error})"
            raise RegistryUnavailableError(self.registry, self.repository, reason) from error
        except (httpx.InvalidURL, httpx.TooManyRedirects, httpx.DecodingError) as error:
            raise self.error(f"its answer makes no sense ({type(error).__name__})") from error

    def error(self, reason: str) -> RegistryError:
        """Return an error of this registry and repository, to be raised."""
        return RegistryError(self.registry, self.repository, reason)

    def _error_of(self, method: str, response: httpx.Response) -> RegistryError:
        status = response.status_code
        said = f"it answers {status} to {method}{_complaint(response)}"
        where = (self.registry, self.repository, said)
        if status == 429 or status >= 500 or LOST_UPLOAD in said:
            return RegistryUnavailableError(*where, _retry_after(response))
        if status in (401, 403):
            return RegistryAuthError(*where)
        return NotInRegistryError(*where) if status == 404 else RegistryError(*where)


def _backoff(error: Exception) -> bool | float:
    if not isinstance(error, RegistryUnavailableError):
        return False
    return True if error.retry_after_seconds is None else error.retry_after_seconds


def _retry_after(response: httpx.Response) -> float | None:
    # The header may also hold a date; then the usual backoff has to do.
    try:
        seconds = float(response.headers["Retry-After"])
    except (KeyError, ValueError):
        return None
    return min(max(seconds, 0.0), MOST_RETRY_AFTER_SECONDS)


def _complaint(response: httpx.Response) -> str:
    """Return what the registry says, in the spec's form of errors; empty without one."""
    try:
        text = next(response.iter_bytes(MOST_ERROR_BYTES), b"")
        errors = json.loads(text)["errors"]
        said = "; ".join(f"{e['code']}: {e.get('message', '')}".rstrip(": ") for e in errors)
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f" ({said[:500]})"
