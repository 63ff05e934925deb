"""The package's settings: defaults for flows that do not set an option themselves.

Each is `PREFECT_INTEGRATIONS_OMMX_<NAME>` in the environment, or a key of `[integrations.ommx]` in
`prefect.toml`, `pyproject.toml` or a Prefect profile; `docs/reference/settings.md` has the table.
"""

from __future__ import annotations

import functools

from prefect.settings.base import PrefectBaseSettings, build_settings_config
from pydantic import Field, SecretStr


class OmmxSettings(PrefectBaseSettings):
    """The settings of this package among those of Prefect."""

    model_config = build_settings_config(("integrations", "ommx"))

    stage: str = Field(default="local", description="The stage of flows that name none.")
    stage_key: SecretStr = Field(
        default=SecretStr(""),
        description="The key that signs records in shared stages, or secret/NAME of the Prefect "
        "block that holds it.",
    )
    registry: str = Field(
        default="",
        description="The OMMX Registry block of flows that name none, such as ommx-registry/prod.",
    )
    push: bool = Field(
        default=False,
        description="Whether experiments with a name are pushed where neither flow nor block says.",
    )
    flush_seconds: float = Field(
        default=1.0,
        description="How long the record of an attempt may wait until it is flushed to the disk; "
        "0 flushes each before its task ends. Read once per process.",
    )
    pending_seconds: float = Field(
        default=24 * 3600.0,
        description="How long a seal waits at most for submitted tasks that nobody awaited.",
    )


@functools.cache
def flush_seconds() -> float:
    """Return how long a record may wait to be flushed; asked of the settings once per process."""
    return OmmxSettings().flush_seconds
