"""Keep the names of the readers that agreed on an instance as an annotation of it."""

from __future__ import annotations

from ommx import Instance

_ANNOTATION = "readers"


def give_readers(instance: Instance, readers: str) -> None:
    """Write the readers into a user annotation, which the bytes keep and the digest ignores."""
    instance.add_user_annotation(_ANNOTATION, readers)


def readers_of(instance: Instance) -> str:
    """Return the readers that agreed on an instance, `highs+ommx`; empty where none is known."""
    return instance.annotations.get(f"org.ommx.user.{_ANNOTATION}", "")
