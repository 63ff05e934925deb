"""The errors of a reader: it cannot read the file, or is not installed."""

from __future__ import annotations


class Unreadable(Exception):
    """A reader does not read this file; field: reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotInstalled(Unreadable):
    """A reader's library is not installed; field: package, which brings it."""

    def __init__(self, package: str) -> None:
        super().__init__("it is not installed")
        self.package = package


class Inexpressible(Unreadable):
    """The file holds what is neither row nor bound; field: reason, what it is."""
