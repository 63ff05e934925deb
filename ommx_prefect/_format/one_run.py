"""Write the Experiment of one Run that holds nothing but an output: the bytes that `encode` writes.

Most attempts leave one, and of tasks that return the same kind of value all but the digests in the
manifest are the same bytes, which are kept.
"""

from __future__ import annotations

import functools

from ommx_prefect._format.encode import encode
from ommx_prefect._format.model import (
    PARAMETERS_MEDIA_TYPE,
    Attachments,
    Descriptor,
    Documents,
    ExperimentRecord,
    RunRecord,
)

# How many kinds of output are kept, by the names and the sizes in them.
MOST_KEPT = 128
# A digest that no output has stands where the output's is to stand.
_NOWHERE = "sha256:" + "x" * 64


def documents_of_output(attachments: Attachments) -> Documents:
    """Return the documents of a finished Experiment with one finished Run that has attachments."""
    if len(attachments.entries) == 1 and not attachments.filenames:
        ((name, layer),) = attachments.entries.items()
        if not layer.annotations and layer.media_type != PARAMETERS_MEDIA_TYPE:
            before, after, config, parameters = _around(name, layer.media_type, layer.size)
            manifest = b"".join((before, layer.digest.encode(), after))
            return Documents(manifest, config, parameters)
    return _encoded(attachments)


def _encoded(attachments: Attachments) -> Documents:
    return encode(ExperimentRecord("finished", (RunRecord("finished", attachments=attachments),)))


@functools.lru_cache(maxsize=MOST_KEPT)
def _around(name: str, media_type: str, size: int) -> tuple[bytes, bytes, bytes, bytes]:
    """Return the manifest before and after the digest of one output, and the other documents."""
    found = _encoded(Attachments({name: Descriptor(media_type, _NOWHERE, size)}))
    before, after = found.manifest.split(_NOWHERE.encode())
    return before, after, found.config, found.parameters
