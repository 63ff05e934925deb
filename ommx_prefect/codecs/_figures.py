"""Codecs of figures and states; each library is imported when it is used."""

from __future__ import annotations

import io
import json
from importlib import import_module
from typing import Any

import ommx

from ommx_prefect.codecs._json import state_facts


class MatplotlibCodec:
    """matplotlib Figure as `image/png`, at the figure's own dpi; needs no pyplot, no display.

    A picture is not a Figure: `decode` gives the PNG bytes.
    """

    media_type = "image/png"

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Draw a Figure."""
        buffer = io.BytesIO()
        # The default metadata names matplotlib's version: other bytes for the same picture.
        value.savefig(buffer, format="png", dpi="figure", metadata={"Software": None})
        return buffer.getvalue()

    @staticmethod
    def decode(data: bytes, /) -> bytes:
        """Return the PNG bytes."""
        return data


class PlotlyCodec:
    """plotly Figure as plotly's own JSON: `application/vnd.plotly.v1+json`; uids are dropped."""

    media_type = "application/vnd.plotly.v1+json"

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Encode a Figure; by `json`, as orjson, where it is installed, gives other bytes."""
        text: str = value.to_json(engine="json")
        return text.encode()

    @staticmethod
    def decode(data: bytes, /) -> Any:
        """Decode a `plotly.graph_objects.Figure`; raises `ImportError` without plotly."""
        return import_module("plotly.io").from_json(data.decode(), engine="json")


class StateCodec:
    """`ommx.State` as OMMX v1 protobuf, ids ascending; read with `State.from_v1_bytes` too.

    Stored as `application/vnd.ommx-prefect.ommx-state+protobuf`, as OMMX names no media type.
    """

    media_type = "application/vnd.ommx-prefect.ommx-state+protobuf"

    @staticmethod
    def encode(value: ommx.State, /) -> bytes:
        """Encode a State; `to_v1_bytes` alone writes the entries in an order of chance."""
        entries = sorted(value.entries.items())
        # Protobuf messages concatenate to their union.
        return b"".join(ommx.State({key: number}).to_v1_bytes() for key, number in entries)

    @staticmethod
    def decode(data: bytes, /) -> ommx.State:
        """Decode a State."""
        return ommx.State.from_v1_bytes(data)


class PrefectStateCodec:
    """Prefect `State` as JSON of type, name and message; the data it points to is left out.

    Stored as `application/vnd.ommx-prefect.prefect-state+json`; `decode` gives a dict.
    """

    media_type = "application/vnd.ommx-prefect.prefect-state+json"

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Encode type, name and message of a State."""
        return json.dumps(state_facts(value)).encode()

    @staticmethod
    def decode(data: bytes, /) -> dict[str, str | None]:
        """Decode to a dict with the keys `type`, `name` and `message`."""
        facts: dict[str, str | None] = json.loads(data)
        return facts
