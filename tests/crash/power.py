"""Let the power fail at each moment of a small flow run, and see what is kept.

    python -m tests.crash.power [--every 7] [--at 3] [--only strict]

A flow run records attempts, takes a checkpoint and is sealed, in one process without Prefect,
which `strace` watches: OMMX's Rust and its SQLite, too. For each moment the disk is built that a
power failure may leave (see `disk`); there a fresh process seals, and another one seals again.
What is sealed is compared with a journal, whose lines are in the trace, so that what was said
before each moment is known. It prints a table, and exits with 1 when something is lost or doubled.

`strict` has PREFECT_INTEGRATIONS_OMMX_FLUSH_SECONDS=0: what ended is there. `default` has it unset:
what ended `LATEST_SECONDS` before is there, and a checkpoint that returned is there in both.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.crash import disk, faults, syscalls
from tests.support.watchdog import guarded_folder

SETTINGS = {"strict": "0", "default": ""}
ATTEMPTS = 6
# How many letters the output has, for each number: within the record, and beside it.
LETTERS = (0, 20_000, 10, 2_000, 10, 20_000)
PAUSE_SECONDS = 0.4
# One second is what a record waits; the rest is what a busy machine and `strace` take.
LATEST_SECONDS = 1.0 + 0.5


@dataclass(frozen=True)
class Moment:
    """A disk after one call, and all that was said before the next one.

    Attributes:
        number: How many calls there were.
        said: The lines of the journal, each with its time.
        seconds: When the next call began.
        before: What the last call was.
    """

    number: int
    said: tuple[tuple[float, str], ...]
    seconds: float
    before: str

    def lines(self, setting: str) -> list[str]:
        """Return the journal without what may be lost."""
        latest = self.seconds - (0 if setting == "strict" else LATEST_SECONDS)
        return [line for at, line in self.said if at <= latest or not line.startswith("ended")]


def main() -> int:
    """Let the power fail at all moments; 0 where nothing is lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="strict or default")
    parser.add_argument("--every", type=int, default=1, help="every n-th moment")
    parser.add_argument("--at", type=int, default=1, help="the first moment")
    parser.add_argument("--record", default="", help="only record, in this folder")
    arguments = parser.parse_args()
    if arguments.record:
        return _recorded(Path(arguments.record))
    folder = guarded_folder("ommx-prefect-power-").resolve()
    os.environ |= {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "DOCKER_CONFIG": str(folder),
    }
    os.environ.pop("PREFECT_API_URL", None)
    bad = 0
    for setting in (x for x in SETTINGS if arguments.only in ("", x)):
        bad += _run(folder / setting, setting, arguments)
    print(f"{bad} power failures lost or doubled something")
    return int(bool(bad))


def _run(folder: Path, setting: str, arguments: argparse.Namespace) -> int:
    """Record under a setting, and let the power fail; return how often something was lost."""
    calls = _traced(folder, SETTINGS[setting])
    _warm()
    ends: dict[str, Counter[str]] = {end: Counter() for end in disk.ENDS}
    chosen = _different_disks(folder, calls)
    chosen = [x for end in chosen.values() for x in end[arguments.at - 1 :: arguments.every]]
    for place, end, moment in _failures(folder, calls, chosen):
        problem = _case(folder / "built", place, end, moment, setting)
        ends[end]["wrong" if problem else "right"] += 1
        if problem:
            print(f"{setting}, {end}, after {moment.number} {moment.before}: {problem}", flush=True)
    for end, counts in ends.items():
        print(f"{setting:<9}{end:<12}{sum(counts.values()):>5} disks: {dict(counts)}", flush=True)
    return sum(counts["wrong"] for counts in ends.values())


# ---------------------------------------------------------------- the disks


def _moments(folder: Path, calls: list[syscalls.Call]) -> Iterator[tuple[disk.Disk, Moment]]:
    """Yield the disk after each call that changes it, with what was said before the next one."""
    place, number, before = disk.Disk(folder / "scene/registry"), 0, ""
    said: list[tuple[float, str]] = []
    for call in calls:
        if line := _said(call, folder / "scene/journal"):
            said.append((call.seconds, line))
            continue
        if number:
            # Made before the call is applied: who asks looks at the disk as it is.
            yield place, Moment(number, tuple(said), call.seconds, before)
        if place.apply(call):
            number, before = number + 1, f"{call.name} {call.parts[0]!r}"
    yield place, Moment(number, tuple(said), float("inf"), before)
    _compare(place, folder / "scene/registry")


def _said(call: syscalls.Call, journal: Path) -> str:
    """Return what a call writes into the journal."""
    opened, *rest = call.parts
    if call.name == "write" and opened[1] == str(journal) and isinstance(rest[0], bytes):
        return rest[0].decode().strip()
    return ""


def _different_disks(folder: Path, calls: list[syscalls.Call]) -> dict[str, list[tuple[int, str]]]:
    """Return the last moment of each disk that differs from the one after it, for each end."""
    digests: dict[str, list[str]] = {end: [] for end in disk.ENDS}
    for place, _ in _moments(folder, calls):
        for end, known in digests.items():
            known.append(place.digest(end))
    return {
        end: [(at, end) for at, x in enumerate(known) if [x] != known[at + 1 : at + 2]]
        for end, known in digests.items()
    }


def _failures(
    folder: Path, calls: list[syscalls.Call], chosen: list[tuple[int, str]]
) -> Iterator[tuple[disk.Disk, str, Moment]]:
    for number, (place, moment) in enumerate(_moments(folder, calls)):
        for end in (end for at, end in chosen if at == number):
            yield place, end, moment


def _compare(place: disk.Disk, folder: Path) -> None:
    """Check that the trace told all: without a power failure the model is what is really there."""
    found = {str(path): path for path in folder.rglob("*")}
    assert found.keys() == place.names.keys(), found.keys() ^ place.names.keys()
    for name, file in place.names.items():
        if file is not None and not name.endswith("-shm"):
            assert found[name].read_bytes() == file.data, name


# ---------------------------------------------------------------- the seals, and the comparison


def _case(built: Path, place: disk.Disk, end: str, moment: Moment, setting: str) -> str:
    """Build a disk, seal there twice, and say what is lost or doubled."""
    shutil.rmtree(built, ignore_errors=True)
    (built / "registry").mkdir(parents=True)
    place.build(end, built / "registry")
    scene = _scene(built, (built.parent / "scene/flow_run_id").read_text())
    journal = moment.lines(setting)
    found = [faults._in_a_fork(scene, lambda: _sealed(scene, end, setting))[0] for _ in range(2)]
    if not journal and "NotSealedError" in str(found[0]):  # nothing had been promised
        return ""
    if isinstance(found[0], dict) and found[0] != found[1]:
        return f"the second seal has {found[1]} instead of {found[0]}"
    return "; ".join(judged(journal, found[0]))


def _sealed(scene: Any, end: str, setting: str) -> dict[str, Any]:
    """Seal and tell what is sealed; a record whose flush was cut short is refused, and set aside.

    That is one of several pages under `default`: under `strict` it has no name before its flush.
    """
    from ommx_prefect import exceptions
    from ommx_prefect._recovery.by_hand import seal_by_hand
    from ommx_prefect._stages.documents import STATE_RECORD, End, write_document
    from ommx_prefect._stages.local import LocalStage

    try:
        return faults._sealed(scene)
    except exceptions.SealError as error:
        is_cut_short = "incomplete input" in str(error) and "--quarantine" in str(error)
        if not (is_cut_short and end == disk.IN_PART and setting == "default"):
            raise
    write_document(LocalStage(scene.flow_run_id), STATE_RECORD, End("finished", "Completed", None))
    seal_by_hand(scene.flow_run_id, quarantine=True)
    return faults._sealed(scene)


def judged(journal: list[str], found: dict[str, Any] | str | None) -> list[str]:
    """Say what of a journal is lost or doubled in what is sealed."""
    if not isinstance(found, dict):
        return [f"the seal failed: {found}"]
    began = [line.removeprefix("began ") for line in journal if line.startswith("began")]
    problems = faults._judged(journal, found | {"pushed": True}, may_lack=False)
    runs = {key: (status, output) for key, status, output, _ in found["runs"]}
    for key, (status, output) in runs.items():
        right = {"finished": key in began and began.index(key), "interrupted": None}
        if status not in right or output != right[status]:
            problems.append(f"{key} is {status} with {output}")
    for key in (line.removeprefix("kept ") for line in journal if line.startswith("kept")):
        if key not in runs or (runs[key][0] != "finished" and key not in found["kept"]):
            problems.append(f"the checkpoint of {key} is lost")
    return problems


# ---------------------------------------------------------------- the flow run


def _traced(folder: Path, seconds: str) -> list[syscalls.Call]:
    """Let a process record and seal under `strace`; return its calls, below its folder or not."""
    scene, trace = folder / "scene", folder / "trace"
    (scene / "registry").mkdir(parents=True)
    environment = os.environ | {"OMMX_LOCAL_REGISTRY_ROOT": str(scene / "registry")}
    if seconds:
        environment["PREFECT_INTEGRATIONS_OMMX_FLUSH_SECONDS"] = seconds
    own = [sys.executable, "-m", "tests.crash.power", "--record", str(scene)]
    subprocess.run([*syscalls.command(trace), *own], env=environment, check=True)
    return list(syscalls.read_calls(trace))


def _warm() -> None:
    """Import what each fork would import."""
    import pandas  # noqa: F401

    import ommx_prefect._sealing.seal
    import ommx_prefect._stages.unsealed  # noqa: F401


def _scene(folder: Path, flow_run_id: str) -> Any:
    from tests.security.fuzzing.scenes import PLACES, Scene

    return Scene(folder, PLACES["local"], flow_run_id, "registry.example")


def _recorded(folder: Path) -> int:
    from ommx_prefect._stages import resolve
    from ommx_prefect._stages.documents import FLOW_RECORD, write_document
    from ommx_prefect.testing._scene import flow_record, new_id

    scene = _scene(folder, new_id())
    (folder / "flow_run_id").write_text(scene.flow_run_id)
    watched = argparse.Namespace()  # of faults, of which none is injected here
    journal = os.open(folder / "journal", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    record = replace(flow_record(scene.flow_run_id), stage="local")
    write_document(resolve.stage_at(scene.flow_run_id, "local"), FLOW_RECORD, record)
    faults._note(watched, journal, f"flow {scene.flow_run_id}")
    for number in range(ATTEMPTS):
        faults._record(scene, watched, journal, number, LETTERS[number])
        time.sleep(PAUSE_SECONDS)
    faults._seal(scene)
    faults._note(watched, journal, f"sealed {scene.flow_run_id}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
