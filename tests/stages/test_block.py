"""Which stage a flow has: blocks by name, setting and hook, and those it cannot use."""

from __future__ import annotations

import contextlib
import uuid

import prefect
import pytest
from prefect.blocks.system import Secret
from prefect.filesystems import WritableFileSystem
from pydantic import SecretStr

from ommx_prefect import (
    exceptions,
    flow,
    seal_hooks,
)
from ommx_prefect._stages.block_store import BlockStore
from tests.support.places import (
    SECRET,
    s3_place,
)
from tests.support.reading import run_flow
from tests.support.stage_tasks import note

pytestmark = pytest.mark.usefixtures("server")


def test_subflows_and_rollbacks_reach_the_stage_of_the_enclosing_flow(shared):
    from prefect.transactions import transaction

    @flow
    def inner():
        note(2)

    @flow(stage=shared.stage)
    def one():
        inner()
        with contextlib.suppress(ValueError), transaction():
            note(3)
            raise ValueError("undo")
        return shared.objects(prefect.runtime.flow_run.id).keys()

    sealed = run_flow(one)
    kinds = {name.split("/")[1] for name in sealed.state.result()}
    assert kinds >= {"flow.json", "subflows", "rolled-back", "shards"}
    assert sealed.column("prefect.state") == ["Completed", "RolledBack"]
    assert [subflow["flow"] for subflow in sealed.ledger["subflows"]] == ["inner"]
    assert shared.objects(sealed.flow_run_id) == {}


def test_the_settings_name_the_stage_of_flows_that_name_none(shared, monkeypatch):
    monkeypatch.setenv("PREFECT_INTEGRATIONS_OMMX_STAGE", shared.stage)

    @flow
    def from_settings():
        note(1)

    @flow(stage="local")
    def here():
        note(1)

    assert run_flow(from_settings).ledger["flow_run"]["stage"] == shared.stage
    assert run_flow(here).ledger["flow_run"]["stage"] == "local"


def test_seal_hooks_take_a_stage_too(shared):
    waiting = []

    @prefect.flow(**seal_hooks(stage=shared.stage))
    def one():
        note(1)
        waiting.extend(shared.objects(prefect.runtime.flow_run.id))

    sealed = run_flow(one)
    assert any("/shards/" in name for name in waiting)
    assert sealed.statuses == ["finished"]
    assert shared.objects(sealed.flow_run_id) == {}


def test_seal_hooks_go_on_in_the_local_registry_where_the_stage_cannot_be_used():
    @prefect.flow(**seal_hooks(stage="local-file-system/there-is-none"))
    def one():
        note(1)

    sealed = run_flow(one)
    assert sealed.statuses == ["finished"]
    assert sealed.ledger["flow_run"]["stage"] == "local"


class Shelf(WritableFileSystem):
    """A block that reads and writes, and cannot list."""

    _block_type_slug = "ommx-test-shelf"

    token: SecretStr = SecretStr("shelf-token-1234")

    async def read_path(self, path: str) -> bytes:
        raise ValueError(f"{self.token.get_secret_value()} may not read {path}")

    async def write_path(self, path: str, content: bytes) -> None:
        raise ValueError(f"{self.token.get_secret_value()} may not write {path}")


def _refusal_of(stage):
    ran = []

    @flow(stage=stage)
    def one():
        ran.append(1)

    with pytest.raises(exceptions.StageError) as caught:
        one()
    assert ran == []
    return str(caught.value)


def test_a_block_that_does_not_exist_is_refused_when_the_flow_starts():
    said = _refusal_of("local-file-system/there-is-none")
    assert "stage='local-file-system/there-is-none' cannot be used" in said
    assert "Save it first" in said


def test_a_block_that_cannot_list_is_refused_when_the_flow_starts():
    Shelf().save("shelf", overwrite=True)
    assert "Use a block of the type local-file-system, remote-file-system" in _refusal_of(
        "ommx-test-shelf/shelf"
    )
    Secret(value="not-a-file-system").save("no-stage", overwrite=True)
    said = _refusal_of("secret/no-stage")
    assert "cannot list what a Secret holds" in said
    assert "not-a-file-system" not in said


def test_a_bucket_that_is_not_there_is_refused_when_the_flow_starts(s3):
    place = s3_place(s3, f"gone-{uuid.uuid4().hex[:8]}")
    place.go_away()
    said = _refusal_of(place.stage)
    assert "could not list" in said
    assert SECRET not in said


def test_a_text_that_names_no_stage_is_refused_at_once():
    for text in ("s3-bucket", "", "S3 Bucket/shards"):
        with pytest.raises(exceptions.StageError, match="type-slug/name"):
            flow(stage=text)(print)


def test_what_a_block_says_is_shown_without_its_secrets():
    shelf = BlockStore("ommx-test-shelf/shelf", Shelf())
    for call in (lambda: shelf.read("a"), lambda: shelf.write("a", b"")):
        with pytest.raises(exceptions.StageError, match=r"\*\*redacted\*\* may not") as caught:
            call()
        assert "shelf-token" not in repr(caught.value)
        assert caught.value.__suppress_context__
