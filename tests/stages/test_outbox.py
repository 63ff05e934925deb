"""What waits on a host for a shared place: one record that is damaged holds up no other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ommx_prefect._shards.archive import payload_of
from ommx_prefect._stages.damage import damaged_files
from ommx_prefect._stages.documents import ROLLED_BACK, SHARDS, STARTS, UNSENT
from ommx_prefect._stages.outbox import Outbox
from ommx_prefect.testing._scene import Away, Host, as_shard_store, attempt_of, new_id, shard_of
from tests.support.shelf import Shelf


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def waiting(shelf, tmp_path):
    """A host on which three records wait, since the place was away when they were made."""
    flow_run_id, place = new_id(), Away(as_shard_store(shelf))
    host = Host(tmp_path / "host", flow_run_id, place)
    place.is_away = True
    for number in (1, 2, 3):
        attempt = attempt_of(flow_run_id, number)
        host.stage.begin(attempt)
        host.stage.put(shard_of(attempt, [flow_run_id, number]))
    host.stage.write(f"{ROLLED_BACK}/one", {})
    place.is_away = False
    return host


def sealed_here(host):
    """Read what a seal on this host reads."""
    host.stage.collect(())
    shards = host.stage.shards()
    host.stage.pin([layer for shard in shards for layer in payload_of(shard)])
    return shards


def sent(shelf, kind):
    return [name for name in shelf.objects if f"/{kind}/" in name]


def test_a_record_that_was_not_flushed_when_the_power_failed_is_none(waiting, shelf):
    unflushed, *_ = waiting.local.files(SHARDS)
    unflushed.write_bytes(b"")
    assert len(sealed_here(waiting)) == 2
    assert list(damaged_files(waiting.local)) == []
    assert waiting.stage.flush() is None
    assert len(sent(shelf, SHARDS)) == 2
    # That the attempt began is known elsewhere, and a seal there says that it was interrupted.
    assert [x.rpartition("/")[2] for x in sent(shelf, STARTS)] == [unflushed.name]


def test_a_damaged_record_stays_and_is_told_of_and_the_others_go_out(waiting, shelf):
    damaged, *_ = waiting.local.files(SHARDS)
    damaged.write_bytes(b"not a record")
    problem = waiting.stage.flush()
    assert problem is not None
    assert f"{damaged} is damaged" in problem
    assert len(sent(shelf, SHARDS)) == 2
    assert len(sent(shelf, ROLLED_BACK)) == 1
    assert waiting.local.files(SHARDS) == [damaged]
    assert waiting.local.files(UNSENT) == []


def test_lost_payload_of_one_record_holds_up_no_other(waiting, shelf):
    lost, *_ = waiting.local.shards()
    for layer in payload_of(lost):
        (pinned := waiting.local.pinned(layer.digest)).unlink()  # a link to the registry's own
        pinned.write_bytes(b"lost")
    assert waiting.stage.flush() is not None
    assert len(sent(shelf, SHARDS)) == 2


def test_no_record_is_looked_for_in_a_list_of_all(waiting):
    class Listing(list):
        def __contains__(self, name):
            raise AssertionError("thousands of records are looked for, one by one")

    keys = [path.name for path in waiting.local.files(SHARDS)]
    outbox = Outbox(waiting.local, waiting.stage._store, waiting.local.bring)
    there = Listing(f"{waiting.local.flow_run_id}/{SHARDS}/{key}" for key in keys[1:])
    assert f"{waiting.local.flow_run_id}/{SHARDS}/{keys[0]}" in outbox.share(there, ())


def test_a_place_that_is_away_is_asked_once(waiting, shelf):
    asked = []

    def away(name, data):
        asked.append(name)
        raise OSError("away")

    shelf.write = away
    assert "away" in (waiting.stage.flush() or "")
    assert len(asked) == 1
    assert len(waiting.local.files(SHARDS)) == 3


def test_a_record_that_was_sent_does_not_wait_for_a_seal_of_its_host(waiting, shelf):
    last = [shard_of(attempt_of(waiting.local.flow_run_id, number), [number]) for number in (4, 5)]
    # As a seal holds it until its push is done.
    with ThreadPoolExecutor(1) as pool, waiting.local.locked():
        assert pool.submit(waiting.stage.put, last[0]).result(30) is None
        assert len(waiting.local.files(SHARDS)) == 3
        # The seal takes what waits, and other hosts have it, too.
        assert len(sealed_here(waiting)) == 4
        assert len(sent(shelf, SHARDS)) == 4
    assert waiting.stage.put(last[1]) is None
    assert waiting.local.files(SHARDS) == []
    assert len(sent(shelf, SHARDS)) == 5
