"""Tell which flow runs make a series, and find the earlier nights of one in the Local Registry.

The previous night is the last finished experiment of the same deployment that was scheduled before
this one. Without a deployment it is that of the same flow under the same repository. Nights that
overlap, or start in the same minute, so have the same previous one, in whatever order they end; a
failed night is no previous night, and a missed one leaves no gap. A subflow was scheduled when the
flow run around it was, so that a night which is retried follows what its first attempt follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ommx.experiment import ExperimentRef, list_experiments

from ommx_prefect._registry.names import OUR_NAMES
from ommx_prefect._stages.documents import FlowRecord
from ommx_prefect._targets import annotations as names

ACCUMULATE = "accumulate"


@dataclass(frozen=True)
class Series:
    """What identifies a series of flow runs, and this flow run within it."""

    flow_run_id: str
    deployment_id: str
    flow: str
    repository: str
    scheduled_time: str

    @classmethod
    def of_record(cls, record: FlowRecord) -> Series:
        """Return the series of a flow run that is to be sealed."""
        return cls(
            flow_run_id=record.flow_run_id,
            deployment_id=record.deployment_id,
            flow=record.flow,
            repository=repository_of(record.image_name),
            scheduled_time=record.scheduled_time,
        )

    @classmethod
    def of_annotations(cls, annotations: Mapping[str, str], image_name: str) -> Series:
        """Return the series of an experiment that was sealed."""
        return cls(
            flow_run_id=annotations.get(names.FLOW_RUN_ID, ""),
            deployment_id=annotations.get(names.DEPLOYMENT_ID, ""),
            flow=annotations.get(names.FLOW_NAME, ""),
            repository=repository_of(image_name),
            scheduled_time=annotations.get(names.SCHEDULED_TIME, ""),
        )

    def is_before(self, other: Series) -> bool:
        """Tell whether this is an earlier experiment of the same series."""
        if not self.flow_run_id or self.flow_run_id == other.flow_run_id:
            return False
        if self.deployment_id != other.deployment_id:
            return False
        is_same = bool(self.deployment_id) or (self.flow, self.repository) == (
            other.flow,
            other.repository,
        )
        mine, others = time_of(self), time_of(other)
        return is_same and mine is not None and others is not None and mine < others


def previous_nights(series: Series) -> list[ExperimentRef]:
    """Return the finished experiments before one, as the Local Registry lists them, last first."""
    found: dict[str, tuple[Series, ExperimentRef]] = {}
    for each in list_experiments():
        night = Series.of_annotations(each.annotations, each.image_name)
        is_ours = each.status == "finished" and not each.image_name.startswith(OUR_NAMES)
        if is_ours and night.is_before(series):  # aliases are names of the same digest
            found.setdefault(each.manifest_digest, (night, each))
    order = sorted(found.values(), key=lambda x: (time_of(x[0]), x[1].image_name), reverse=True)
    return [each for _, each in order]


def repository_of(image_name: str) -> str:
    """Return an image name without its tag."""
    return image_name.rpartition(":")[0]


def time_of(night: Series) -> datetime | None:
    """Return when a flow run was scheduled; None where nobody said it, or for no known zone."""
    try:
        found = datetime.fromisoformat(night.scheduled_time)
    except ValueError:
        return None
    return found if found.utcoffset() is not None else None
