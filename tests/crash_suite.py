"""Kill flow runs in every way we know of, seal, and compare with a journal that is not ours.

    python tests/crash_suite.py --repeat 20

prints a table (where killed, how often, runs ended before the kill, runs found after the seal,
lost, doubled) and exits with 1 when anything is lost, doubled or has a wrong status. A step counts
as ended when the flow has written so to its journal (appended and synced), which it does in the
statement after the task's call, or after the future's result. Such a step must be in the sealed
experiment exactly once, with its true status; every other Run there must be a step at most once.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

HERE = Path(__file__).resolve().parent
FLOWS = HERE / "crash_flow.py"
SEALING = HERE / "crash_sealing.py"
PATIENCE_SECONDS = 90
OUTAGE_SECONDS = 10


@dataclasses.dataclass
class Row:
    """One line of the table."""

    where: str
    times: int = 0
    ended: int = 0
    found: int = 0
    lost: int = 0
    doubled: int = 0
    interrupted: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)

    def judge(self, journal: Path, flow_run_id: str) -> None:
        from ommx_prefect import load_experiment

        ended = {x: status for kind, x, status in _lines(journal) if kind == "ended"}
        experiment = load_experiment(flow_run_id)
        steps = experiment.run_parameters_df()["x"].astype("float64").tolist()
        found = [
            (str(int(x)), run.status)
            for x, run in zip(steps, experiment.runs, strict=True)
            if x == x  # NaN: cut off, or before it logged anything
        ]
        counts = Counter(x for x, _ in found)
        statuses = dict(found)
        lost = [x for x, status in ended.items() if statuses.get(x) != status]
        doubled = [x for x, count in counts.items() if count > 1]
        self.times += 1
        self.ended += len(ended)
        self.found += len(experiment.runs)
        self.lost += len(lost)
        self.doubled += len(doubled)
        self.interrupted += sum(run.status == "interrupted" for run in experiment.runs)
        if lost or doubled:
            self.problems.append(f"{flow_run_id}: lost {lost}, doubled {doubled}")


@dataclasses.dataclass
class Suite:
    """Where it all happens, and the chance that says when."""

    folder: Path
    server: Server
    chance: random.Random
    every: int = 1
    number: int = 0

    def journal(self) -> Path:
        self.number += 1
        return self.folder / f"journal-{self.number}"


class Server:
    """A Prefect server on 127.0.0.1 that can be killed and started again on its port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.log = (folder / "server.log").open("ab")
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(self.port)]
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, start_new_session=True
        )
        _until(self._answers, "the server answers")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)  # its own session, started above
        self.process.wait()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


# ---------------------------------------------------------------- ways to die


def script_dies(
    suite: Suite, row: Row, number: int, name: str = "one_by_one", most: int = 25
) -> None:
    journal = suite.journal()
    process = _python(FLOWS, name, journal)
    flow_run_id, _ = _flow_of(journal)
    _wait_for_steps(suite, journal, most)
    process.send_signal(number)
    process.wait(60)
    _settle(flow_run_id)
    row.judge(journal, flow_run_id)


def script_ends(suite: Suite, row: Row, name: str) -> None:
    journal = suite.journal()
    _python(FLOWS, name, journal).wait(120)
    flow_run_id, _ = _flow_of(journal)
    row.judge(journal, flow_run_id)


def pool_process_dies(suite: Suite, row: Row) -> None:
    journal = suite.journal()
    process = _python(FLOWS, "in_a_pool", journal)
    flow_run_id, _ = _flow_of(journal)
    pid = _until(lambda: _word(journal, "pool"), "a pool process began")
    time.sleep(suite.chance.uniform(0, 1))
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(pid), signal.SIGKILL)
    process.wait(120)
    _settle(flow_run_id)
    row.judge(journal, flow_run_id)


def served_flow_dies(suite: Suite, row: Row, number: int | None) -> None:
    journal = suite.journal()
    served = _python(FLOWS, "serve", "-")
    try:
        _deployed_flow_dies(suite, row, "one-by-one/crash", journal, number)
    finally:
        _stop(served)


def worker_flow_dies(suite: Suite, row: Row, number: int, *, service: bool = False) -> None:
    journal = suite.journal()
    worker = _worker(suite)
    try:
        victim = worker if service else None
        _deployed_flow_dies(suite, row, "one-by-one/pooled", journal, number, victim)
    finally:
        _stop(worker)


def server_goes_away(suite: Suite, row: Row) -> None:
    journal = suite.journal()
    process = _python(FLOWS, "one_by_one", journal)
    flow_run_id, _ = _flow_of(journal)
    _wait_for_steps(suite, journal)
    suite.server.kill()
    time.sleep(OUTAGE_SECONDS)
    suite.server.start()
    process.wait(180)
    _settle(flow_run_id)
    row.judge(journal, flow_run_id)


def sealing_dies(suite: Suite, row: Row, status: str, every: int) -> None:
    """Kill the sealing process at each point; `every` n-th of them, at a random offset."""
    template, flow_run_id = _unsealed_registry(suite, row, sealed_before=status == "finished")
    wanted = _sealing(suite, template, flow_run_id, status, "count")
    for point in range(1 + suite.chance.randrange(every), wanted["points"] + 1, every):
        found = _sealing(suite, template, flow_run_id, status, str(point))
        row.times += 1
        row.ended += len(wanted["runs"])
        row.found += len(found["runs"])
        row.lost += len(_missing(wanted["runs"], found["runs"]))
        row.doubled += len(_missing(found["runs"], wanted["runs"]))
        if differs := [k for k in wanted if k != "points" and wanted[k] != found[k]]:
            row.problems.append(f"point {point}: {[(wanted[k], found[k]) for k in differs]}")


def _missing(wanted: list[object], found: list[object]) -> list[object]:
    return [run for run in wanted if run not in found]


# ---------------------------------------------------------------- how they are arranged


def _deployed_flow_dies(
    suite: Suite,
    row: Row,
    deployment: str,
    journal: Path,
    number: int | None,
    victim: subprocess.Popen[bytes] | None = None,
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling

    with get_client(sync_client=True) as client:
        found = _until(lambda: _deployment(client, deployment), f"{deployment} is there")
        run = client.create_flow_run_from_deployment(found.id, parameters={"path": str(journal)})
        flow_run_id, pid = _flow_of(journal)
        _wait_for_steps(suite, journal)
        if number is None:
            client.set_flow_run_state(run.id, Cancelling(), force=True)
        elif victim is not None:
            victim.send_signal(number)
        else:
            os.kill(pid, number)
    _settle(flow_run_id, recover=victim is not None)
    row.judge(journal, flow_run_id)


def _deployment(client: object, name: str) -> object | None:
    with contextlib.suppress(Exception):
        return client.read_deployment_by_name(name)  # type: ignore[attr-defined]
    return None


def _worker(suite: Suite) -> subprocess.Popen[bytes]:
    import prefect
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    with get_client(sync_client=True) as client, contextlib.suppress(Exception):
        client.create_work_pool(WorkPoolCreate(name="crash", type="process"))
    source = prefect.flow.from_source(str(HERE), entrypoint=f"{FLOWS.name}:one_by_one")
    source.deploy(name="pooled", work_pool_name="crash", build=False, print_next_steps=False)
    command = ["-m", "prefect", "worker", "start", "--pool", "crash", "--type", "process"]
    return _python(*command)


def _unsealed_registry(suite: Suite, row: Row, *, sealed_before: bool) -> tuple[Path, str]:
    """A registry of its own with a killed flow run; perhaps with an earlier seal of half of it."""
    journal = suite.journal()
    registry = suite.folder / f"registry-{suite.number}"
    env = {"OMMX_LOCAL_REGISTRY_ROOT": str(registry)}
    process = _python(FLOWS, "one_by_one", journal, env=env)
    flow_run_id, _ = _flow_of(journal)
    _wait_for_steps(suite, journal)
    process.kill()
    process.wait()
    if sealed_before:
        shards = registry / "ommx-prefect" / flow_run_id / "shards"
        aside = registry / "aside"
        aside.mkdir()
        held_back = sorted(shards.iterdir())[::2]
        for shard in held_back:  # their attempts are called cut off, and come after all
            shard.rename(aside / shard.name)
        _run_sealing(registry, flow_run_id, "interrupted", "seal")
        for shard in held_back:
            (aside / shard.name).rename(shards / shard.name)
    return registry, flow_run_id


def _sealing(
    suite: Suite, template: Path, flow_run_id: str, status: str, what: str
) -> dict[str, list[object]]:
    registry = suite.folder / "sealing"
    shutil.copytree(template, registry)
    try:
        if what != "count":
            killed = _run_sealing(registry, flow_run_id, status, what)
            if killed.returncode != -signal.SIGKILL:
                raise AssertionError(f"not killed at {what}: {killed}")
        last = _run_sealing(registry, flow_run_id, status, "count" if what == "count" else "seal")
        if last.returncode != 0:
            raise AssertionError(last.stderr)
        return json.loads(last.stdout)
    finally:
        shutil.rmtree(registry)


def _run_sealing(
    registry: Path, flow_run_id: str, status: str, what: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SEALING), str(registry), flow_run_id, status, what]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def _settle(flow_run_id: str, *, recover: bool = True) -> None:
    """Let the hook or `recover` seal, both at once if it so happens; then recover once more."""
    from ommx_prefect import exceptions, load_experiment
    from ommx_prefect._recover import recover as seal_what_waits

    def sealed() -> bool:
        if recover:
            rows = list(seal_what_waits(min_age_seconds=0))
            failed = [row.why for row in rows if row.owner == flow_run_id and row.done == "failed"]
            assert not failed, failed
        try:
            load_experiment(flow_run_id)
        except exceptions.NotSealedError:
            return False
        return True

    _until(sealed, f"{flow_run_id} is sealed")
    list(seal_what_waits(min_age_seconds=0))


def _python(*arguments: object, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, **(env or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _lines(journal: Path) -> Iterator[tuple[str, str, str]]:
    if journal.exists():
        for line in journal.read_text().splitlines():
            kind, *words = line.split()
            yield kind, words[0], words[-1]


def _word(journal: Path, kind: str) -> str | None:
    return next((first for name, first, _ in _lines(journal) if name == kind), None)


def _flow_of(journal: Path) -> tuple[str, int]:
    flow_run_id, pid = _until(
        lambda: next(((x, pid) for kind, x, pid in _lines(journal) if kind == "flow"), None),
        "the flow began",
    )
    return flow_run_id, int(pid)


def _wait_for_steps(suite: Suite, journal: Path, most: int = 25) -> None:
    """Wait until a random moment: some steps have ended, and another one runs."""
    wanted = suite.chance.randint(1, most)
    _until(lambda: sum(kind == "ended" for kind, *_ in _lines(journal)) >= wanted, "steps end")
    time.sleep(suite.chance.uniform(0, 0.05))


def _until(ask: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := ask():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not in {PATIENCE_SECONDS} s: {what}")


# ---------------------------------------------------------------- the table

KILL, TERM, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT

CASES: dict[str, Callable[[Suite, Row], None]] = {
    "script, kill -9": lambda s, r: script_dies(s, r, KILL),
    "script, SIGTERM": lambda s, r: script_dies(s, r, TERM),
    "script, SIGINT": lambda s, r: script_dies(s, r, INT),
    "script with a process pool, kill -9": lambda s, r: script_dies(s, r, KILL, "in_a_pool", 8),
    "pool process, kill -9": pool_process_dies,
    "served flow, kill -9": lambda s, r: served_flow_dies(s, r, KILL),
    "served flow, SIGTERM": lambda s, r: served_flow_dies(s, r, TERM),
    "served flow, cancelled": lambda s, r: served_flow_dies(s, r, None),
    "worker's flow, kill -9": lambda s, r: worker_flow_dies(s, r, KILL),
    "worker's flow, SIGTERM": lambda s, r: worker_flow_dies(s, r, TERM),
    "worker service, SIGTERM": lambda s, r: worker_flow_dies(s, r, TERM, service=True),
    "worker service, kill -9": lambda s, r: worker_flow_dies(s, r, KILL, service=True),
    "task timeout": lambda s, r: script_ends(s, r, "with_a_task_timeout"),
    "flow timeout": lambda s, r: script_ends(s, r, "with_a_flow_timeout"),
    "server away for ten seconds": server_goes_away,
    "sealing process, first seal": lambda s, r: sealing_dies(s, r, "interrupted", s.every),
    "sealing process, extending seal": lambda s, r: sealing_dies(s, r, "finished", s.every),
}


def run_case(suite: Suite, name: str, repeat: int) -> Row:
    row = Row(name)
    for _ in range(repeat):
        try:
            CASES[name](suite, row)
        except Exception as error:
            row.problems.append(f"{type(error).__name__}: {error}")
    return row


def show(rows: list[Row]) -> None:
    titles = ("where killed", "times", "ended", "found", "interrupted", "lost", "doubled")
    print("".join(f"{title:>12}" if i else f"{title:<38}" for i, title in enumerate(titles)))
    for row in rows:
        cells = (row.times, row.ended, row.found, row.interrupted, row.lost, row.doubled)
        print(f"{row.where:<38}" + "".join(f"{cell:>12}" for cell in cells), flush=True)
        for problem in row.problems:
            print(f"    {problem[:2000]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=1, help="how often each process is killed")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--every", type=int, default=1, help="every n-th point of sealing")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--json", type=Path, default=None, help="also write the rows there")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(10**6)
    print(f"seed {seed}", flush=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    names = [name for name in CASES if arguments.only in name]
    with tempfile.TemporaryDirectory(prefix="ommx-prefect-crashes-") as folder:
        rows = _run(Path(folder), names, arguments, random.Random(seed))
    if arguments.json:
        arguments.json.write_text(json.dumps([dataclasses.asdict(row) for row in rows]))
    return int(any(row.problems or row.lost or row.doubled for row in rows))


def _run(
    folder: Path, names: list[str], arguments: argparse.Namespace, chance: random.Random
) -> list[Row]:
    os.environ["OMMX_LOCAL_REGISTRY_ROOT"] = str(folder / "registry")
    os.environ["PREFECT_HOME"] = str(folder / "prefect")
    os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    server = Server(folder)
    os.environ["PREFECT_API_URL"] = server.url
    suite = Suite(folder, server, chance, every=arguments.every)
    rows: list[Row] = []
    try:
        for name in names:
            rows.append(run_case(suite, name, arguments.repeat))
            show(rows[-1:])
    finally:
        server.kill()
    print()
    show(rows)
    return rows


if __name__ == "__main__":
    sys.exit(main())
