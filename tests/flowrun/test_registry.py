"""A flow that names an OMMX Registry block gets its names, its stage and its push from there."""

from __future__ import annotations

import uuid

import prefect
import pytest
from prefect.filesystems import LocalFileSystem
from pydantic import SecretStr

from ommx_prefect import flow, seal, seal_hooks, task
from ommx_prefect._flowrun.registry import stage_wanted, with_registry
from ommx_prefect._flowrun.settings import ExperimentSettings
from ommx_prefect._oci.credentials import Credentials
from ommx_prefect._oci.repository import Repository
from ommx_prefect.blocks import OMMXRegistry
from ommx_prefect.exceptions import InvalidImageNameError
from tests.support.reading import run_flow, secrets_in, shown_of
from tests.support.registry_server import PASSWORD, USER, running_registry


@task
def one():
    return 1


@pytest.fixture(scope="module")
def block(server, tmp_path_factory) -> str:
    """A block whose stage is a folder that hosts share; its name."""
    name = f"b{uuid.uuid4().hex[:8]}"
    folder = tmp_path_factory.mktemp("stage")
    LocalFileSystem(basepath=str(folder)).save(name)
    OMMXRegistry(
        registry="ghcr.io", repository="acme/nights", stage=f"local-file-system/{name}", push=False
    ).save(name)
    return f"ommx-registry/{name}"


def image_name(experiment, **options) -> str:
    @flow(experiment=experiment, **options)
    def night():
        one()

    return run_flow(night).experiment.image_name


def test_names_and_stage_come_from_the_block(block, monkeypatch, tmp_path):
    assert image_name(None, registry=block).startswith("ghcr.io/acme/nights:2")
    assert image_name("mip:one", registry=block) == "ghcr.io/acme/nights/mip:one"
    assert image_name("quay.io/a/mip:one", registry=block) == "quay.io/a/mip:one"
    assert image_name(lambda run: ":called", registry=block) == "ghcr.io/acme/nights:called"
    monkeypatch.setenv("PREFECT_INTEGRATIONS_OMMX_REGISTRY", block)
    assert image_name(":by-the-setting", stage="local") == "ghcr.io/acme/nights:by-the-setting"


def test_a_subflow_stays_a_part_of_the_enclosing_experiment(block):
    @flow(registry=block)
    def inner():
        one()

    @flow(experiment=":outer", registry=block)
    def outer():
        one()
        inner()

    sealed = run_flow(outer)
    assert sealed.experiment.image_name == "ghcr.io/acme/nights:outer"
    assert len(sealed.runs) == 2


def test_what_a_flow_says_itself_comes_before_the_block(block):
    wanted = with_registry(ExperimentSettings("mip", push=True, stage="local", registry=block))
    assert (wanted.push, wanted.stage) == (True, "local")
    left_open = with_registry(ExperimentSettings("mip", registry=block))
    assert (left_open.push, left_open.stage) == (False, stage_wanted(left_open))
    assert str(left_open.stage).startswith("local-file-system/")


def test_a_stage_in_the_registry_of_the_block_is_opened_with_its_credentials(server):
    name = f"b{uuid.uuid4().hex[:8]}"
    OMMXRegistry(
        registry="ghcr.io",
        repository="acme",
        username="robot",
        password="sesame",
        stage="oci://ghcr.io/acme/shards",
    ).save(name)
    settings = ExperimentSettings(registry=f"ommx-registry/{name}")
    assert stage_wanted(settings) == f"oci://ghcr.io/acme/shards?credentials=ommx-registry/{name}"
    assert with_registry(settings).push is True


def test_the_credentials_of_the_block_push_and_are_recorded_nowhere(
    server, tmp_path, no_credentials
):
    name = f"b{uuid.uuid4().hex[:8]}"
    with running_registry(tmp_path / "r", password=PASSWORD) as registry:
        OMMXRegistry(
            registry=registry.host, repository="nights", username=USER, password=PASSWORD
        ).save(name)

        @flow(experiment=":one", registry=f"ommx-registry/{name}")
        def night():
            one()

        sealed = run_flow(night)
        answer = seal(sealed.flow_run_id)
        assert (answer.pushed, answer.push_problem) == (True, "")
        credentials = Credentials(USER, SecretStr(PASSWORD))
        with Repository(registry.host, "nights", credentials) as repository:
            assert repository.find_manifest("one") == answer.manifest_digest
    assert secrets_in(f"{registry.host}/nights:one", tmp_path, [PASSWORD]) == []
    shown = str(shown_of(sealed.flow_run_id))
    assert PASSWORD not in shown + str(sealed.ledger)


def test_a_block_that_is_not_there_refuses_the_flow_and_hooks_go_on(server, caplog):
    @flow(registry="ommx-registry/nowhere")
    def night():
        return one()

    with pytest.raises(
        InvalidImageNameError,
        match=r"registry='ommx-registry/\S+' cannot be used: the block cannot be loaded",
    ):
        night()

    @prefect.flow(**seal_hooks("mip", registry="ommx-registry/nowhere"))
    def hooked():
        return one()

    sealed = run_flow(hooked)
    assert sealed.statuses == ["finished"]
    assert sealed.experiment.image_name.partition("/")[0].endswith(".ommx.local")


def test_what_is_no_block_is_refused_at_once():
    with pytest.raises(
        InvalidImageNameError, match=r"^registry='\S+' cannot be used: it takes a block by its name"
    ):
        flow(registry="https://ghcr.io")(lambda: None)
