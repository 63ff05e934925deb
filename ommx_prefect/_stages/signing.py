"""Sign the records in a shared stage, so that only holders of the key can add to a seal.

Each record that goes out carries an HMAC-SHA256, over the name of its object (flow run, kind and
key) and its bytes, as its last member. It is part of the way and not of the record: what reads it
takes it off again. A host without a key neither writes nor checks it.
"""

from __future__ import annotations

import functools
import hashlib
import hmac

from prefect.blocks.system import Secret

from ommx_prefect._settings import OmmxSettings
from ommx_prefect._shards.last_member import LastMember
from ommx_prefect._stages.block_store import load_block
from ommx_prefect.exceptions import DocumentError, StageError

LEAST_KEY_LETTERS = 16
# What a key begins with that is the name of a Prefect block.
BLOCK = "secret/"

_SIGNATURE = LastMember("signature", "hmac-sha256")


class Signer:
    """Signs what goes to a shared place, and checks what comes from there.

    Args:
        key: The key; empty where records are not signed.
    """

    def __init__(self, key: bytes = b"") -> None:
        self._key = key

    def signed(self, name: str, data: bytes) -> bytes:
        """Return a record with its signature, where there is a key."""
        if not self._key:
            return data
        add = _SIGNATURE.in_json if _is_json(data) else _SIGNATURE.in_map
        return add(data, self._digest(name, data))

    def opened(self, name: str, data: bytes) -> bytes:
        """Return a record without its signature.

        Raises:
            DocumentError: There is a key, and the signature is none or is not of this key.
        """
        record, found = _split(data)
        if not self._key:
            return record
        if not found:
            raise DocumentError("it is not signed, and stage_key wants that")
        if not hmac.compare_digest(found, self._digest(name, record)):
            raise DocumentError("its signature is wrong: another stage_key, name or content")
        return record

    def _digest(self, name: str, record: bytes) -> bytes:
        return hmac.digest(self._key, name.encode() + b"\n" + record, hashlib.sha256)


def _split(data: bytes) -> tuple[bytes, bytes]:
    """Return a record and its signature; no signature where it has none."""
    return _SIGNATURE.split_json(data) if _is_json(data) else _SIGNATURE.split_map(data)


def _is_json(data: bytes) -> bool:
    return data[:1] == b"{"


@functools.lru_cache(maxsize=64)
def signer_of(stage: str) -> Signer:
    """Return the signer of a stage's records, by the setting `stage_key`; once per process.

    Raises:
        StageError: The key is too short, or its block cannot be read.
    """
    key = OmmxSettings().stage_key.get_secret_value()
    if key.startswith(BLOCK):
        block = load_block(stage, key)
        if not isinstance(block, Secret):
            raise StageError(stage, f"stage_key={key!r} is no Secret block")
        key = str(block.get())
    if key and len(key) < LEAST_KEY_LETTERS:
        reason = f"its stage_key has {len(key)} letters; {LEAST_KEY_LETTERS} are the least"
        raise StageError(stage, reason)
    return Signer(key.encode())
