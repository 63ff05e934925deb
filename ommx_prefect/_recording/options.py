"""The recording options of a task."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Literal


@dataclasses.dataclass(frozen=True)
class RecordingOptions:
    """What a task wants recorded; plain data, for it travels to workers with the function."""

    log_inputs: bool | Collection[str] = True
    log_output: bool = True
    on_error: Literal["warn", "raise"] = "warn"
    store_trace: bool = False
