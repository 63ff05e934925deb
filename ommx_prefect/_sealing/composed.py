"""Find the earlier nights that this host composed in an OCI registry.

The Local Registry lists none of them; the stages of this host remember what they were sealed as.
"""

from __future__ import annotations

import contextlib

from ommx_prefect._sealing.lineage import Series
from ommx_prefect._sealing.result import SealedExperiment, read_previous, target_of_sealed
from ommx_prefect._stages.documents import read_flow_record
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.roots import stage_root
from ommx_prefect.exceptions import OmmxPrefectError


def composed_before(series: Series) -> list[SealedExperiment]:
    """Return what was composed of earlier nights, as the stages of this host remember it."""
    found: list[tuple[str, SealedExperiment]] = []
    for folder in stage_root().iterdir():
        with contextlib.suppress(OmmxPrefectError, OSError):
            stage = LocalStage(folder.name)
            previous, record = read_previous(stage), read_flow_record(stage)
            if previous is None or record is None or not previous.sealed.composed_in:
                continue
            if Series.of_record(record).is_before(series):
                found.append((record.scheduled_time, previous.sealed))
    return [each for _, each in sorted(found, key=lambda x: x[0], reverse=True)]


def bring_composed(series: Series) -> None:
    """Pull the last earlier night that was composed in a registry into the Local Registry.

    What it names is not fetched again. One that was deleted there, or whose name has moved, is no
    earlier night any more.

    Raises:
        OmmxPrefectError: The registry does not answer, or gives something else.
    """
    for sealed in composed_before(series)[:1]:
        target_of_sealed(sealed).open(sealed.manifest_digest, sealed.stored_name)
