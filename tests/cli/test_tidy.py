"""`du` and `prune`: what takes room, what can go, and how it comes back."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from ommx.artifact import list_artifacts, restore_image
from ommx.experiment import Experiment

from ommx_prefect._catalogue.listing import Listed
from ommx_prefect._catalogue.pruning import prunable
from ommx_prefect._recovery.recover import Recovered
from ommx_prefect._registry.names import NameMovedError, find, move_names
from ommx_prefect._stages.documents import LOCK
from ommx_prefect._stages.local import LocalStage
from tests.support.nights import log_run, record_failed

REPOSITORY = "nights.local/tidied"


def seal(name, payload=b""):
    experiment = Experiment(name)
    log_run(experiment, x=name)
    experiment.log_attachment("payload", "application/octet-stream", payload or name.encode())
    experiment.commit()
    return name


@pytest.fixture(scope="module")
def tidied():
    """Three nights, the newest of which is also `latest`; a failed one in between."""
    one = seal(f"{REPOSITORY}:one", b"x" * 10_000)
    with pytest.raises(ValueError, match="fell"):
        record_failed(f"{REPOSITORY}:failed")
    time.sleep(1.1)  # times are told to the second
    two = seal(f"{REPOSITORY}:two", b"x" * 10_000)
    time.sleep(1.1)
    three = seal(f"{REPOSITORY}:three")
    digest = find(three)
    restore_image(f"{REPOSITORY}:latest", digest)
    return one, two, three


def test_du_counts_shared_blobs_once(tidied, command):
    document = command("du", REPOSITORY, "--json").json
    sizes = {row["image"]: row for row in document["experiments"]}
    one, two, three = (sizes[x] for x in tidied)
    assert one["bytes"] > 10_000 > one["own_bytes"]
    assert two["bytes"] > 10_000 > two["own_bytes"]
    assert three["bytes"] < 10_000
    assert document["bytes"] < sum(row["bytes"] for row in document["experiments"])
    shown = command("du", REPOSITORY).out
    assert "in all, each blob once" in shown


def names_of(answer):
    return {row["name"]: row for row in answer.json}


def test_prune_says_what_would_go_and_removes_nothing(tidied, command):
    before = {ref.image_name for ref in list_artifacts()}
    gone = names_of(command("prune", REPOSITORY, "--keep", "1", "--older-than", "0s", "--json"))
    one, two, _ = tidied
    assert set(gone) == {one, two, f"{REPOSITORY}:failed"}  # not what `latest` also names
    assert gone[f"{REPOSITORY}:failed"]["kind"] == "checkpoint"
    assert "was sealed later" in gone[f"{REPOSITORY}:failed"]["why"]
    assert not any(row["deleted"] for row in gone.values())
    assert {ref.image_name for ref in list_artifacts()} == before
    assert "would go" in command("prune", REPOSITORY, "--keep", "1").out


def test_young_checkpoints_and_all_nights_stay_by_default(tidied, command):
    assert command("prune", REPOSITORY, "--json").json == []
    assert command("prune", REPOSITORY, "--keep", "0").code == 2


def test_what_was_let_go_comes_back_by_the_printed_command(tidied, command):
    one = tidied[0]
    digest = find(one)
    gone = names_of(command("prune", REPOSITORY, "--keep", "2", "--delete", "--json"))
    assert set(gone) == {one}
    assert find(one) is None
    done = subprocess.run(gone[one]["restore"], shell=True, capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert find(one) == digest
    assert Experiment.load(one).runs[0].status == "finished"


def test_a_name_that_was_moved_meanwhile_stays():
    one, two = (seal(f"{REPOSITORY}-moved:{x}") for x in ("one", "two"))
    digest = find(one)
    old = Listed("sealed", one, "finished", "2020-01-01T00:00:00+00:00", one, digest)
    new = Listed("sealed", two, "finished", "2020-01-02T00:00:00+00:00", two, find(two))
    (each,) = prunable([new, old], [], keep=1, min_age=0)
    move_names(find(two), {one: digest})  # another flow run replaces the experiment
    with pytest.raises(NameMovedError, match="points to another experiment now"):
        each.remove()
    assert find(one) == find(two)


FLOW_RUN = "0a0b0c0d-1111-4000-8000-00000000000%d"


def stuck(number, done):
    flow_run_id = FLOW_RUN % number
    listed = Listed("unsealed", flow_run_id, "unsealed", "2020-01-01T00:00:00+00:00", flow="f")
    return listed, Recovered(
        flow_run_id=flow_run_id,
        name="",
        state="Running",
        since="",
        ended=1,
        open=0,
        done=done,
        why="because",
    )


def test_of_what_is_unsealed_only_what_ended_can_go():
    rows = [stuck(n, x) for n, x in enumerate(["would seal", "waits", "would send", "failed"])]
    found = list(prunable([x for x, _ in rows], [y for _, y in rows], keep=None, min_age=3600))
    assert [each.name for each in found] == [FLOW_RUN % 0]
    young = list(prunable([x for x, _ in rows], [y for _, y in rows], keep=None, min_age=1e12))
    assert young == []


@pytest.fixture
def left():
    """An old record of a flow run that nobody has sealed, and what prune would do about it."""
    listed, row = stuck(7, "would seal")
    record = LocalStage(listed.image).path / "shards" / "one"
    record.parent.mkdir(parents=True)
    record.write_bytes(b"a shard")
    os.utime(record, (1_600_000_000, 1_600_000_000))
    (each,) = prunable([listed], [row], keep=None, min_age=3600)
    yield record, each
    shutil.rmtree(record.parent.parent, ignore_errors=True)


def test_an_unsealed_flow_run_is_moved_aside_and_back(left):
    record, each = left
    folder = record.parent.parent
    each.remove()
    assert not folder.exists()
    assert subprocess.run(each.restore, shell=True, timeout=60).returncode == 0
    assert record.read_bytes() == b"a shard"
    each_file = [x for x in folder.rglob("*") if x.is_file() and x.name != LOCK]
    assert len(each_file) == 1


def test_an_unsealed_flow_run_with_which_somebody_goes_on_stays(left):
    record, each = left
    record.with_name("two").write_bytes(b"another")
    with pytest.raises(OSError, match="gone on with it"):
        each.remove()
    assert record.exists()


def test_an_unsealed_flow_run_is_not_moved_aside_while_it_is_sealed(left):
    record, each = left
    with ThreadPoolExecutor(1) as pool:
        with LocalStage(each.name).locked():
            removed = pool.submit(each.remove)
            time.sleep(1)
            assert record.exists()
            record.unlink()
            (record.parent.parent / "sealed.json").write_bytes(b"{}")
        assert isinstance(removed.exception(60), OSError)
    assert record.parent.exists()


def test_nights_of_an_open_flow_run_stay():
    flow_run_id = FLOW_RUN % 8
    folder = LocalStage(flow_run_id).path
    (folder / "starts").mkdir(parents=True)
    (folder / "starts" / "one").write_bytes(b"{}")
    try:
        nights = [
            Listed("sealed", f"{REPOSITORY}x:{n}", "finished", f"2020-01-0{n}T00:00:00+00:00",
                   digest=f"sha256:{n}", flow_run_id=flow_run_id if n == 1 else "")
            for n in (3, 2, 1)
        ]  # fmt: skip
        assert [x.name for x in prunable(nights, [], keep=1, min_age=0)] == [f"{REPOSITORY}x:2"]
    finally:
        (folder / "starts" / "one").unlink()
        (folder / "starts").rmdir()
        folder.rmdir()
