"""Each promise of `SECURITY.md` names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SECURITY = (CHECKOUT / "SECURITY.md").read_text()


def test_what_shows_a_promise_is_there():
    files = {
        path for path in (CHECKOUT / "tests").rglob("*.py") if path.name != Path(__file__).name
    }
    known = {name for path in files for name in re.findall(r"def (test_\w+)", path.read_text())}
    named = set(re.findall(r"`(test_\w+)`", SECURITY))
    assert len(named) > 20
    assert named - known == set()
    for path in re.findall(r"`(tests/[\w/]+\.py)`", SECURITY):
        assert (CHECKOUT / path).exists(), path


def test_each_promise_says_how_it_is_shown():
    table = SECURITY.partition("## What is promised")[2].partition("##")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    for row in rows:
        assert re.search(r"`(test_\w+|tests/[\w/]+\.py)`|by design", row), row
