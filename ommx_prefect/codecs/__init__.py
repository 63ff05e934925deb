"""Turn Python values into attachments: the registry of codecs, and `log_value`.

    log_value(run, "output", {"x": array, "gap": 0.01})    # -> output.x (npy), output.gap (JSON)

    @register_codec(accepts=Route)
    class RouteCodec:
        media_type = "application/vnd.acme.route"

        @staticmethod
        def encode(value: Route) -> bytes: ...
        @staticmethod
        def decode(data: bytes) -> Route: ...

Dispatch looks at the value; the codec registered last wins. No codec pickles, optional libraries
are never imported to test a value, and nothing is imported because stored data names it. The same
value gives the same bytes in every process. OMMX values, JSON and bytes are read back with plain
`ommx`, the rest with `get_with_codec(codec, name)`.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections import ChainMap
from collections.abc import Collection
from typing import Any

from ommx.experiment import Experiment, Run

from ommx_prefect._values.members import fields_of
from ommx_prefect._values.parameters import storable
from ommx_prefect._values.secrets import REDACTED, Redactor, is_secret, unused
from ommx_prefect.codecs._built_in import SECRET_ENTRY
from ommx_prefect.codecs._figures import (
    MatplotlibCodec,
    PlotlyCodec,
    PrefectStateCodec,
    StateCodec,
)
from ommx_prefect.codecs._json import JsonCodec, check_nesting
from ommx_prefect.codecs._registry import (
    CodecEntry,
    CodecRegistry,
    Writer,
    register_codec,
    registry,
    type_name,
)
from ommx_prefect.codecs._search import searched
from ommx_prefect.codecs._size import TooManyValuesError
from ommx_prefect.codecs._tables import (
    ArrowTableCodec,
    BytesCodec,
    DataFrameCodec,
    NumpyCodec,
    SeriesCodec,
)

__all__ = [
    "REDACTED",
    "ArrowTableCodec",
    "BytesCodec",
    "CodecEntry",
    "CodecRegistry",
    "DataFrameCodec",
    "JsonCodec",
    "LoggedValue",
    "MatplotlibCodec",
    "NumpyCodec",
    "PlotlyCodec",
    "PrefectStateCodec",
    "SeriesCodec",
    "SkippedValue",
    "StateCodec",
    "is_secret",
    "log_value",
    "register_codec",
    "registry",
]


# A layer costs about 250 bytes of a manifest, and OCI registries cap a manifest at 4 MiB.
MAX_ITEMS = 4096
# An output of more parts is one whose parts are shared: it would have no end.
MAX_PARTS = 100_000


@dataclasses.dataclass(frozen=True)
class SkippedValue:
    """A value that was not attached: the name it would have had, its type, and why."""

    name: str
    type_name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class LoggedValue:
    """The result of attaching one value: attachments written, parts left out or redacted."""

    names: tuple[str, ...]
    skipped: tuple[SkippedValue, ...]
    redacted: tuple[str, ...] = ()


def log_value(
    target: Run | Experiment, name: str, value: Any, *, forbidden: Collection[str] | Redactor = ()
) -> LoggedValue:
    """Attach a value to an open Run or Experiment, by the codec that takes it.

    None is not attached. A dict, list or tuple that is JSON throughout is one attachment; any
    other dict with str keys, list, tuple, dataclass instance or pydantic model is split into
    `name.<key>`, `name.<index>` or `name.<field>`, to a depth of 32 and 4096 items each. So is what
    would be more than 20 million values of JSON; a part that is too large, too, is skipped. A name
    that is taken gets the suffix `~2`, `~3`, ...; what UTF-8 cannot hold of one is escaped.

    Args:
        target: Where to attach.
        name: The attachment's name, or what the names of the parts begin with.
        value: What to attach.
        forbidden: Texts of secrets. They are cut out of names and of the strings in JSON; what else
            shows one in its bytes, cells, texts or annotations is skipped.

    Returns:
        The names written, and the values that no codec takes or whose codec raised.

    Raises:
        RuntimeError: OMMX could not write (disk full, Run closed), unchanged.
    """
    attaching = _Attaching(target, _redactor(forbidden))
    if value is not None:
        attaching.add(name, name, value, ())
    return LoggedValue(tuple(attaching.names), tuple(attaching.skipped), tuple(attaching.redacted))


@dataclasses.dataclass
class _Attaching:
    """One call of `log_value` under way."""

    target: Run | Experiment
    redact: Redactor = dataclasses.field(default_factory=Redactor)
    names: dict[str, None] = dataclasses.field(default_factory=dict)
    skipped: list[SkippedValue] = dataclasses.field(default_factory=list)
    redacted: list[str] = dataclasses.field(default_factory=list)
    parts: int = 0
    too_large: dict[int, Any] = dataclasses.field(default_factory=dict)

    def add(self, name: str, key: str, value: Any, above: tuple[int, ...]) -> None:
        entry = SECRET_ENTRY if is_secret(value) else registry.find(value)
        if entry is None:
            return self._skip(
                name, value, f"no codec takes {type_name(value)}; register_codec adds one"
            )
        try:
            write = entry.prepare(value)
        except Exception as error:
            may_split = entry.codec is JsonCodec and self._may_split(value, error, above)
            if may_split and (items := _items(value)) is not None:
                return self._split(name, value, items, above)
            is_known = isinstance(error, TooManyValuesError)
            reason = str(error) if is_known else f"codec {entry.name} raised {_described(error)}"
            return self._skip(name, value, reason)
        allowed, is_changed = searched(entry, key, value, write, self.redact)
        if allowed is None:
            return self._skip(name, value, "it shows a secret")
        if is_changed:
            self.redacted.append(self._clean(name))
        return self._write(name, allowed)

    def _may_split(self, value: Any, error: Exception, above: tuple[int, ...]) -> bool:
        """Tell whether a container that is no JSON is attached part by part.

        Of what is too large, they are where they have names, or are what a function returns. What
        is met again is not split again: shared parts would be, a million times.
        """
        if not isinstance(error, TooManyValuesError):
            return True
        is_met_again = id(value) in self.too_large
        self.too_large[id(value)] = value
        is_list = isinstance(value, (list, tuple))
        return not is_met_again and not (is_list and (above or len(value) > MAX_ITEMS))

    def _split(
        self, name: str, value: Any, items: list[tuple[Any, Any]], above: tuple[int, ...]
    ) -> None:
        try:
            check_nesting(value, above)
        except ValueError as error:
            return self._skip(name, value, str(error))
        if len(items) > MAX_ITEMS:
            return self._skip(name, value, f"{len(items)} items, more than {MAX_ITEMS}")
        for key, item in items:
            if self.parts >= MAX_PARTS:
                return self._skip(name, value, f"more than {MAX_PARTS:,} parts in all")
            self.parts += 1
            self.add(f"{name}.{key}", str(key), item, (*above, id(value)))
        return None

    def _skip(self, name: str, value: Any, reason: str) -> None:
        shown_name, shown_type, shown_reason = map(self._clean, (name, type_name(value), reason))
        self.skipped.append(SkippedValue(shown_name, shown_type, shown_reason[:500]))

    def _clean(self, text: str) -> str:
        """Return a text of the user's without secrets, and as UTF-8 can hold it."""
        return storable(self.redact.text(text))

    def _write(self, name: str, write: Writer) -> None:
        name = self._clean(name)
        if name not in self.names and self._is_written(name, write):
            self.names[name] = None
            return
        in_use = ChainMap[str, None]({name: None}, self.names)
        while not self._is_written(unique := unused(name, in_use), write):
            in_use[unique] = None
        self.names[unique] = None

    def _is_written(self, name: str, write: Writer) -> bool:
        try:
            write(self.target, name)
        except RuntimeError as error:
            # An open Run does not list its names: only the refusal tells that one is taken.
            if f"Attachment `{name}` already exists" not in str(error):
                raise
            return False
        return True


def _items(value: Any) -> list[tuple[Any, Any]] | None:
    """Give the parts under which a container is split, None when it cannot be."""
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    members = value if isinstance(value, dict) else fields_of(value)
    if members is None or not all(isinstance(key, str) for key in members):
        return None
    return list(members.items())


def _redactor(forbidden: Collection[str] | Redactor) -> Redactor:
    if isinstance(forbidden, Redactor):
        return forbidden
    made = Redactor()
    made.add(forbidden)
    return made


def _described(error: Exception) -> str:
    return "".join(traceback.format_exception_only(type(error), error)).strip()
