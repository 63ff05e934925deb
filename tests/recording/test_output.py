"""What a function returns that never asked for its Run: recorded without a session of OMMX."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import uuid

import msgpack
import numpy as np
import ommx
import pytest
from ommx.experiment import Experiment

from ommx_prefect import current_run
from ommx_prefect._format.model import sha256_digest
from ommx_prefect._prefect.states import Outcome
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.recording import Recording
from ommx_prefect._recording.run import MOST_IN_RECORD
from ommx_prefect._registry.blobs import blob_path, registry_root
from ommx_prefect._registry.layout import blob_folder
from ommx_prefect._registry.unnamed import open_experiment, store
from ommx_prefect._sealing.seal import seal_task_run
from ommx_prefect._shards.shard import SHARD_FORMAT, Attempt
from ommx_prefect._stages import flushing
from ommx_prefect._stages.documents import SHARDS, STARTS
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.resolve import tell_stage
from ommx_prefect._stages.unsealed import unsealed_flow_runs
from ommx_prefect._values.secrets import CHUNK_BYTES
from ommx_prefect.codecs import CodecEntry, NumpyCodec, log_value, registry
from tests.benchmarks.measures import PeakMemory
from tests.support.tiers import full

FINISHED = Outcome("finished", "Completed")


def attempt_of(flow_run_id: str) -> Attempt:
    tell_stage(flow_run_id, "local")
    ids = flow_run_id, flow_run_id, 1, str(uuid.uuid4())
    nonce = uuid.uuid4().hex[:12]
    return Attempt(*ids, "solve", "solve-0", 1, nonce, time.time(), "here", os.getpid())


def recorded(value: object, arguments: dict | None = None) -> Attempt:
    attempt = attempt_of(str(uuid.uuid4()))
    with Recording(attempt, RecordingOptions(), arguments or {}) as recording, recording.active():
        recording.returned(value)
    return attempt


def written(attempt: Attempt) -> dict:
    path = LocalStage(attempt.root_flow_run_id).path / SHARDS / attempt.key
    return msgpack.unpackb(path.read_bytes())


def sealed_run(attempt: Attempt):
    sealed = seal_task_run(attempt, FINISHED)
    (run,) = Experiment.load(sealed.stored_name).runs
    return run


def instance() -> ommx.Instance:
    return ommx.Instance.from_components(
        decision_variables=[ommx.DecisionVariable.binary(i) for i in range(3)],
        objective=ommx.Linear({0: 1.0, 1: 2.0}),
        constraints={},
        sense=ommx.Sense.Minimize,
    )


@pytest.mark.parametrize(
    "make", [lambda: {"a": [1, 2.5]}, instance, lambda: np.arange(3), lambda: b"x"]
)
def test_the_documents_are_those_that_ommx_writes(make):
    value = make()
    experiment = open_experiment()
    run = experiment.run()
    log_value(run, "output", value)
    with run:
        pass
    theirs = store(experiment)
    ours = written(recorded(value))
    assert ours["documents"] == vars(theirs)
    assert [sha256_digest(data) for data in ours["payload"].values()] == list(ours["payload"])


def test_small_payload_is_in_the_record_and_read_back_by_plain_ommx():
    value = {"marker": uuid.uuid4().hex}
    attempt = recorded(value)
    (digest,) = written(attempt)["payload"]
    assert not blob_path(digest).exists()
    assert sealed_run(attempt).get_json("output") == value
    assert not LocalStage(attempt.root_flow_run_id).files(SHARDS)


def test_large_payload_is_a_file_of_the_registry_and_sealed_from_there():
    value = np.random.default_rng(1).random(MOST_IN_RECORD)
    attempt = recorded(value)
    assert "payload" not in written(attempt)
    assert written(attempt)["format"] == SHARD_FORMAT
    assert np.array_equal(sealed_run(attempt).get_with_codec(NumpyCodec, "output"), value)


def test_a_file_keeps_its_name_and_its_type(tmp_path):
    path = tmp_path / "plot.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 20)
    run = sealed_run(recorded({"plot": path}))
    assert run.attachment_names == ["output.plot"]


def test_a_codec_that_asks_for_the_run_while_it_encodes_gets_it():
    class Asking:
        pass

    def prepare(value):
        current_run().log_parameter("asked", 1)
        return lambda target, name: target.log_json(name, {"of": "asking"})

    before = registry._entries
    registry.add(CodecEntry("Asking", "application/json", lambda x: type(x) is Asking, prepare))
    try:
        run = sealed_run(recorded(Asking()))
    finally:
        registry._entries = before
    assert run.get_json("output") == {"of": "asking"}


def test_an_empty_record_was_lost_with_the_power_and_counts_as_never_written():
    attempt, other = recorded({"a": 1}), attempt_of(str(uuid.uuid4()))
    stage = LocalStage(attempt.root_flow_run_id)
    (stage.path / SHARDS / other.key).touch()
    assert [shard.attempt.key for shard in stage.shards()] == [attempt.key]


def test_payload_that_a_seal_unpacked_just_before_the_power_failed_is_unpacked_again():
    attempt = recorded({"a": 1})
    stage = LocalStage(attempt.root_flow_run_id)
    stage.shards()
    copies = list(blob_folder(stage.path).iterdir())
    for copy in copies:
        copy.write_bytes(b"")
    assert copies
    assert sealed_run(attempt).get_json("output") == {"a": 1}


def test_a_start_that_was_lost_with_the_power_does_not_wait_for_a_seal_for_ever():
    attempt, other = recorded({"a": 1}), attempt_of(str(uuid.uuid4()))
    sealed_run(attempt)
    (LocalStage(attempt.root_flow_run_id).path / STARTS / other.key).touch()
    assert attempt.root_flow_run_id not in unsealed_flow_runs()


def test_damaged_payload_in_a_record_is_refused():
    attempt = recorded({"a": 1})
    path = LocalStage(attempt.root_flow_run_id).path / SHARDS / attempt.key
    document = msgpack.unpackb(path.read_bytes())
    document["payload"] = {digest: data + b" " for digest, data in document["payload"].items()}
    path.write_bytes(msgpack.packb(document))
    with pytest.raises(Exception, match=r"is damaged: .*its bytes are not those that were written"):
        LocalStage(attempt.root_flow_run_id).shards()


def test_records_are_flushed_together_and_soon():
    attempt = recorded({"a": 1})
    path = str(LocalStage(attempt.root_flow_run_id).path / SHARDS / attempt.key)
    assert path in flushing._waiting
    until = time.monotonic() + 60
    while path in flushing._waiting and time.monotonic() < until:
        time.sleep(0.05)
    assert path not in flushing._waiting


KILLED = """
import os, signal, sys
import tests.recording.test_output as here
attempt = here.recorded({"value": 7})
print(attempt.root_flow_run_id, attempt.key, len(here.flushing._waiting), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.server
@pytest.mark.parametrize(("window", "waiting"), [("0", "0"), *full(("1", "1"))])
def test_a_process_that_is_killed_at_once_has_left_its_record(window, waiting):
    environment = {**os.environ, "PREFECT_INTEGRATIONS_OMMX_FLUSH_SECONDS": window}
    done = subprocess.run(
        [sys.executable, "-c", KILLED], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    flow_run_id, key, left = done.stdout.split()
    assert left == waiting
    (shard,) = LocalStage(flow_run_id).shards()
    assert shard.attempt.key == key
    assert sealed_run(shard.attempt).get_json("output") == {"value": 7}


@pytest.mark.parametrize("size", [100, MOST_IN_RECORD + 1, 5 * 2**20])
def test_a_file_is_recorded_as_ommx_records_it(tmp_path, size):
    path = tmp_path / "plot.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + uuid.uuid4().bytes + bytes(size))
    experiment = open_experiment()
    run = experiment.run()
    run.log_file("output", path)
    with run:
        pass
    theirs = store(experiment)
    attempt = recorded(path)
    assert written(attempt)["documents"] == vars(theirs)
    assert sealed_run(attempt).attachment_names == ["output"]


@pytest.mark.server
def test_a_large_file_is_never_held_whole(tmp_path):
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        for _ in range(64):
            file.write(os.urandom(2**20))
    recorded(tmp_path / "none.bin")
    with PeakMemory() as peak:
        attempt = recorded(path)
    assert peak.megabytes < 48
    (layer,) = json.loads(written(attempt)["documents"]["manifest"])["layers"][:1]
    assert layer["digest"] == sha256_digest(path.read_bytes())


SECRET = {"token": "a-secret-of-the-task"}


@pytest.mark.server  # it takes seconds
@pytest.mark.parametrize(
    ("order", "arguments"), [("C", SECRET), ("F", {}), *full(("C", {}), ("F", SECRET))]
)
def test_a_large_array_is_stored_from_its_own_memory(order, arguments):
    array = np.asarray(np.random.default_rng(0).random((4096, 4096)), order=order)
    with PeakMemory() as peak:
        attempt = recorded(array, arguments)
    assert peak.megabytes < array.nbytes / 2**20 / 2
    buffer = io.BytesIO()
    np.save(buffer, array)
    assert blob_path(sha256_digest(buffer.getvalue())).read_bytes() == buffer.getvalue()
    again = sealed_run(attempt).get_with_codec(NumpyCodec, "output")
    np.testing.assert_array_equal(again, array)
    assert again.flags.f_contiguous == array.flags.f_contiguous


# At its start, and over the border of two pieces of a search.
@pytest.mark.parametrize("first", [0, CHUNK_BYTES // 8 - 1])
def test_a_large_array_that_shows_a_secret_is_left_out(first):
    secret = "a-secret-of-the-stage"
    array = np.full(CHUNK_BYTES // 4, 1.0)
    array[first : first + 4] = np.frombuffer(secret.encode().ljust(32), dtype=np.float64)
    attempt = recorded(array, {"token": secret})
    assert "it shows a secret" in str(written(attempt)["notes"])
    assert written(attempt)["documents"] is None or not written(attempt).get("payload")
    found = b"".join(path.read_bytes() for path in blob_folder(registry_root()).iterdir())
    assert secret.encode() not in found
