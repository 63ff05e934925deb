"""Make the pictures of the documents anew, from the real UIs in a real browser.

    python -m tests.documents.make_pictures

It is the test of three nights that is run, which looks for what the pictures have to show.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs/pictures"
TEST = "tests/flows/test_three_nights.py"


def main() -> int:
    """Run the test, with the folder of the pictures as the place to keep them."""
    environment = {**os.environ, "OMMX_PREFECT_PICTURES": str(PICTURES)}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", TEST]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
