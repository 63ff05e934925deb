"""A test run that does not end: what `test_aborted_runs` aborts. Collected only by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

SLEEP = "import time; time.sleep(900)"


def test_that_waits_beside_what_it_started(server):
    """Start a server by its fixture and a process in a session of its own, and say where."""
    started = subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True)
    said = Path(os.environ["ENDLESS_SAYS"])
    unfinished = said.with_suffix(".part")
    unfinished.write_text(json.dumps({"pid": started.pid, "folder": os.environ["TEST_RUN_FOLDER"]}))
    unfinished.rename(said)
    time.sleep(900)
