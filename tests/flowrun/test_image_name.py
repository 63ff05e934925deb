"""Which OCI image name the experiment of a flow run gets, and which are refused."""

from __future__ import annotations

import dataclasses
import datetime
import re

import prefect
import pytest
from ommx.experiment import Experiment
from prefect import flow_engine
from prefect.client.orchestration import get_client

from ommx_prefect import current_run, exceptions, flow, load_experiment, seal_hooks, task
from ommx_prefect._flowrun.image_name import NamingFacts, anonymous_tag, resolve
from ommx_prefect._registry.names import canonical_name
from tests.support.reading import run_flow

pytestmark = pytest.mark.usefixtures("server")

NOON = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.timezone.utc)
MORE = {"path": "./data/x.mps", "delta": -1, "empty": "", "long": "x" * 200}
FACTS = NamingFacts(
    "0193-aa", "brave otter", "nightly", NOON, NOON, {"site": "Kōbe", "n": 3, **MORE}
)


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
        ("ghcr.io/a/b:{flow_run.name}", "ghcr.io/a/b:brave-otter-a8701f"),
        ("ghcr.io/a/b:{flow.name}", "ghcr.io/a/b:nightly"),
        ("ghcr.io/a/b:{path}", "ghcr.io/a/b:data-x.mps-b26c99"),
        ("ghcr.io/a/b:{delta}", "ghcr.io/a/b:1-1bad6b"),
        ("ghcr.io/a/b:{n}", "ghcr.io/a/b:3"),
        ("ghcr.io/a/b:d{delta}-{n:03d}", "ghcr.io/a/b:d1-1bad6b-003"),
        ("ghcr.io/a/{site}/b:v1", "ghcr.io/a/k-be-4f0581/b:v1"),
        ("ghcr.io/a/b:{empty}", "ghcr.io/a/b:run-e3b0c4"),
        ("ghcr.io/a/b:{scheduled_time:%Y%m%dT%H%M%S}", "ghcr.io/a/b:20261123T120000"),
        ("ghcr.io/a/{flow.name}:n{n}-{site}", "ghcr.io/a/nightly:n3-K-be-4f0581"),
        ("ghcr.io/a/b-{scheduled_time:%Y}", "ghcr.io/a/b-2026:20261123T120000-brave-otter"),
    ],
)
def test_templates_become_names(template, name):
    assert resolve(template, FACTS)[0] == name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, -1),
        ("a b", "a-b"),
        ("", "run"),
        ("./x", "x"),
        ("x" * 200, "x" * 201),
        ("x" * 300, "x" * 301),
        ("x." * 90, "x." * 91),
        (".x", "-x"),
    ],
)
def test_different_values_become_different_names(one, other):
    def name(template, value):
        return resolve(template, dataclasses.replace(FACTS, parameters={"x": value}))[0]

    for template in ("ghcr.io/a/b:{x}", "ghcr.io/a/{x}:v1", "ghcr.io/a/b:v{x}{x}"):
        assert name(template, one) != name(template, other)
        for value in (one, other):
            assert canonical_name(name(template, value)) == name(template, value)


@pytest.mark.parametrize("name", ["night", "night:v1", "night:{flow_run.name}"])
def test_a_name_without_a_registry_is_told_to_be_one_of_docker_hub(name, caplog):
    @flow(experiment=name)
    def one():
        one_task()

    assert run_flow(one).experiment.image_name.startswith("docker.io/library/night:")
    assert "names no registry" in caplog.text

    @flow(experiment=name, push=True)
    def pushed():
        one_task()

    with pytest.raises(exceptions.InvalidImageNameError, match="names no registry"):
        pushed()


def test_a_name_of_docker_hub_that_does_not_say_so_is_told(caplog):
    for name in ("acme/night", "docker.io/acme/night"):
        caplog.clear()

        @flow(experiment=name)
        def one():
            one_task()

        assert run_flow(one).experiment.image_name.startswith("docker.io/acme/night:")
        told = "names no registry, which makes it docker.io/acme/night:" in caplog.text
        assert told is (name == "acme/night")


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
