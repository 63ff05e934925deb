"""The digest of an instance's content, which no order of terms and no round trip changes.

OMMX keeps terms in hash maps: `to_v2_bytes` differs between two loads of one file. Here every part
is sorted by id before it is hashed.

Counted: sense, objective (and the output objective), variables (id, kind, bounds, fixed value),
constraints of every kind with their ids, removed ones with the reason, functions of dependent
variables, named functions, parameters. The labels of variables and constraints (name, subscripts,
parameters, description) count too: a Solution carries them, so an instance with other labels must
not be answered with its Solution. Title, description, licence, authors and annotations do not
count, nor does provenance: they say where an instance comes from.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from ommx_prefect._format.model import sha256_digest
from ommx_prefect.instances._content import content_of
from ommx_prefect.instances._dependent_variables import AnyInstance

# Digests by the hash of the bytes, never by the object: instances change. 150 bytes for each.
MOST_KEPT = 4_096
_kept: OrderedDict[tuple[type, bytes], str] = OrderedDict()
_lock = threading.Lock()


def instance_digest(instance: AnyInstance) -> str:
    """Return the content digest of an Instance or a ParametricInstance, `sha256:<hex>`.

    Floats count exactly (-0.0 is 0.0), monomials with coefficient zero do not count. Functions
    that are not polynomials count as they are written: `max(a, b)` is not `max(b, a)`.

    Asked again in this process, for an instance with the same bytes, it costs their hash.

    Raises:
        TypeError: It is neither.
    """
    if not hasattr(instance, "to_v2_bytes"):
        raise TypeError(
            f"{type(instance).__name__} is no ommx.Instance: load_instance(path).instance is one"
        )
    return digest_of(instance, instance.to_v2_bytes())


def digest_of(instance: AnyInstance, data: bytes) -> str:
    """Return the content digest of an instance whose `to_v2_bytes()` are at hand."""
    key = (type(instance), hashlib.sha256(data).digest())
    with _lock:
        if (known := _kept.get(key)) is not None:
            _kept.move_to_end(key)
            return known
    content = content_of(instance, data).encode()
    digest = sha256_digest(content)
    with _lock:
        _kept[key] = digest
        while len(_kept) > MOST_KEPT:
            _kept.popitem(last=False)
    return digest
