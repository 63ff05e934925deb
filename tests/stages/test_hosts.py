"""Flow runs of a shared stage that more than one host seals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import prefect
import pytest

from ommx_prefect import (
    current_experiment,
    flow,
    load_experiment,
    seal,
)
from ommx_prefect._shards.digests import with_digest
from tests.support.places import take_run_from
from tests.support.reading import run_again, run_flow
from tests.support.stage_tasks import note

pytestmark = pytest.mark.usefixtures("server")

TAKEN_SECONDS = 240

ELSEWHERE = """
import json, sys
from ommx_prefect import current_experiment, flow, load_experiment, seal, task

@task
def note(x):
    return x

@flow(stage={stage!r}, experiment="ghcr.io/acme/elsewhere:{{flow_run.name}}")
def one(fail=True):
    note(int(fail))
    if fail:
        raise ValueError("first")

if sys.argv[1:] == ["run"]:
    print(one(return_state=True).state_details.flow_run_id)
elif sys.argv[1:]:
    seal(sys.argv[1], stage={stage!r})
    experiment = load_experiment(sys.argv[1])
    outputs = [run.get_json("output") for run in experiment.runs]
    print(json.dumps([experiment.status, outputs]))
"""


def _on_another_host(script, registry, *arguments):
    env = {**os.environ, "OMMX_LOCAL_REGISTRY_ROOT": str(registry)}
    env.pop("PREFECT_INTEGRATIONS_OMMX_STAGE", None)
    ran = subprocess.run(
        [sys.executable, str(script), *arguments],
        env=env, capture_output=True, text=True, timeout=TAKEN_SECONDS, check=True,
    )  # fmt: skip
    return ran.stdout.splitlines()[-1]


def test_a_retry_on_another_host_gives_one_experiment_with_all_runs(shared, tmp_path, monkeypatch):
    script = tmp_path / "elsewhere.py"
    script.write_text(textwrap.dedent(ELSEWHERE.format(stage=shared.stage)))
    flow_run_id = _on_another_host(script, tmp_path / "first", "run")
    # A third host that never saw the flow run seals it as well: nothing is used up.
    seen = json.loads(_on_another_host(script, tmp_path / "third", flow_run_id))
    assert seen == ["failed", [1]]

    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.setattr(sys, "argv", ["elsewhere"])
    from elsewhere import one

    run_again(one, flow_run_id, fail=False)
    experiment = load_experiment(flow_run_id)
    assert experiment.status == "finished"
    assert [run.get_json("output") for run in experiment.runs] == [1, 0]
    assert experiment.run_parameters_df()["prefect.flow_attempt"].tolist() == [1, 2]
    assert experiment.image_name.startswith("ghcr.io/acme/elsewhere:")
    assert shared.objects(flow_run_id) == {}
    # The first host knows the failed attempt only, and does not publish that as the whole.
    with pytest.raises(subprocess.CalledProcessError) as refused:
        _on_another_host(script, tmp_path / "first", flow_run_id)
    assert "another host has sealed it as finished" in refused.value.stderr
    assert shared.objects(flow_run_id) == {}


def test_a_flow_run_that_finishes_fails_and_finishes_again_is_sealed_each_time(shared):
    wanted = ["finished", "failed", "finished"]
    flow_run_id = None

    @flow(stage=shared.stage)
    def one(status):
        note(status)
        if status == "failed":
            raise ValueError("no")

    for number, status in enumerate(wanted):
        if flow_run_id is None:
            flow_run_id = str(one(status, return_state=True).state_details.flow_run_id)
        else:
            run_again(one, flow_run_id, status=status)
        experiment = load_experiment(flow_run_id)
        assert experiment.status == status
        seen = [run.get_json("output")["x"] for run in experiment.runs]
        assert seen == wanted[: number + 1]


def test_a_record_that_only_a_failed_host_has_reaches_the_retry_elsewhere(shared):
    @flow(stage=shared.stage)
    def one():
        shared.go_away()
        note(1)
        shared.come_back()
        raise ValueError("first")

    sealed = run_flow(one)
    assert sealed.experiment.status == "failed"
    assert any("/shards/" in name for name in shared.objects(sealed.flow_run_id))


def test_a_record_that_comes_after_the_seal_extends_the_experiment(shared):
    kept = {}

    @flow(stage=shared.stage)
    def one():
        note(1)
        # No task run: Prefect would tell of one whose record is missing.
        with current_experiment().run() as run:
            run.log_json("output", {"x": 2})
        kept.update(take_run_from(shared, str(prefect.runtime.flow_run.id)))

    sealed = run_flow(one)
    assert seal(sealed.flow_run_id).counts == {"finished": 1}
    for _ in range(2):  # the second time as after a seal that was cut off before it cleaned up
        for name, data in kept.items():
            shared.put(name, data)
        assert seal(sealed.flow_run_id).counts == {"finished": 2}
        assert shared.objects(sealed.flow_run_id) == {}


def test_an_attempt_that_was_cut_off_on_another_host_is_interrupted(shared):
    @flow(stage=shared.stage)
    def one():
        note(1)
        flow_run_id = prefect.runtime.flow_run.id
        objects = shared.objects(flow_run_id)
        name = next(name for name in objects if "/starts/" in name)
        start = json.loads(objects[name])
        start.update(task_run_id="", host="elsewhere", nonce="abc")
        del start["digest"]
        name = f"{flow_run_id}/starts/run-1-abc"
        shared.put(name, with_digest(json.dumps(start).encode(), name))

    sealed = run_flow(one)
    assert sorted(sealed.statuses) == ["finished", "interrupted"]
    assert any("elsewhere" in (run.lifecycle_reason or "") for run in sealed.runs)
    assert shared.objects(sealed.flow_run_id) == {}
