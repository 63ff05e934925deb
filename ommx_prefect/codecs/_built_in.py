"""The built-in codecs: the table of what is attached how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import ommx
from ommx.experiment.attachments import AttachmentCodec

from ommx_prefect._format.model import (
    INSTANCE_MEDIA_TYPE,
    PARAMETRIC_INSTANCE_MEDIA_TYPE,
    SAMPLE_SET_MEDIA_TYPE,
    SOLUTION_MEDIA_TYPE,
)
from ommx_prefect._values.members import instance_of
from ommx_prefect._values.parameters import storable
from ommx_prefect._values.secrets import is_secret
from ommx_prefect.codecs._figures import (
    MatplotlibCodec,
    PlotlyCodec,
    PrefectStateCodec,
    StateCodec,
)
from ommx_prefect.codecs._json import JsonCodec, is_prefect_state, takes_json
from ommx_prefect.codecs._registry import (
    Accepts,
    CodecEntry,
    InPieces,
    Writer,
    encoder,
    entry_of,
    predicate,
    registry,
)
from ommx_prefect.codecs._tables import (
    ArrowTableCodec,
    BytesCodec,
    DataFrameCodec,
    NumpyCodec,
    SeriesCodec,
    pieces_of_array,
)


def _prepare_array(value: np.ndarray[Any, Any]) -> Writer:
    pieces = pieces_of_array(value)
    if pieces is None:
        return encoder(NumpyCodec)(value)
    return InPieces(NumpyCodec.media_type, pieces)


def _ommx_entry(kind: type, media_type: str, verb: str) -> CodecEntry:
    def prepare(value: Any) -> Writer:
        return lambda target, name: getattr(target, verb)(name, value)

    return CodecEntry(kind.__name__, media_type, predicate(kind), prepare, takes_plain=False)


def _prepare_file(path: Path) -> Writer:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not an existing file")
    path.open("rb").close()
    if storable(path.name) != path.name:  # OMMX keeps it, and refuses others
        raise ValueError(f"{storable(str(path))} has a name that is no UTF-8; rename it")
    return lambda target, name: target.log_file(name, path)


# Later rows are asked first.
_BUILT_IN: tuple[tuple[type[AttachmentCodec[Any]], Accepts], ...] = (
    (JsonCodec, takes_json),
    (BytesCodec, (bytes, bytearray, memoryview)),
    (DataFrameCodec, instance_of("pandas", "DataFrame")),
    (SeriesCodec, instance_of("pandas", "Series")),
    (ArrowTableCodec, instance_of("pyarrow", "Table")),
    (MatplotlibCodec, instance_of("matplotlib.figure", "Figure")),
    (PlotlyCodec, instance_of("plotly.basedatatypes", "BaseFigure")),
    (StateCodec, ommx.State),
    (PrefectStateCodec, is_prefect_state),
)
_OMMX: tuple[tuple[type, str, str], ...] = (
    (ommx.Instance, INSTANCE_MEDIA_TYPE, "log_instance"),
    (ommx.ParametricInstance, PARAMETRIC_INSTANCE_MEDIA_TYPE, "log_parametric_instance"),
    (ommx.Solution, SOLUTION_MEDIA_TYPE, "log_solution"),
    (ommx.SampleSet, SAMPLE_SET_MEDIA_TYPE, "log_sample_set"),
)

_NPY = ("NumpyCodec", NumpyCodec.media_type, predicate(np.ndarray), _prepare_array, NumpyCodec)

for _codec, _accepts in _BUILT_IN:
    registry.add(entry_of(_codec, _accepts, takes_plain=_codec is JsonCodec))
for _row in _OMMX:
    registry.add(_ommx_entry(*_row))
registry.add(CodecEntry("Path", "*/*", predicate(Path), _prepare_file, takes_plain=False))
registry.add(CodecEntry(*_NPY, takes_plain=False))

SECRET_ENTRY = entry_of(JsonCodec, is_secret)
