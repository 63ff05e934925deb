"""What a table looks like on a terminal: nothing that people read or copy is broken."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

pytestmark = pytest.mark.server  # a process for each terminal
TITLES = ("image", "status", "flow", "deployment", "flow run", "runs", "objective")
LONG = "registry.test/acme/nightly:20261130T042450-certain-markhor"
ROWS = [
    (LONG, "finished", "nightly", "", "certain-markhor", 1234, 20790.9190239),
    (f"{LONG} (checkpoint)", "interrupted", "nightly", "", "rose-fennec", 5, None),
]
REASON = "its process 4711 on node-3 is gone, and nobody told Prefect, which calls it Running"


def on_terminal(columns, titles, rows):
    """The lines of a table on a terminal of so many columns."""
    code = f"from ommx_prefect.cli._table import print_table; print_table({titles!r}, {rows!r})"
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "CI")}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=theirs, env={**env, "TERM": "xterm"}
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # the other end is closed
            chunk = b""
        if not chunk:
            break
        said += chunk
    os.close(ours)
    assert process.wait() == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", said.decode()).splitlines()


def test_a_terminal_that_is_wide_enough_has_columns_and_no_empty_one():
    head, *rows = on_terminal(150, TITLES, ROWS)
    assert head.split() == ["image", "status", "flow", "flow", "run", "runs", "objective"]
    assert [row.split()[0] for row in rows] == [LONG, LONG]
    assert rows[0].split()[-1] == "20790.9190239"


def test_a_narrow_one_has_rows_in_which_no_name_and_no_number_is_broken():
    lines = on_terminal(80, TITLES, ROWS)
    assert max(map(len, lines)) <= 80
    assert lines[0] == LONG
    assert lines[1].split("  ") == [
        "", "status finished", "flow nightly", "flow run certain-markhor", "runs 1234",
    ]  # fmt: skip
    assert lines[2].strip() == "objective 20790.9190239"
    assert lines[3] == f"{LONG} (checkpoint)"
    assert "deployment" not in "".join(lines)


@pytest.mark.parametrize("columns", [80, 120])
def test_a_sentence_wraps_between_words_beside_columns_that_do_not(columns):
    titles, rows = ("run", "status", "dual bound", "reason"), [(3, "interrupted", 7.5, REASON)]
    head, *lines = on_terminal(columns, titles, rows)
    assert head.split() == ["run", "status", "dual", "bound", "reason"]
    assert max(map(len, lines)) <= columns
    assert "interrupted" in lines[0]
    words = " ".join(lines).split()
    assert " ".join(words[3:]) == REASON


def test_a_pipe_gets_every_column_whatever_its_width():
    code = f"from ommx_prefect.cli._table import print_table; print_table({TITLES!r}, {ROWS!r})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    head, *rows = said.stdout.splitlines()
    assert "deployment" in head
    assert len(rows) == 2
