"""Read the one Run of an attempt quickly, since attempts of one task leave similar documents.

Attempts of one task leave documents that differ in the digest and the size of their output, and in
nothing else. What is left without the two is decoded once.
"""

from __future__ import annotations

import functools
import re

from ommx_prefect._format.decode import decode
from ommx_prefect._format.model import Attachments, Descriptor, Documents, RunRecord
from ommx_prefect.exceptions import DocumentError

# How many kinds of documents are kept, and the bytes that one may have.
MOST_KEPT, MOST_BYTES = 128, 4096
# The first layer, as this package and OMMX write it; in a text its quotes would be escaped.
_FIRST_LAYER = re.compile(
    rb'(?<="layers":\[\{"annotations":\{\},"digest":")(sha256:[0-9a-f]{64})'
    rb'(","mediaType":"[!#-\[\]-~]{1,255}","size":)(0|[1-9][0-9]{0,14})(?=\})'
)
# What stands for its digest and its size where all else is compared.
_NO_DIGEST, _NO_SIZE = b"sha256:" + b"0" * 64, b"0"


def single_run(documents: Documents) -> RunRecord:
    """Return the one Run of an Experiment, as `decode` reads it.

    Raises:
        DocumentError: It holds more or less than one Run, or is damaged.
        UnknownFormatError: It holds something this release does not know.
    """
    manifest, config, parameters = documents.manifest, documents.config, documents.parameters
    layer = _FIRST_LAYER.search(manifest)
    if layer is not None and len(manifest) + len(config) + len(parameters) <= MOST_BYTES:
        before, after = manifest[: layer.start()], manifest[layer.end() :]
        kind = b"".join((before, _NO_DIGEST, layer[2], _NO_SIZE, after))
        if (known := _run_of_kind(kind, config, parameters)) is not None:
            return _with_layer(known, layer[1].decode(), int(layer[3]))
    return _decoded(documents)


def _decoded(documents: Documents) -> RunRecord:
    runs = decode(documents).runs
    if len(runs) != 1:
        raise DocumentError(f"its Experiment has {len(runs)} Runs instead of one")
    return runs[0]


@functools.lru_cache(maxsize=MOST_KEPT)
def _run_of_kind(manifest: bytes, config: bytes, parameters: bytes) -> RunRecord | None:
    """Return the Run of documents of one kind; None where they name more than one output."""
    try:
        run = _decoded(Documents(manifest, config, parameters))
    except DocumentError:  # to be told of the documents themselves
        return None
    named = [layer.digest for layer in run.attachments.entries.values()]
    others = run.trace or run.solves or run.samplings
    return run if named == [_NO_DIGEST.decode()] and not others else None


def _with_layer(run: RunRecord, digest: str, size: int) -> RunRecord:
    """Return a Run of the same kind with another output."""
    ((name, layer),) = run.attachments.entries.items()
    output = Descriptor(layer.media_type, digest, size)
    attachments = Attachments({name: output}, run.attachments.filenames)
    # `dataclasses.replace` takes several times as long.
    return RunRecord(run.status, run.reason, attachments, parameters=run.parameters)
