"""The last member of a record: 32 bytes over all that stands before them, in JSON or MessagePack.

It stands at the end so that it is about bytes, and not about what a parser makes of them.
"""

from __future__ import annotations

import msgpack

# A map of MessagePack with up to 15 members begins with one byte that counts them.
SMALL_MAP = range(0x80, 0x90)
VALUE_BYTES = 32
# What ends such a member of a JSON object.
_END = b'"}'


class LastMember:
    """A member that closes a record: a digest, or a signature.

    Args:
        name: Its key.
        algorithm: What its value was made by; JSON has it before the hexadecimal digits.
    """

    def __init__(self, name: str, algorithm: str) -> None:
        self._json = f', "{name}": "{algorithm}:'.encode()
        self._json_length = len(self._json) + 2 * VALUE_BYTES + len(_END)
        # A key of MessagePack, and what announces 32 bytes.
        self._packed = bytes(msgpack.packb(name)) + bytes([0xC4, VALUE_BYTES])
        self._packed_length = len(self._packed) + VALUE_BYTES

    def in_json(self, document: bytes, value: bytes) -> bytes:
        """Return a JSON object with the member."""
        return document[:-1] + self._json + value.hex().encode() + _END

    def in_map(self, packed: bytes, value: bytes) -> bytes:
        """Return a small map of MessagePack with the member."""
        return bytes([packed[0] + 1]) + packed[1:] + self._packed + value

    def split_json(self, data: bytes) -> tuple[bytes, bytes]:
        """Return a JSON object without the member, and its value; no value where it has none."""
        tail = data[-self._json_length :]
        digits = tail[len(self._json) : -len(_END)]
        try:
            value = bytes.fromhex(digits.decode())
        except ValueError:
            return data, b""
        if data[:1] != b"{" or tail != self._json + value.hex().encode() + _END:
            return data, b""
        return data[: -self._json_length] + b"}", value

    def split_map(self, data: bytes) -> tuple[bytes, bytes]:
        """Return a small map of MessagePack without the member, and its value, or no value."""
        is_map = bool(data) and data[0] in SMALL_MAP
        if not is_map or data[-self._packed_length : -VALUE_BYTES] != self._packed:
            return data, b""
        return bytes([data[0] - 1]) + data[1 : -self._packed_length], data[-VALUE_BYTES:]
