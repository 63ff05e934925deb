"""Find and open the finished nights before one, here and in the registry of its name."""

from __future__ import annotations

from collections.abc import Iterator

from ommx.experiment import Experiment, ExperimentRef

from ommx_prefect._flowrun.ids import parse_flow_run_id
from ommx_prefect._registry.names import load_named
from ommx_prefect._registry.whole import whole
from ommx_prefect._sealing.composed import Composed, composed_before
from ommx_prefect._sealing.lineage import Series, previous_nights, time_of
from ommx_prefect._sealing.result import load_experiment, root_of_flow_run
from ommx_prefect._stages.documents import read_flow_record
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.resolve import stage_of


def nights_before(series: Series, stage: Stage) -> list[ExperimentRef | Composed]:
    """Return the nights before one, the last first; one that is here need not be fetched."""
    here: list[ExperimentRef | Composed] = [*previous_nights(series)]
    found = {digest_of(each): each for each in (*composed_before(series, stage), *here)}
    # Attempts of one night were scheduled together: the tag of the later one is the greater.
    return sorted(found.values(), key=lambda x: (time_of(series_of(x)), x.image_name), reverse=True)


def series_of(night: ExperimentRef | Composed) -> Series:
    """Return of which series a night is."""
    if isinstance(night, Composed):
        return night.series
    return Series.of_annotations(night.annotations, night.image_name)


def digest_of(night: ExperimentRef | Composed) -> str:
    """Return the digest of a night's manifest."""
    return night.subject.digest if isinstance(night, Composed) else night.manifest_digest


def earlier_experiments(flow_run_id: object, most: int = 3) -> list[Experiment]:
    """Open the last finished experiments before that of a flow run, in order of time.

    They are those of the same deployment, or of the same flow and repository, that were scheduled
    before it: what `flow(lineage="previous")` and the morning page go by. What was composed in an
    OCI registry is pulled into the Local Registry, whichever host composed it.

    Args:
        flow_run_id: Prefect's id of the flow run, as for `seal`.
        most: How many are opened.

    Raises:
        InvalidFlowRunIdError: It is no id.
        NotSealedError: Nothing of this flow run is known here.
        StageError: The registry of its stage does not answer.
    """
    root = root_of_flow_run(parse_flow_run_id(flow_run_id))
    found: list[Experiment] = []
    for each in nights_before(_series_of_flow_run(root), stage_of(root)):
        if len(found) == most:
            break
        found.extend(_opened(each))
    return found[::-1]


def _series_of_flow_run(root_flow_run_id: str) -> Series:
    record = read_flow_record(LocalStage(root_flow_run_id))
    if record is not None:
        return Series.of_record(record)
    sealed = load_experiment(root_flow_run_id)
    return Series.of_annotations(sealed.annotations, sealed.image_name)


def _opened(night: ExperimentRef | Composed) -> Iterator[Experiment]:
    """Open a night; one that failed, or whose name has moved meanwhile, is none."""
    if isinstance(night, Composed):
        opened = night.open() if night.is_finished() else None
    else:
        opened = load_named(night.image_name, night.manifest_digest)
    if opened is not None:
        yield whole(opened)
