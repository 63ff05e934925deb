"""What `ommx-prefect status`, `recover` and `seal` say to people."""

from __future__ import annotations

import uuid

import pytest

from tests.recovery.scene import command

pytestmark = pytest.mark.usefixtures("server")


def test_status_and_help_and_wrong_durations_speak_to_people(killed):
    flow_run_id, _ = killed
    output, _ = command("status", "--min-age", "0").communicate(timeout=240)
    assert flow_run_id in output
    assert "would seal" in output
    refused = command("recover", "--min-age", "soon")
    assert "is no duration" in refused.communicate(timeout=240)[1]
    assert refused.returncode == 2
    done = command("recover", "--min-age", "0")
    assert flow_run_id in done.communicate(timeout=240)[0]


def test_seal_says_what_is_wrong_with_an_id():
    unknown = str(uuid.uuid4())
    nowhere = command("seal", unknown)
    assert "is in the Local Registry" in nowhere.communicate(timeout=240)[1]
    assert nowhere.returncode == 1
    wrong = command("seal", "nonsense")
    assert "UUID" in wrong.communicate(timeout=240)[1]
    assert wrong.returncode == 2
