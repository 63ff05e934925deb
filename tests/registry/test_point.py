"""A name points to an image although what that follows is not here."""

from __future__ import annotations

import json
import uuid

import pytest
from ommx.experiment import Experiment

from ommx_prefect._catalogue.subject import seal_about
from ommx_prefect._registry.blobs import blob_path, read_blob
from ommx_prefect._registry.names import drop_name, find, move_names
from ommx_prefect._registry.point import point


@pytest.fixture
def follower():
    """A night that follows one which is gone: its name and its digest."""
    repository = f"localhost/point-{uuid.uuid4().hex[:8]}"
    Experiment(f"{repository}:1").commit()
    before = find(f"{repository}:1")
    night = Experiment()
    night.log_json("day", {"number": uuid.uuid4().int % 10**9})
    seal_about(night, f"{repository}:2", before)
    digest = find(f"{repository}:2")
    for name in (f"{repository}:1", f"{repository}:2"):
        drop_name(name)
    blob_path(before).unlink()
    return f"{repository}:2", digest


def test_it_opens_with_its_own_bytes(follower):
    name, digest = follower
    point(name, digest)
    assert find(name) == digest
    opened = Experiment.load(name)
    assert (opened.status, opened.image_name) == ("finished", name)
    assert opened.get_json("day")["number"] >= 0
    move_names(digest, {name: digest, f"{name}-alias": None})
    assert find(f"{name}-alias") == find(name) == digest


def test_one_that_is_damaged_gets_no_name(follower):
    name, digest = follower
    layers = [x["digest"] for x in json.loads(read_blob(digest))["layers"]]
    damaged = next(x for x in layers if b"number" in read_blob(x))
    kept = blob_path(damaged).read_bytes()
    blob_path(damaged).chmod(0o644)
    blob_path(damaged).write_bytes(kept.replace(b"number", b"nobody"))
    with pytest.raises(RuntimeError):
        point(name, digest)
    assert find(name) is None
    blob_path(damaged).write_bytes(kept)


def test_what_follows_nothing_and_is_damaged_is_an_error_of_ommx():
    name = f"localhost/point-{uuid.uuid4().hex[:8]}:1"
    Experiment(name).commit()
    digest = find(name)
    drop_name(name)
    config = json.loads(read_blob(digest))["config"]["digest"]
    kept = blob_path(config).read_bytes()
    blob_path(config).unlink()
    with pytest.raises(RuntimeError):
        point(name, digest)
    assert find(name) is None
    blob_path(config).write_bytes(kept)
