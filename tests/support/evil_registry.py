"""Registries and hosts that mean harm: what they answer is written, what they are sent is kept."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.scripted_server import Handler, answering

USER, PASSWORD, REFRESH = "alice", "correct-horse-battery", "refresh-token-of-alice"


@dataclass(frozen=True)
class Seen:
    """One request that a host was sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """All of it, to be searched for what must not be there."""
        return f"{self.method} {self.path} {self.headers} {self.body!r}"


@dataclass
class Host:
    """A host on this machine, and all that it was sent."""

    name: str = ""
    seen: list[Seen] = field(default_factory=list)

    def knows(self, *secrets: str) -> list[str]:
        return [x for x in secrets for request in self.seen if x in request.text]

    @property
    def authorized(self) -> list[str]:
        """The methods and paths of the requests that told who we are."""
        return [f"{x.method} {x.path}" for x in self.seen if "authorization" in x.headers]


Answer = tuple[int, bytes, dict[str, str]]


@contextlib.contextmanager
def host(answer: Callable[[Seen], Answer]) -> Iterator[Host]:
    """Run a host whose answers a function gives."""
    found, lock = Host(), threading.Lock()

    def script(handler: Handler) -> None:
        headers = {key.lower(): value for key, value in handler.headers.items()}
        seen = Seen(handler.command, handler.path, headers, handler.body())
        with lock:
            found.seen.append(seen)
        status, body, extra = answer(seen)
        with contextlib.suppress(OSError):  # who had enough closes the connection
            handler.answer(status, body, extra)

    with answering(script) as name:
        found.name = name
        yield found


def storing(body: bytes = b"payload") -> Callable[[Seen], Answer]:
    """What a host answers that takes and gives everything."""

    def answer(seen: Seen) -> Answer:
        return 201 if seen.method == "PUT" else 200, b"" if seen.method == "PUT" else body, {}

    return answer


def asking_first(answer: Callable[[Seen], Answer]) -> Callable[[Seen], Answer]:
    """Ask for basic credentials before any answer."""

    def asked(seen: Seen) -> Answer:
        if "authorization" not in seen.headers:
            return 401, b"", {"WWW-Authenticate": 'Basic realm="r"'}
        return answer(seen)

    return asked


def to(where: str, status: int = 307) -> Answer:
    """Redirect."""
    return status, b"", {"Location": where}


def bearer(realm: str, **parameters: Any) -> Answer:
    """Ask for a token of a token server."""
    more = "".join(f',{name}="{value}"' for name, value in parameters.items())
    return 401, b"", {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"{more}'}
