"""What a host does for records of others, and what other users of its machine can do to it."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from ommx_prefect import exceptions
from ommx_prefect._settings import OmmxSettings
from ommx_prefect._stages.documents import FLOW_RECORD, PARTS, read_flow_record, write_document
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.oci_store import OciStore
from ommx_prefect._stages.shared import SharedStage
from ommx_prefect._values.secrets import REDACTED
from ommx_prefect.solvers._race import end_race, new_race, win, winner_of
from ommx_prefect.testing._scene import attempt_of, flow_record, new_id, shard_of
from tests.security.scene import FINISHED, Disk, recorded, seal_now
from tests.support.evil_registry import host, storing
from tests.support.folder_registry import folder_registry

KEY = "a key that only our hosts have"


# ---------------------------------------------------------------- registries of others' choice


@pytest.fixture
def disk(tmp_path):
    return Disk(tmp_path / "shared")


@pytest.fixture
def settings(monkeypatch):
    def say(**named):
        for name, value in named.items():
            monkeypatch.setenv(f"PREFECT_INTEGRATIONS_OMMX_{name.upper()}", value)

    return say


@pytest.mark.usefixtures("no_credentials")
def test_a_record_of_another_host_is_pushed_to_no_registry_of_its_choice(disk, tmp_path):
    with host(storing()) as evil:
        name = f"{evil.name}/acme/night:one"
        flow_run_id = recorded(disk, tmp_path, image_name=name, push=True)
        sealed = seal_now(disk.seen_by(flow_run_id))
    assert sealed.pushed is False
    assert f"ommx-prefect push {name}" in sealed.push_problem
    assert evil.seen == []


@pytest.mark.usefixtures("no_credentials")
def test_signed_records_are_pushed_as_this_hosts_own(disk, tmp_path, settings):
    settings(stage_key=KEY)
    with folder_registry(tmp_path / "oci") as registry:
        flow_run_id = recorded(disk, tmp_path, image_name=f"{registry}/acme/night:one", push=True)
        sealed = seal_now(disk.seen_by(flow_run_id))
    assert sealed.pushed is True, sealed.push_problem
    assert (tmp_path / "oci" / "acme" / "night" / "manifests" / "one").exists()


def test_the_settings_are_those_of_the_environment(settings):
    settings(stage_key=KEY)
    assert OmmxSettings().stage_key.get_secret_value() == KEY


# ---------------------------------------------------------------- what comes from there


@pytest.mark.usefixtures("no_credentials")
def test_of_a_payload_no_more_comes_than_its_descriptor_states(tmp_path):
    flow_run_id = new_id()
    with host(storing(b"x" * 10_000_000)) as evil:
        stage = SharedStage(LocalStage(flow_run_id), OciStore(f"oci://{evil.name}/acme/shards"))
        with pytest.raises(exceptions.DocumentError, match="more than 8 bytes"):
            stage.bring(f"sha256:{'0' * 64}", 8)
    assert not list((stage.path / "blobs" / "sha256").iterdir())


@pytest.mark.parametrize("address", ["oci://A/../b", "nonsense", "oci://user:pw@host/x"])
def test_a_record_whose_stage_is_no_address_is_refused_by_name(address):
    stage = LocalStage(new_id())
    write_document(stage, FLOW_RECORD, replace(flow_record(stage.flow_run_id), stage=address))
    with pytest.raises(exceptions.DocumentError, match=r"flow\.json.*'stage' is wrong"):
        read_flow_record(stage)


def test_the_folder_of_a_block_stays_when_nothing_is_left_in_it(disk, tmp_path):
    flow_run_id = recorded(disk, tmp_path)
    seal_now(disk.seen_by(flow_run_id))
    assert list(disk.folder.iterdir()) == []


# ---------------------------------------------------------------- redactions of a flow


def test_the_ledger_counts_what_is_cut_out_of_a_flow_run_and_of_what_its_body_logs():
    stage = LocalStage(new_id())
    name = f"registry.example/acme/{stage.flow_run_id}:one"
    record = replace(flow_record(stage.flow_run_id), stage="local", image_name=name)
    told = {"token": REDACTED, "say": f"it is {REDACTED}", "n": 3}
    write_document(stage, FLOW_RECORD, replace(record, parameters=told))
    attempt = attempt_of(stage.flow_run_id)
    stage.put(shard_of(attempt, {"of": "a task"}))
    note = f"1 texts with a secret are replaced by {REDACTED}"
    part = replace(attempt_of(stage.flow_run_id, 2), task="experiment.log_json")
    stage.put(replace(shard_of(part, {"of": "the body"}), notes=(note,)), PARTS)
    sealed = seal_now(stage, FINISHED)
    assert f"experiment.log_json: {note}" in sealed.warnings
    assert any(x.startswith("2 texts with a secret are replaced") for x in sealed.warnings)


# ---------------------------------------------------------------- races on a shared machine


def test_a_race_is_in_a_folder_of_this_user_that_nobody_foresees():
    one, other = new_race(), new_race()
    assert os.path.dirname(one) != os.path.dirname(other)
    assert os.stat(os.path.dirname(one)).st_mode & 0o077 == 0
    for race in (one, other):
        end_race(race)
        assert not os.path.exists(os.path.dirname(race))


@pytest.mark.parametrize("kind", ["writable by all", "a link", "another user's"])
def test_a_race_in_a_folder_that_others_write_to_is_won_by_nobody(tmp_path, kind):
    folder, race = tmp_path / "race", str(tmp_path / "race" / "winner")
    real = tmp_path / "real"
    real.mkdir()
    (real / "winner").write_text("highs")
    if kind == "a link":
        folder.symlink_to(real)
    else:
        real.rename(folder)
    if kind == "writable by all":
        folder.chmod(0o777)
    elif kind == "another user's":
        if os.geteuid() != 0:
            pytest.skip("only root gives a folder to another user")
        os.chown(folder, 12345, 12345)
    assert winner_of(race) is None
    win(race, "scip")
    end_race(race)
    assert (folder / "winner").read_text() == "highs"
