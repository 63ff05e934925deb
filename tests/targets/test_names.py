"""Whose a name is when it moves on: to a later flow run, or in a seal that was cut off."""

from __future__ import annotations

import threading
import time
import uuid

import pytest
from ommx.experiment import Experiment

from ommx_prefect import (
    exceptions,
    flow,
    load_experiment,
    seal,
    task,
)
from ommx_prefect._registry import names as registry
from ommx_prefect._registry.blobs import blob_path
from ommx_prefect._sealing import publish as _publish
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._targets import local as local_target
from tests.support.reading import run_again, run_flow
from tests.support.stage_tasks import note

pytestmark = pytest.mark.usefixtures("server")


@pytest.mark.parametrize("fails", [False, True])
def test_a_seal_whose_answer_was_moved_away_is_found_by_its_experiment(fails):
    @flow(experiment=f"ghcr.io/acme/moved-away:{fails}")
    def one():
        note(1)
        if fails:
            raise ValueError("no plan")

    flow_run_id = str(one(return_state=True).state_details.flow_run_id)
    before = seal(flow_run_id)
    stage = LocalStage(flow_run_id)
    stage.remove("sealed.json")
    again = seal(flow_run_id)
    assert (again.image_name, again.manifest_digest) == (before.image_name, before.manifest_digest)
    assert again.counts == {"finished": 1}
    late = Attempt(flow_run_id, flow_run_id, 1, "", "late", "late-0", 1, "a", time.time(), "h", 1)
    stage.put(Shard(late, "finished", parameters=late.parameters("Completed", 1.0)))
    assert seal(flow_run_id).counts == {"finished": 2}


@task
def one_task(x):
    return x


def test_a_flow_run_whose_name_another_one_replaced_keeps_its_answer_and_takes_nothing_back():
    name = f"ghcr.io/acme/replaced:{uuid.uuid4().hex}"

    @flow(experiment=name, replace=True)
    def nightly(x):
        one_task(x)

    first, second = run_flow(nightly, 1), run_flow(nightly, 2)
    answer = seal(second.flow_run_id)
    assert seal(first.flow_run_id).counts == {"finished": 1}
    assert seal(first.flow_run_id).manifest_digest != answer.manifest_digest
    assert Experiment.load(name).run_parameters_df()["x"].tolist() == [2]
    assert seal(second.flow_run_id) == answer


def test_an_experiment_that_was_removed_is_put_back_while_it_is_held():
    @flow(experiment="ghcr.io/acme/removed:{flow_run.name}")
    def one():
        one_task(1)

    sealed = run_flow(one)
    answer = seal(sealed.flow_run_id)
    registry.drop_name(answer.image_name)
    assert seal(sealed.flow_run_id) == answer
    assert [run.status for run in load_experiment(sealed.flow_run_id).runs] == ["finished"]
    registry.drop_name(answer.image_name)
    blob_path(answer.manifest_digest).unlink()
    with pytest.raises(exceptions.SealError, match=r"was removed, and with it what was recorded"):
        seal(sealed.flow_run_id)


def test_a_flow_run_that_finishes_again_after_a_failed_retry_keeps_its_name():
    ends = iter([None, ValueError("again"), None])

    @flow(experiment="ghcr.io/acme/again:{flow_run.name}")
    def one():
        one_task(1)
        if error := next(ends):
            raise error

    sealed = run_flow(one)
    names = [seal(sealed.flow_run_id).image_name]
    for _ in range(2):
        run_again(one, sealed.flow_run_id)
        names.append(seal(sealed.flow_run_id).image_name)
    assert len(set(names)) == 1
    assert seal(sealed.flow_run_id).counts == {"finished": 3}
    assert Experiment.load(names[0]).status == "finished"


def test_the_checkpoint_of_another_flow_run_is_not_replaced():
    name = f"ghcr.io/acme/both:{uuid.uuid4().hex}"
    fails = [True]

    @flow(experiment=name)
    def month(x):
        one_task(x)
        if fails[0]:
            raise ValueError("no")

    first, second = run_flow(month, 1), run_flow(month, 2)
    fails[0] = False
    third = run_flow(month, 3)
    for sealed, x in ((first, 1), (second, 2), (third, 3)):
        assert load_experiment(sealed.flow_run_id).run_parameters_df()["x"].tolist() == [x]
    assert Experiment.load(name).run_parameters_df()["x"].tolist() == [3]


@pytest.mark.parametrize("replace", [False, True])
def test_what_comes_late_takes_no_name_back_from_a_later_flow_run(replace):
    night = f"ghcr.io/acme/late-{uuid.uuid4().hex}"
    name = f"{night}:now" if replace else f"{night}:{{flow_run.name}}"

    @flow(experiment=name, replace=replace, aliases=["latest"])
    def nightly(x):
        one_task(x)

    first, second = run_flow(nightly, 1), run_flow(nightly, 2)
    stage = LocalStage(first.flow_run_id)
    attempt = Attempt(
        first.flow_run_id, first.flow_run_id, 1, "", "late", "late", 1, "n", 9e9, "here", 1
    )
    stage.put(Shard(attempt, "finished", None, attempt.parameters("Completed", 1.0)))
    assert seal(first.flow_run_id).counts == {"finished": 2}
    assert len(load_experiment(first.flow_run_id).runs) == 2
    for taken in ("latest", "now")[: 1 + replace]:
        assert Experiment.load(f"{night}:{taken}").run_parameters_df()["x"].tolist() == [2]
    assert load_experiment(second.flow_run_id).run_parameters_df()["x"].tolist() == [2]


@pytest.mark.parametrize("replace", [False, True])
def test_a_seal_that_was_cut_off_takes_no_name_back_when_it_is_finished(replace, monkeypatch):
    night = f"ghcr.io/acme/cut-off-{uuid.uuid4().hex}"
    name = f"{night}:now" if replace else f"{night}:{{flow_run.name}}"

    @flow(experiment=name, replace=replace, aliases=["latest"])
    def nightly(x):
        one_task(x)

    def disk_full(*_):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:  # the names have moved, and nothing is written down
        patch.setattr(_publish, "write_sealed", disk_full)
        first = nightly(1, return_state=True).state_details.flow_run_id
        assert Experiment.load(f"{night}:latest").run_parameters_df()["x"].tolist() == [1]
    second = run_flow(nightly, 2)
    assert seal(first).counts == {"finished": 1}
    assert load_experiment(first).run_parameters_df()["x"].tolist() == [1]
    for taken in ("latest", "now")[: 1 + replace]:
        assert Experiment.load(f"{night}:{taken}").run_parameters_df()["x"].tolist() == [2]
    assert load_experiment(second.flow_run_id).run_parameters_df()["x"].tolist() == [2]


def test_what_a_seal_imports_is_no_experiment_before_it_is_published(monkeypatch):
    @flow
    def one():
        note(1)

    def disk_full(*_):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(local_target, "publish_names", disk_full)
        flow_run_id = one(return_state=True).state_details.flow_run_id
        assert registry.find(registry.sealing_name(flow_run_id))
        with pytest.raises(exceptions.NotSealedError):
            load_experiment(flow_run_id)
    assert seal(flow_run_id).counts == {"finished": 1}
    assert len(load_experiment(flow_run_id).runs) == 1


def test_an_experiment_opens_while_its_name_moves(monkeypatch):
    @flow
    def one(x):
        one_task(x)

    first, second = (seal(run_flow(one, x).flow_run_id) for x in (1, 2))
    name = f"ghcr.io/acme/moving:{uuid.uuid4().hex}"
    registry.move_names(first.manifest_digest, {name: None})
    names = {name: first.manifest_digest}
    mover = threading.Thread(target=registry.move_names, args=(second.manifest_digest, names))
    find = registry.find

    def find_and_be_late(wanted):
        found = find(wanted)
        if not mover.ident:
            mover.start()
            mover.join(0.5)
        return found

    monkeypatch.setattr(registry, "find", find_and_be_late)
    experiment = registry.load_named(name, first.manifest_digest)
    mover.join()
    assert experiment.run_parameters_df()["x"].tolist() == [1]
    assert registry.load_named(name, first.manifest_digest) is None


@pytest.mark.parametrize("step", ["aliases_to_move", "carry_out"])
def test_of_two_flow_runs_that_end_in_the_same_moment_each_has_a_name(step, monkeypatch):
    name = f"ghcr.io/acme/together:{uuid.uuid4().hex}"
    other = {}

    @flow(experiment=name, aliases=["latest"])
    def nightly(x):
        one_task(x)

    def run_other():
        other["state"] = nightly(2, return_state=True)

    go_on = getattr(_publish, step)

    def wait_for_other(*arguments):
        monkeypatch.undo()
        thread = threading.Thread(target=run_other)
        thread.start()
        thread.join()
        return go_on(*arguments)

    monkeypatch.setattr(_publish, step, wait_for_other)
    first = run_flow(nightly, 1)
    second = load_experiment(other["state"].state_details.flow_run_id)
    assert (second.image_name, second.run_parameters_df()["x"].tolist()) == (name, [2])
    assert first.column("x") == [1]
    assert first.experiment.image_name.startswith(f"{name}-")
    assert any("was taken meanwhile" in x for x in first.ledger["warnings"])
    latest = Experiment.load("ghcr.io/acme/together:latest").run_parameters_df()["x"].tolist()
    assert latest == [2]  # it began later
    assert not LocalStage(first.flow_run_id).shards()
