"""Import this first: a registry and a home of Prefect's of their own, and no log of theirs."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

SCRATCH = tempfile.mkdtemp(prefix="ommx-prefect-benchmark-")
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)

os.environ["OMMX_LOCAL_REGISTRY_ROOT"] = f"{SCRATCH}/registry"
os.environ.setdefault("PREFECT_HOME", f"{SCRATCH}/prefect")
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
# The first start of a temporary server makes its database, which takes a while.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "240")
