"""Faults that are injected: the n-th thing that a process does to a disk or a registry goes wrong.

A point is a call that opens, writes, flushes, renames, links, makes or removes a file of the scene,
or the moment before and after an HTTP request. Three things can happen there: the call fails; it
and all later ones fail, as on a disk that is full; the process dies.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from ommx_prefect._registry import files

FAILS, STAYS, DIES = "fails", "keeps failing", "dies"
# What Python tells of on its way to the system, and which of the arguments is a path.
EVENTS = {"open": 0, "os.rename": 1, "os.link": 1, "os.mkdir": 0, "os.remove": 0, "os.rmdir": 0}


class Faults:
    """Counts the points of this process, and lets one of them go wrong.

    Args:
        folder: Files below it count.
        kind: What goes wrong: one of the three; empty to count only.
        at: The number of the point, from 1.
    """

    def __init__(self, folder: Path, kind: str = "", at: int = 0) -> None:
        self.folder, self.kind, self.at = str(folder), kind, at
        self.passed, self.said, self.is_on = 0, "", True

    def inject(self) -> None:
        """Watch this process from here on; there is no way back."""
        sys.addaudithook(self._audit)
        for place, name in ((os, "write"), (files, "_sync"), (files, "_sync_names")):
            setattr(place, name, self._wrapped(getattr(place, name), name))
        transport = httpx.HTTPTransport
        transport.handle_request = self._asked(transport.handle_request)  # type: ignore[method-assign]

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        where = EVENTS.get(event)
        if where is None or not self.is_on:
            return
        path = arguments[where]
        if isinstance(path, (str, bytes)) and os.fsdecode(path).startswith(self.folder):
            self.point(f"{event} {os.fsdecode(path)}", _no_space)

    def point(self, what: str, error: Callable[[str], Exception]) -> None:
        """Pass a point, or go wrong there."""
        if not self.is_on:
            return
        self.passed += 1
        if self.passed == self.at or (self.kind == STAYS and 0 < self.at < self.passed):
            self.said = self.said or what
            if self.kind == DIES:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.kind:
                raise error(what)

    def _wrapped(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.point(name, _no_space)
            return function(*args, **kwargs)

        return call

    def _asked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def handle(transport: Any, request: httpx.Request) -> Any:
            said = f"{request.method} {request.url}"
            self.point(f"before {said}", httpx.ConnectError)
            answer = function(transport, request)
            self.point(f"after {said}", httpx.ReadError)
            return answer

        return handle


def _no_space(what: str) -> OSError:
    return OSError(errno.ENOSPC, "No space left on device", what)
