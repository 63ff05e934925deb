"""With a `stage_key`, whoever has no key writes nothing to a shared stage that a seal takes."""

from __future__ import annotations

import json

import pytest
from prefect.filesystems import LocalFileSystem

from ommx_prefect import exceptions
from ommx_prefect._stages import signing
from ommx_prefect._stages.archive_store import ArchiveStore
from ommx_prefect._stages.block_store import FolderStore
from ommx_prefect._stages.documents import FLOW_RECORD, PARTS, ROLLED_BACK, write_document
from ommx_prefect._stages.signing import Signer, signer_of
from ommx_prefect.testing._scene import Host, attempt_of, flow_record, new_id, shard_of

KEY = b"a key that only our hosts have"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


def store(folder, key):
    block = LocalFileSystem(basepath=str(folder))
    name = "local-file-system/signed"
    signer = Signer(key)
    return ArchiveStore(name, lambda: FolderStore(name, block), signer=lambda: signer)


def recorded(folder, tmp_path, key):
    flow_run_id = new_id()
    host = Host(tmp_path / "worker", flow_run_id, store(folder, key))
    write_document(host.stage, FLOW_RECORD, flow_record(flow_run_id))
    attempts = [attempt_of(flow_run_id, number) for number in (1, 2, 3)]
    host.stage.begin(attempts[2])
    host.stage.put(shard_of(attempts[0], [flow_run_id, 0]))
    host.stage.put(shard_of(attempts[1], [flow_run_id, 1]), PARTS)
    host.stage.write(f"{ROLLED_BACK}/{new_id()}", {})
    return flow_run_id, attempts


def collected(folder, tmp_path, flow_run_id, key):
    host = Host(tmp_path / f"seal-{new_id()}", flow_run_id, store(folder, key))
    host.stage.collect(())
    return host.stage


def files(folder, flow_run_id):
    return [path for path in (folder / flow_run_id).rglob("*") if path.is_file()]


@pytest.mark.parametrize("reader", [KEY, b""], ids=["with the key", "without a key"])
def test_what_was_signed_is_read(folder, tmp_path, reader):
    flow_run_id, attempts = recorded(folder, tmp_path, KEY)
    stage = collected(folder, tmp_path, flow_run_id, reader)
    assert [shard.attempt for shard in stage.shards()] == attempts[:1]
    assert [shard.attempt for shard in stage.shards(PARTS)] == attempts[1:2]
    assert stage.starts() == attempts[2:]


@pytest.mark.parametrize("writer", [b"", b"the key of somebody else"], ids=["no key", "another"])
def test_each_record_that_is_not_signed_with_the_key_is_refused(folder, tmp_path, writer):
    flow_run_id, _ = recorded(folder, tmp_path, writer)
    with pytest.raises(exceptions.DocumentError) as caught:
        collected(folder, tmp_path, flow_run_id, KEY)
    said = "it is not signed" if not writer else "its signature is wrong"
    assert said in str(caught.value)
    paths = files(folder, flow_run_id)
    assert len(paths) == 5
    for path in paths:
        assert path.relative_to(folder / flow_run_id).as_posix() in str(caught.value)


def test_a_signed_record_counts_under_its_own_name_alone(folder, tmp_path):
    flow_run_id, _ = recorded(folder, tmp_path, KEY)
    other, _ = recorded(folder, tmp_path, KEY)
    (folder / flow_run_id / FLOW_RECORD).write_bytes((folder / other / FLOW_RECORD).read_bytes())
    (mark,) = (folder / flow_run_id / ROLLED_BACK).iterdir()
    mark.rename(mark.with_name(new_id()))
    (part,) = (folder / flow_run_id / PARTS).iterdir()
    part.rename(folder / flow_run_id / "shards" / part.name)
    with pytest.raises(exceptions.DocumentError) as caught:
        collected(folder, tmp_path, flow_run_id, KEY)
    assert str(caught.value).startswith("3 records are refused")


def test_a_changed_bit_of_a_signed_record_is_refused():
    signer = Signer(KEY)
    for record in (b'{"format": 2}', b"\x81\xa1a\x01"):
        data = signer.signed("a/b", record)
        assert signer.opened("a/b", data) == Signer().opened("a/b", data) == record
        for place in range(len(data)):
            changed = bytearray(data)
            changed[place] ^= 1
            with pytest.raises(exceptions.DocumentError):
                signer.opened("a/b", bytes(changed))
        with pytest.raises(exceptions.DocumentError):
            signer.opened("a/c", data)


def test_the_key_comes_from_the_setting_and_a_short_one_is_refused(monkeypatch):
    signer_of.cache_clear()
    try:
        monkeypatch.setenv("PREFECT_INTEGRATIONS_OMMX_STAGE_KEY", KEY.decode())
        signed = signer_of("one").signed("a/b", b"{}")
        assert json.loads(Signer(KEY).opened("a/b", signed)) == {}
        monkeypatch.setenv("PREFECT_INTEGRATIONS_OMMX_STAGE_KEY", "short")
        with pytest.raises(exceptions.StageError, match="16 are the least") as caught:
            signer_of("two")
        assert "short'" not in str(caught.value)
    finally:
        signer_of.cache_clear()


def test_the_key_may_stand_in_a_secret_block(server, monkeypatch):
    from prefect.blocks.system import Secret

    Secret(value=KEY.decode()).save("stage-key", overwrite=True)
    monkeypatch.setenv("PREFECT_INTEGRATIONS_OMMX_STAGE_KEY", f"{signing.BLOCK}stage-key")
    signer_of.cache_clear()
    try:
        assert signer_of("three").signed("a/b", b"{}") == Signer(KEY).signed("a/b", b"{}")
    finally:
        signer_of.cache_clear()
