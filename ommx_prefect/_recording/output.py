"""Record the output of a function that never used its Run, without a session of OMMX.

A session costs more than all else of a record: each payload and each document is a file of its own
that OMMX flushes and reads back. What OMMX would write is known (see `_format`), so it is composed
here; small payload goes into the attempt's one record, and OMMX reads all of it at the seal.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from ommx.experiment import Run

from ommx_prefect._format.model import Descriptor
from ommx_prefect._recording.collected import CollectedAttachments, type_of_file
from ommx_prefect._recording.run import MOST_IN_RECORD, OpenRun
from ommx_prefect._registry.blobs import store_file, store_pieces
from ommx_prefect._values.secrets import Redactor
from ommx_prefect.codecs import LoggedValue, log_value


class _NeedsRunError(Exception):
    """A codec asks for more than attachments in memory."""


class _Output(CollectedAttachments):
    """The attachments of an output, as far as they need no Run."""

    def log_file(self, name: str, path: Path, media_type: str | None = None) -> None:
        if path.stat().st_size <= MOST_IN_RECORD:
            super().log_file(name, path, media_type)
            return
        digest, size = store_file(path)
        self.name_layer(name, Descriptor(media_type or type_of_file(path), digest, size))
        self.filenames[name] = path.name

    def log_pieces(self, name: str, media_type: str, pieces: Sequence[bytes | memoryview]) -> None:
        """Attach what is in memory in pieces: the header of an array, and its members."""
        self.name_layer(name, Descriptor(media_type, *store_pieces(pieces)))

    def __getattr__(self, name: str) -> Any:
        raise _NeedsRunError


def collected(open_run: OpenRun, name: str, value: object, redact: Redactor) -> LoggedValue | None:
    """Attach what a function returned to its Run without opening one in OMMX.

    Returns:
        What became of the value; None where it has to be attached to the Run itself.
    """
    if not open_run.takes_output:
        return None
    target = _Output({}, ())
    try:
        logged = log_value(cast(Run, target), name, value, forbidden=redact)
    except _NeedsRunError:
        return None
    return logged if open_run.take_output(target) else None
