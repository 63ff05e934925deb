"""Let everything that a small flow run does to a disk or a registry go wrong, one by one.

    python -m tests.crash.faults [--only local] [--every 7]

A flow run records three attempts, is sealed and pushed, in one process without Prefect. For each
point of it (see `injected`) and each kind of fault that is done once more, with the fault; then
a fresh process seals it, and what is sealed is compared with a journal. It prints a table, and
exits with 1 when anything is lost or doubled.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.watchdog import guarded_folder

ATTEMPTS = 3
PLACES = ("local", "disk", "oci", "oci, in groups")
# Letters of the longer outputs, which lie beside their records; small records are put together.
LONG, SHORT = 20_000, 100
# What runs in a process of its own may take so long; a registry is asked again for a minute.
PATIENCE_SECONDS = 150


def main() -> int:
    """Try all points; 0 where nothing is lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help=f"the place: {', '.join(PLACES)}")
    parser.add_argument("--kind", default="", help="fails, keeps failing, or dies")
    parser.add_argument("--every", type=int, default=1, help="every n-th point")
    parser.add_argument("--at", type=int, default=1, help="the first point")
    arguments = parser.parse_args()
    folder = guarded_folder("ommx-prefect-faults-")
    os.environ |= {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_INTEGRATIONS_OMMX_FLUSH_SECONDS": "0",  # no thread that flushes: same points
        "DOCKER_CONFIG": str(folder),
    }
    os.environ.pop("PREFECT_API_URL", None)
    from tests.support.folder_registry import folder_registry

    with folder_registry(folder / "scene" / "oci") as host:
        return _run(folder / "scene", host, arguments)


def _run(folder: Path, host: str, arguments: argparse.Namespace) -> int:
    from tests.crash.injected import DIES, FAILS, STAYS

    bad = 0
    for place in (x for x in PLACES if arguments.only in ("", x)):
        case = functools.partial(_case, folder, host, place)
        points, problem = case("", 0)
        assert not problem, problem
        for kind in (x for x in (FAILS, STAYS, DIES) if arguments.kind in ("", x)):
            ends: Counter[str] = Counter()
            for at in range(arguments.at, points + 1, arguments.every):
                where, problem = case(kind, at)
                ends["wrong" if problem else "right"] += 1
                if problem:
                    print(f"{place}, {kind} at {at} ({where}): {problem}", flush=True)
            print(f"{place:<16}{kind:<16}{points:>5} points: {dict(ends)}", flush=True)
            bad += ends["wrong"]
    print(f"{bad} faults lost or doubled something")
    return int(bool(bad))


def _case(folder: Path, host: str, place: str, kind: str, at: int) -> tuple[Any, str]:
    """Let one thing go wrong; return where, or how many points there are, and what is lost."""
    from tests.security.fuzzing.scenes import PLACES, Scene

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    scene = Scene(folder, replace(PLACES[place], image=host), _new_id(), host)
    where, died = _in_a_fork(scene, lambda: _flow_run(scene, kind, at))
    is_beyond = isinstance(where, int) and where < at  # the first flow run has further points
    if (kind == "dies") != died and not is_beyond:
        return where, f"it did not die as it was to: {where}"
    found, died = _in_a_fork(scene, lambda: _sealed(scene))
    if died or isinstance(found, str):
        return where, f"the fresh seal failed: {found}"
    journal = (folder / "journal").read_text().splitlines()
    return where, "; ".join(_judged(journal, found, may_lack=kind in ("fails", "keeps failing")))


# ---------------------------------------------------------------- the two processes


def _flow_run(scene: Any, kind: str, at: int) -> Any:
    """Record, seal and push; return how many points were passed, or where it went wrong."""
    from ommx_prefect import exceptions
    from ommx_prefect._stages import oci_gathering, resolve
    from ommx_prefect._stages.documents import FLOW_RECORD, write_document
    from ommx_prefect.testing._scene import flow_record
    from tests.crash.injected import STAYS, Faults

    resolve.store_at = lambda name: scene.store()  # type: ignore[assignment]
    stage = resolve.stage_at(scene.flow_run_id, scene.stage)
    record = replace(
        flow_record(scene.flow_run_id),
        stage=scene.stage,
        image_name=f"{scene.host}/acme/night:one",
        push=True,
    )
    write_document(stage, FLOW_RECORD, record)
    faults = Faults(scene.folder / "registry", kind, at)
    faults.inject()
    journal = os.open(scene.folder / "journal", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    oci_gathering.TOGETHER = scene.place.together or ATTEMPTS + 1
    for number in range(ATTEMPTS):
        _record(scene, faults, journal, number, SHORT if scene.place.together else LONG)
        oci_gathering.settle()  # the same points each time
    # Where nothing can be written for as long as the process lives, nothing is left of it.
    faults.is_on = not (kind == STAYS and faults.said)
    with contextlib.suppress(exceptions.OmmxPrefectError, OSError):  # the hook warns
        _seal(scene)
    return faults.said or faults.passed


def _record(scene: Any, faults: Any, journal: int, number: int, letters: int) -> None:
    from ommx_prefect._recording.options import RecordingOptions
    from ommx_prefect._recording.recording import Recording
    from ommx_prefect.testing._scene import attempt_of

    attempt = replace(attempt_of(scene.flow_run_id, number), pid=os.getpid())
    _note(faults, journal, f"began {attempt.key}")
    with Recording(attempt, RecordingOptions(), {"number": number}) as recording:
        if number == 1:
            recording.checkpoint({"best": [1.5] * 3})
            _note(faults, journal, f"kept {attempt.key}")
        recording.returned({"x": number, "long": "x" * letters * number})
    _note(faults, journal, f"ended {attempt.key}")


def _note(faults: Any, journal: int, line: str) -> None:
    faults.is_on = False
    os.write(journal, f"{line}\n".encode())
    os.fsync(journal)
    faults.is_on = True


def _seal(scene: Any) -> Any:
    from ommx_prefect._sealing.seal import seal_flow_run
    from ommx_prefect._stages.documents import End

    return seal_flow_run(
        scene.flow_run_id,
        end=End("finished", "Completed", None),
        stage=scene.stage,
        pending_seconds=0,
    )


def _sealed(scene: Any) -> dict[str, Any]:
    """Seal in a fresh process, and tell what is sealed."""
    from ommx.artifact import list_artifacts

    from ommx_prefect import load_experiment
    from ommx_prefect._oci.names import digest_of
    from ommx_prefect._registry.blobs import registry_root
    from ommx_prefect._stages import resolve
    from ommx_prefect._stages.unsealed import unsealed_flow_runs

    resolve.store_at = lambda name: scene.store()  # type: ignore[assignment]
    sealed = _seal(scene)
    experiment = load_experiment(scene.flow_run_id)
    pushed = scene.folder / "oci/acme/night/manifests/one"
    notes = [(run["key"], " ".join(run["notes"])) for run in experiment.get_json("ledger")["runs"]]
    outputs = [
        run.get_json("output") if "output" in run.attachment_names else None
        for run in experiment.runs
    ]
    return {
        "status": experiment.status,
        "pushed": sealed.pushed and digest_of(pushed.read_bytes()) == sealed.manifest_digest,
        "waits": unsealed_flow_runs(),
        "names": [ref.image_name for ref in list_artifacts(root=registry_root())],
        "kept": [
            key
            for (key, _), run in zip(notes, experiment.runs, strict=True)
            if "best" in run.attachment_names
        ],
        "runs": [
            [key, run.status, output and output["x"], said]
            for (key, said), run, output in zip(notes, experiment.runs, outputs, strict=True)
        ],
    }


def _in_a_fork(scene: Any, work: Callable[[], Any]) -> tuple[Any, bool]:
    """Do something in a process of its own; return what it returned, and whether it was killed."""
    answer = scene.folder / "answer.json"
    answer.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        os._exit(_child(scene, work, answer))
    _, status = os.waitpid(pid, 0)
    found = json.loads(answer.read_text()) if answer.exists() else None
    return found, os.waitstatus_to_exitcode(status) < 0


def _child(scene: Any, work: Callable[[], Any], answer: Path) -> int:
    import signal

    signal.alarm(PATIENCE_SECONDS)
    os.environ["OMMX_LOCAL_REGISTRY_ROOT"] = str(scene.folder / "registry")
    (scene.folder / "registry").mkdir(exist_ok=True)
    try:
        found = work()
    except BaseException:
        found = traceback.format_exc()[-2500:]
    answer.write_text(json.dumps(found))
    return 0


# ---------------------------------------------------------------- the comparison


def _judged(journal: list[str], found: dict[str, Any], *, may_lack: bool) -> list[str]:
    """Say what of a journal is lost or doubled in what is sealed.

    An output for which there was no room may be missing; then its Run says so.
    """
    began = [line.removeprefix("began ") for line in journal if line.startswith("began")]
    ended = {line.removeprefix("ended ") for line in journal if line.startswith("ended")}
    counts = Counter(key for key, *_ in found["runs"])
    problems = [f"{key} has {times} Runs" for key, times in counts.items() if times > 1]
    problems += [f"{key} never began" for key in counts.keys() - set(began)]
    problems += [f"{key} is lost" for key in ended - counts.keys()]
    for key, status, output, said in found["runs"]:
        is_whole = status == "finished" and output == began.index(key) if key in began else False
        is_told = may_lack and status == "finished" and "degraded" in said
        if key in ended and not (is_whole or is_told):
            problems.append(f"{key} is {status} with {output}: {said}")
    rest = {"status": "finished", "pushed": True, "waits": []}
    problems += [f"{name} is {found[name]}" for name in rest if found[name] != rest[name]]
    if len({name for name in found["names"] if "acme" in name}) > 2:  # its own, and the alias
        problems.append(f"the names are {found['names']}")
    return problems


def _new_id() -> str:
    from ommx_prefect.testing._scene import new_id

    return new_id()


if __name__ == "__main__":
    sys.exit(main())
