"""A seal in parts is killed at points all over it: no index without its parts, nothing doubled."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.large_nights import FEW_BYTES, RUNS

CHECKOUT = Path(__file__).parents[2]
TAKEN_SECONDS = 240
# So many of the points are tried, at equal distances, and with --full.
KILLS, MANY_KILLS = 3, 30
NAME = "nights.local/killed:one"

# A flow run that was sealed in parts when it failed, and got one more Run since.
STAGE = f"""
from ommx_prefect._sealing import parts
from tests.support.large_nights import record_run, sealed_night, staged_night
parts.MOST_MANIFEST_BYTES = {FEW_BYTES}
flow_run_id = staged_night({NAME!r})
sealed_night(flow_run_id, "failed")
record_run(flow_run_id, {RUNS}, started_at=1.0)
print(flow_run_id)
"""
# The sealer of the crash suite; it tells as well what a killed seal has left.
SEALER = f"""
import json, sys
from ommx.experiment import Experiment, list_experiment_checkpoints, list_experiments
from ommx_prefect._format.parts import PARTS
from ommx_prefect._registry.parts import places_in
from ommx_prefect._sealing import parts
from tests.crash import sealing

parts.MOST_MANIFEST_BYTES = {FEW_BYTES}
seal_and_tell = sealing.seal_and_tell

def look():
    refs = [*list_experiments(), *list_experiment_checkpoints()]
    indexes = [ref.manifest_digest for ref in refs if PARTS in ref.annotations]
    repository = {NAME!r}.rpartition(":")[0]
    return [
        sum(len(Experiment.load(f"{{repository}}:{{x.tag}}").runs) for x in places_in(digest))
        for digest in indexes
    ]

def seal_or_look(flow_run_id, status):
    return look() if status == "look" else seal_and_tell(flow_run_id, status)

sealing.seal_and_tell = seal_or_look
for line in sys.stdin:
    print(json.dumps(sealing._answer(*json.loads(line))), flush=True)
"""


class Sealer:
    """The process that forks one for each seal, on copies of a registry."""

    def __init__(self, template: Path, flow_run_id: str, process: subprocess.Popen[str]) -> None:
        self.template, self.flow_run_id, self.process = template, flow_run_id, process

    def ask(self, registry: Path, status: str, what: str | int) -> tuple[int, str]:
        assert self.process.stdin
        assert self.process.stdout
        request = [str(registry), self.flow_run_id, status, what]
        print(json.dumps(request), file=self.process.stdin, flush=True)
        code, printed = json.loads(self.process.stdout.readline())
        return code, printed

    def told(self, registry: Path, status: str, what: str | int = "seal") -> Any:
        code, printed = self.ask(registry, status, what)
        assert code == 0, printed
        return json.loads(printed)

    @contextmanager
    def copy(self) -> Iterator[Path]:
        registry = self.template.with_name("copy")
        shutil.copytree(self.template, registry)
        yield registry
        shutil.rmtree(registry)


@pytest.fixture
def sealer(tmp_path):
    env = {**os.environ, "OMMX_LOCAL_REGISTRY_ROOT": str(tmp_path / "template")}
    command = [sys.executable, "-c", STAGE]
    flow_run_id = subprocess.check_output(
        command, env=env, cwd=CHECKOUT, text=True, timeout=TAKEN_SECONDS
    ).strip()
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", SEALER]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=CHECKOUT, text=True) as process:
        yield Sealer(tmp_path / "template", flow_run_id, process)
        assert process.stdin
        process.stdin.close()


@pytest.mark.server  # it takes a while
def test_a_seal_in_parts_may_be_killed_anywhere(sealer, pytestconfig):
    with sealer.copy() as registry:
        wanted = sealer.told(registry, "finished", "count")
        assert sealer.told(registry, "look") == [RUNS + 1]
    points = wanted.pop("points")
    assert len(wanted["runs"]) == RUNS + 1
    seen = set()
    kills = MANY_KILLS if pytestconfig.getoption("full") else KILLS
    for point in range(1, points + 1, max(1, points // kills)):
        with sealer.copy() as registry:
            code, printed = sealer.ask(registry, "finished", point)
            assert code == -signal.SIGKILL, printed
            # What has a name then is the failed one, the finished one, or both: each whole.
            left = sealer.told(registry, "look")
            assert set(left) <= {RUNS, RUNS + 1}
            assert left
            seen.add(tuple(sorted(left)))
            found = sealer.told(registry, "finished")
            found.pop("points")
            assert found == wanted, f"killed at point {point}"
            assert sealer.told(registry, "look") == [RUNS + 1]
    assert (RUNS,) in seen
