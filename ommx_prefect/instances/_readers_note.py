"""Keep with an instance which readers agreed on it, so that a Run can record them."""

from __future__ import annotations

from ommx import Instance

_ANNOTATION = "readers"


def give_readers(instance: Instance, readers: str) -> None:
    """Note the readers as a user annotation, which the bytes keep and the digest ignores."""
    instance.add_user_annotation(_ANNOTATION, readers)


def readers_of(instance: Instance) -> str:
    """Return the readers that agreed on an instance, `highs+ommx`; empty where none is known."""
    return instance.annotations.get(f"org.ommx.user.{_ANNOTATION}", "")
