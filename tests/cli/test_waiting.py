"""People are told that a command is still at work: a line on a terminal, lines elsewhere."""

from __future__ import annotations

import time

import pytest

from ommx_prefect._oci.retries import BRIEF_RETRY, RetryTable, retrying
from ommx_prefect.cli import _waiting
from ommx_prefect.cli._waiting import working
from ommx_prefect.exceptions import RegistryUnavailableError


def test_what_is_short_says_nothing(capsys):
    with working("reading", 3) as work:
        work.advance()
    assert capsys.readouterr() == ("", "")


def test_elsewhere_a_plain_line_comes_every_so_often(capsys, monkeypatch):
    monkeypatch.setattr(_waiting, "EVERY_SECONDS", 0.05)
    with working("reading\x1b[31m", 3) as work:
        work.advance("the next")
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert lines[0] == "... the next, 1 of 3 (0 s)"


def test_on_a_terminal_rich_shows_it_after_a_while(capsys, monkeypatch):
    monkeypatch.setattr(_waiting, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    with working("reading [red]x", 2):
        time.sleep(0.6)
    assert "reading [red]x" in capsys.readouterr().err


def test_what_is_tried_again_is_a_part_of_the_line_and_no_warning(capsys, monkeypatch, caplog):
    monkeypatch.setattr(_waiting, "EVERY_SECONDS", 0.05)
    away = RegistryUnavailableError("ghcr.io", "acme/nightly", "it cannot be reached")

    def fail() -> None:
        raise away

    once_more: RetryTable = {**BRIEF_RETRY, "attempts": 2, "wait_initial": 0.3}
    with working("pushing"), pytest.raises(RegistryUnavailableError):
        retrying(once_more, fail)
    assert "A registry did not answer; attempt 2" in capsys.readouterr().err
    assert not caplog.records
    with pytest.raises(RegistryUnavailableError):  # beside no work it is a warning as ever
        retrying(once_more, fail)
    assert "A registry did not answer" in caplog.text
