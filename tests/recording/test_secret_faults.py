"""No secret is in what is noted of a fault: it is cut out before the message is shortened."""

from __future__ import annotations

import logging
import uuid
from decimal import Decimal

import pytest
from prefect.filesystems import LocalFileSystem

from ommx_prefect._prefect.log import warn
from ommx_prefect._recording.current import note_here
from ommx_prefect._recording.faults import Faults
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.recording import Recording
from ommx_prefect._stages.block_store import BlockStore
from ommx_prefect._values.error_texts import REASON_LENGTH, describe_error
from ommx_prefect._values.secrets import REDACTED, Redactor
from ommx_prefect.exceptions import StageError
from tests.recording.test_output import attempt_of

CUT = "s3cr3t-abcdefghijklmnopqrstuvwxyz"
BLANKS = "two  blanks  in it"
# Where a message is cut to its length, the secret stands across it.
MESSAGES = {
    "cut": f"{'x' * (REASON_LENGTH - 35)} {CUT} and more",
    "blanks": f"at {BLANKS} it failed",
}
PARTS = (CUT[:6], "blanks")


class Broken(Decimal):
    """A number that cannot be asked for its value."""

    error: Exception

    def __float__(self) -> float:
        raise self.error


class Unasked(dict):
    """A dict that cannot be searched for secrets."""

    def items(self):
        raise ValueError(self["message"])


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_fault_shows_no_part_of_a_secret(message, caplog):
    faults = Faults("t", Redactor({"password": CUT, "token": BLANKS}))
    with caplog.at_level(logging.WARNING), faults.guarded("attach the output"):
        raise RuntimeError(message)
    shown = [faults.first, *faults.notes, caplog.text]
    assert not any(part in text for part in PARTS for text in shown)
    assert REDACTED in faults.first
    assert len(faults.first) < REASON_LENGTH + 50


@pytest.mark.parametrize("kind", [ValueError, RuntimeError])
@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_an_argument_that_cannot_be_recorded_shows_no_part_of_a_secret(message, kind):
    broken = Broken(1)
    broken.error = kind(message)
    values = {"x": broken, "d": Unasked(message=message), "password": CUT, "token": BLANKS}
    attempt = attempt_of(str(uuid.uuid4()))
    with Recording(attempt, RecordingOptions(), values) as recording, recording.active():
        note_here(f"a checkpoint failed: {message}")
    notes = recording.faults.notes
    assert [note.split(" ")[1] for note in notes] == ["'d'", "'x'", "checkpoint"]
    assert not any(part in note for part in PARTS for note in notes)


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_place_that_refuses_shows_no_part_of_a_secret(message, tmp_path):
    block = LocalFileSystem(basepath=f"s3://{CUT}:{BLANKS.replace(' ', '%20')}@host/x")
    store = BlockStore("local-file-system/x", block)
    store._redact.add((CUT, BLANKS))
    with pytest.raises(StageError) as raised, store._translated("write x"):
        raise OSError(message)
    assert not any(part in str(raised.value) for part in PARTS)


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_what_this_process_knows_is_in_no_description_and_in_no_log_line(message, caplog):
    Redactor({"password": CUT, "token": BLANKS})
    with caplog.at_level(logging.WARNING):
        warn(f"It failed: {message}")
    for shown in (describe_error(RuntimeError(message)), caplog.text):
        assert REDACTED in shown
        assert not any(part in shown for part in PARTS)
