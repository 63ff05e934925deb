"""A flow run too large for one manifest, from its decorator to its page and its registry."""

from __future__ import annotations

import uuid

import pytest
from ommx.experiment import Experiment

from ommx_prefect import current_experiment, flow, load_experiment, seal
from ommx_prefect._sealing import parts as sealing_parts
from tests.support.images import tags_of
from tests.support.large_nights import FEW_BYTES
from tests.support.reading import run_again, run_flow, shown_of
from tests.support.stage_tasks import note

pytestmark = pytest.mark.usefixtures("server", "no_credentials", "brief_waits")

RUNS = 30


def test_a_large_flow_run_is_pushed_in_parts_shown_as_one_and_retried(registry, monkeypatch):
    monkeypatch.setattr(sealing_parts, "MOST_MANIFEST_BYTES", FEW_BYTES)
    name = f"{registry.host}/acme/large-{uuid.uuid4().hex[:8]}:one"
    outcome = {"fail": True}

    @flow(experiment=name, push=True)
    def large():
        current_experiment().log_json("log", {"fail": outcome["fail"]})
        note.map(list(range(RUNS))).wait()
        if outcome["fail"]:
            raise ValueError("first")

    failed = run_flow(large)
    first = seal(failed.flow_run_id)
    assert (first.status, first.pushed, first.counts) == ("failed", True, {"finished": RUNS})
    assert first.parts >= 3
    assert failed.statuses == ["finished"] * RUNS
    assert len(tags_of(name)) == first.parts + 1
    assert "one-failed" in tags_of(name)

    outcome["fail"] = False
    run_again(large, failed.flow_run_id)
    second = seal(failed.flow_run_id)
    assert (second.status, second.pushed) == ("finished", True)
    assert second.counts == {"finished": 2 * RUNS}
    whole = load_experiment(failed.flow_run_id)
    assert sorted(run.get_json("output")["x"] for run in whole.runs) == sorted([*range(RUNS)] * 2)
    assert whole.get_json("log@1") == {"fail": True}
    assert Experiment.load(name).runs == []
    shown = shown_of(failed.flow_run_id)
    assert f'ommx_prefect.load_experiment("{name}")' in shown["ommx-experiment"]
    assert shown["ommx-runs"].count('"task": "note"') == 2 * RUNS
    # The parts of the failed one are named no more here; in the registry they stay.
    assert len(tags_of(name)) == 1 + 1 + first.parts + second.parts
