"""What a flow body has logged is refused a second time, until its experiment is finished."""

from __future__ import annotations

import pytest
from ommx.artifact import remove_image

from ommx_prefect._decorators.flow_experiment import FlowExperiment
from ommx_prefect._flowrun import attachment_names
from ommx_prefect._flowrun.attachment_names import claimed_names
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect.exceptions import DuplicateAttachmentError
from tests.support.large_nights import sealed_night, staged_night

NAME = "registry.test/names/night:one"


def test_names_are_taken_until_the_experiment_is_finished():
    flow_run_id = staged_night(NAME, runs=1)  # which logs a note
    logged = FlowExperiment(flow_run_id, flow_run_id, 1)
    with pytest.raises(DuplicateAttachmentError, match="note"):
        logged.log_json("note", "again")
    FlowExperiment(flow_run_id, flow_run_id, 2).log_json("note", "of the retry")
    sealed_night(flow_run_id, "failed")
    with pytest.raises(DuplicateAttachmentError, match="note"):
        logged.log_json("note", "again")
    sealed_night(flow_run_id)
    assert flow_run_id not in attachment_names._names
    remove_image(NAME, root=registry_root())


def test_names_are_free_again_where_nothing_became_durable():
    with pytest.raises(OSError, match="full"), claimed_names("root", "run", 1, ["note"]):
        raise OSError("full")
    with claimed_names("root", "run", 1, ["note"]):
        pass
    with pytest.raises(DuplicateAttachmentError), claimed_names("root", "run", 1, ["note"]):
        pass
    attachment_names.forget_names("root")


def test_flow_runs_that_never_finish_are_forgotten_in_the_end(monkeypatch):
    monkeypatch.setattr(attachment_names, "MOST_FLOW_RUNS", 3)
    for number in range(5):
        with claimed_names(f"root-{number}", "run", 1, ["note"]):
            pass
    assert len(attachment_names._names) <= 3
    assert "root-4" in attachment_names._names
