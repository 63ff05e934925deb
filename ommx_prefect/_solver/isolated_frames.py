"""The messages between a task and its solver's process: MessagePack, each after its length."""

from __future__ import annotations

from typing import IO, Any

import msgpack


def send(stream: IO[bytes], message: dict[str, Any]) -> None:
    """Send a message."""
    content = msgpack.packb(message)
    stream.write(len(content).to_bytes(8, "big") + content)
    stream.flush()


def receive(stream: IO[bytes]) -> dict[str, Any] | None:
    """Return the next message; None where the other end is gone."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    size = int.from_bytes(head, "big")
    content = stream.read(size)
    if len(content) < size:
        return None
    message: dict[str, Any] = msgpack.unpackb(content, strict_map_key=False)
    return message
