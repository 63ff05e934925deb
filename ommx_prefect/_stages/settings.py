"""What users set of this package beside their flows, by Prefect's settings."""

from __future__ import annotations

import functools

from prefect.settings.base import PrefectBaseSettings, build_settings_config

from ommx_prefect._stages.address import LOCAL


class OmmxSettings(PrefectBaseSettings):
    """Settings of this package: `PREFECT_INTEGRATIONS_OMMX_STAGE` and the like.

    Attributes:
        stage: The stage of flows that name none.
        pending_seconds: How long a seal waits at most for submitted tasks that nobody awaited.
        flush_seconds: How long the record of an attempt may wait until it is flushed to the disk;
            0 flushes each before its task ends.
    """

    model_config = build_settings_config(("integrations", "ommx"))

    stage: str = LOCAL
    pending_seconds: float = 24 * 3600.0
    flush_seconds: float = 1.0


@functools.cache
def flush_seconds() -> float:
    """Return how long a record may wait to be flushed; asked of the settings once per process."""
    return OmmxSettings().flush_seconds
