"""`flow` is a drop-in for `prefect.flow`; its experiment has a name, and subflows have a place."""

from __future__ import annotations

import datetime
import re

import prefect
import pytest
from ommx.experiment import Experiment, list_experiments
from prefect import flow_engine
from prefect.client.orchestration import get_client
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.hashing import file_hash
from pydantic import BaseModel
from reading import run_flow, sealed_of, shown_of

from ommx_prefect import (
    current_experiment,
    current_run,
    exceptions,
    flow,
    load_experiment,
    seal,
    seal_hooks,
    task,
)
from ommx_prefect._image_name import FlowRunFacts, anonymous_tag, resolve

pytestmark = pytest.mark.usefixtures("server")

NOON = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.timezone.utc)
FACTS = FlowRunFacts("0193-aa", "brave otter", "nightly", NOON, NOON, {"site": "Kōbe", "n": 3})


@task
def one_task(x=1):
    current_run().log_parameter("x", x)
    return x


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("ghcr.io/a/b:2026-11", "ghcr.io/a/b:2026-11"),
        ("localhost:5000/a/b", "localhost:5000/a/b:20261123T120000-brave-otter"),
        ("ghcr.io/a/b", "ghcr.io/a/b:20261123T120000-brave-otter"),
        ("ghcr.io/a/b:{flow_run.name}", "ghcr.io/a/b:brave-otter"),
        ("ghcr.io/a/b:{scheduled_time:%Y%m%dT%H%M%S}", "ghcr.io/a/b:20261123T120000"),
        ("ghcr.io/a/{flow.name}:n{n}-{site}", "ghcr.io/a/nightly:n3-K-be-4f0581"),
        ("ghcr.io/a/b-{scheduled_time:%Y}", "ghcr.io/a/b-2026:20261123T120000-brave-otter"),
    ],
)
def test_templates_become_names(template, name):
    assert resolve(template, FACTS)[0] == name


def test_anonymous_tags_sort_by_time():
    assert anonymous_tag(FACTS) == "20261123T120000-0193aa"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("ghcr.io/a/b:{nothing}", "there are"),
        ("ghcr.io/a/b:{flow.__class__}", "private"),
        ("ghcr.io/a/b:{", "cannot be filled in"),
    ],
)
def test_templates_that_cannot_be_filled_in_say_what_there_is(template, reason):
    with pytest.raises(exceptions.InvalidImageNameError, match=reason):
        resolve(template, FACTS)


@pytest.mark.parametrize("name", ["ghcr.io/acme/bad tag:x", "ghcr.io/a/b@sha256:" + "0" * 64, ""])
def test_a_name_that_does_not_parse_is_refused_when_the_flow_starts(name):
    ran = []

    @flow(experiment=name)
    def one():
        ran.append(1)

    with pytest.raises(exceptions.InvalidImageNameError, match="not an OCI image name"):
        one()
    assert ran == []


def test_a_name_that_stands_is_refused_and_may_be_replaced():
    @flow(experiment="ghcr.io/acme/once:v1")
    def one(x):
        one_task(x)

    first = run_flow(one, 1)
    assert first.experiment.image_name == "ghcr.io/acme/once:v1"
    with pytest.raises(exceptions.ImageNameTakenError, match="replace=True"):
        one(2)
    assert len(Experiment.load("ghcr.io/acme/once:v1").runs) == 1

    @flow(experiment="ghcr.io/acme/once:v1", replace=True)
    def again(x):
        one_task(x)

    run_flow(again, 3)
    stored = Experiment.load("ghcr.io/acme/once:v1")
    assert stored.run_parameters_df()["x"].tolist() == [3]


def test_without_a_tag_each_flow_run_gets_a_readable_one():
    @flow(experiment="ghcr.io/acme/nightly")
    def one():
        one_task()

    names = [run_flow(one).experiment.image_name for _ in range(2)]
    assert len(set(names)) == 2
    for name in names:
        assert re.fullmatch(r"ghcr\.io/acme/nightly:\d{8}T\d{6}-[a-z-]+", name)


def test_a_callable_gets_the_flow_run():
    @flow(experiment=lambda flow_run: f"ghcr.io/acme/called:{flow_run.name}")
    def one():
        one_task()

    sealed = run_flow(one)
    assert sealed.experiment.image_name.startswith("ghcr.io/acme/called:")


def test_aliases_move_to_each_finished_experiment_only():
    @flow(experiment="ghcr.io/acme/aliased", aliases=("latest",))
    def one(fail):
        one_task()
        if fail:
            raise ValueError("no")

    good = run_flow(one, False)
    run_flow(one, True)
    latest = Experiment.load("ghcr.io/acme/aliased:latest")
    annotations = latest.annotations
    assert annotations["org.ommx-prefect.flow-run-id"] == good.flow_run_id


def test_without_experiment_the_name_is_an_anonymous_one_of_ommx():
    @flow
    def one():
        one_task()

    assert ".ommx.local/experiment:" in run_flow(one).experiment.image_name


def test_current_experiment_logs_on_the_experiment():
    @flow
    def one():
        experiment = current_experiment()
        experiment.log_json("dataset", {"n": 3})
        experiment.log_attachment("raw", "text/plain", b"hello", compression="zstd")
        experiment.set_annotation("com.acme.site", "Kobe")
        with experiment.run() as run:
            run.log_parameter("manual", 1)
        with pytest.raises(exceptions.DuplicateAttachmentError):
            experiment.log_json("dataset", {})
        one_task()
        return experiment.image_name

    sealed = run_flow(one)
    assert sealed.experiment.get_json("dataset") == {"n": 3}
    assert sealed.experiment.get_blob("raw") == b"hello"
    assert sealed.experiment.annotations["com.acme.site"] == "Kobe"
    assert sealed.column("manual") == [1, None]
    assert sealed.state.result() == sealed.experiment.image_name


def test_what_a_retried_flow_logs_again_is_kept_beside_the_latest():
    attempts = []

    @flow(retries=1)
    def one():
        attempts.append(1)
        current_experiment().log_json("config", {"attempt": len(attempts)})
        current_experiment().log_json("same", {"a": 1})
        if len(attempts) == 1:
            raise RuntimeError("again")

    experiment = run_flow(one).experiment
    assert experiment.get_json("config") == {"attempt": 2}
    assert experiment.get_json("config@1") == {"attempt": 1}
    assert "same@1" not in experiment.attachment_names


def test_a_plain_subflow_belongs_to_its_parents_experiment():
    @prefect.flow
    def plain_child():
        one_task.submit(10).result()

    @flow
    def child():
        one_task(20)

    @flow
    def parent():
        one_task(1)
        plain_child()
        child()

    sealed = run_flow(parent)
    assert sealed.column("x") == [1, 10, 20]
    assert len({run["flow_run_id"] for run in sealed.ledger["runs"]}) == 3


def test_a_subflow_with_its_own_experiment_seals_its_own_and_is_named_by_its_parent():
    children = []

    @flow(experiment="ghcr.io/acme/child")
    def child():
        one_task(5)
        children.append(current_experiment().image_name)

    @flow
    def parent():
        one_task(1)
        child()

    sealed = run_flow(parent)
    assert sealed.column("x") == [1]
    assert [subflow["image_name"] for subflow in sealed.ledger["subflows"]] == children
    assert len(Experiment.load(children[0]).runs) == 1


def test_seal_hooks_record_under_a_plain_prefect_flow():
    @prefect.flow(**seal_hooks("ghcr.io/acme/hooked"))
    def one():
        current_experiment().log_json("a", 1)
        one_task(2)

    sealed = run_flow(one)
    assert sealed.experiment.image_name.startswith("ghcr.io/acme/hooked:")
    assert sealed.column("x") == [2]
    assert sealed.experiment.get_json("a") == 1


@pytest.mark.parametrize("kind", [flow, seal_hooks], ids=["flow", "seal_hooks"])
def test_a_template_knows_the_defaults_that_a_deployment_does_not_send(kind):
    name = "ghcr.io/acme/defaults:{size}-{flow_run.name}"
    decorated = flow(experiment=name) if kind is flow else prefect.flow(**seal_hooks(name))

    def one(size: int = 5):
        return size

    made = decorated(one)
    with get_client(sync_client=True) as client:
        flow_run = client.create_flow_run(made, parameters={})
    flow_engine.run_flow(made, flow_run=flow_run)
    wanted = f"ghcr.io/acme/defaults:5-{flow_run.name}"
    assert load_experiment(str(flow_run.id)).artifact.image_name == wanted


def test_version_and_entrypoint_are_those_of_the_users_file(tmp_path):
    def one():
        return 1

    plain, ours = prefect.flow(one), flow(one)
    assert (ours.version, ours._entrypoint) == (plain.version, plain._entrypoint)
    assert ours.with_options(name="other").version == plain.version
    assert flow(version="7")(one).version == "7"
    script = tmp_path / "nightly.py"
    script.write_text("import {0}\n@{0}.flow\ndef one():\n    return 1\n".format("ommx_prefect"))
    assert load_flow_from_entrypoint(f"{script}:one").version == file_hash(str(script))


class Wanted(BaseModel):
    size: int


def test_annotations_mean_what_they_mean_in_the_users_file():
    @flow
    def one(wanted: Wanted):
        return wanted.size

    assert run_flow(one, {"size": "3"}).state.result() == 3


def test_a_flow_without_hooks_can_be_sealed_by_hand():
    @prefect.flow
    def one():
        one_task(2)

    state = one(return_state=True)
    flow_run_id = state.state_details.flow_run_id
    with pytest.raises(exceptions.NotSealedError):
        load_experiment(flow_run_id)
    answer = seal(flow_run_id)
    assert answer.counts == {"finished": 1}
    assert sealed_of(state).column("x") == [2]


def test_with_options_keeps_the_experiment_and_the_seal():
    called = []

    @flow(experiment="ghcr.io/acme/optioned")
    def one():
        one_task()

    changed = one.with_options(name="renamed", on_completion=[lambda *_: called.append(1)])
    sealed = run_flow(changed)
    assert called == [1]
    assert sealed.experiment.image_name.startswith("ghcr.io/acme/optioned:")


async def test_async_flows_seal_too():
    @flow(experiment="ghcr.io/acme/async")
    async def one():
        one_task(1)
        current_experiment().log_json("a", 1)

    sealed = sealed_of(await one(return_state=True))
    assert sealed.column("x") == [1]


def test_generator_flows_seal_too():
    @flow
    def one():
        yield one_task(1)
        yield one_task(2)

    assert list(one()) == [1, 2]


@pytest.mark.parametrize("fail", [False, True])
def test_the_flow_run_carries_a_summary_and_a_table_of_runs(fail):
    @flow(experiment="ghcr.io/acme/shown")
    def one():
        one_task(7)
        if fail:
            raise ValueError("no")

    sealed = run_flow(one)
    shown = shown_of(sealed.flow_run_id)
    summary = shown["ommx-experiment"]
    answer = seal(sealed.flow_run_id)
    assert answer.image_name in summary
    assert answer.manifest_digest in summary
    assert answer.opens_with in summary
    assert "1 finished" in summary
    assert '"x": 7' in shown["ommx-runs"]
    assert eval(answer.opens_with, {"Experiment": Experiment}).runs[0].status == "finished"


async def test_the_artifacts_of_an_async_flow_are_attached_too():
    @flow
    async def one():
        one_task(7)

    sealed = sealed_of(await one(return_state=True))
    assert shown_of(sealed.flow_run_id).keys() == {"ommx-experiment", "ommx-runs"}


def test_the_registry_lists_no_shards():
    @flow
    def one():
        one_task.map([1, 2, 3])

    before = _names_of_ours()  # a test that kills a seal may have left its scratch name
    run_flow(one)
    assert _names_of_ours() - before <= {"ommx-prefect.local/reserved:unnamed"}


def _names_of_ours():
    return {ref.image_name for ref in list_experiments("ommx-prefect.local/")}
