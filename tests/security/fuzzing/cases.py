"""One case of a changed stage: change, seal, and look whether all is as it must be.

Whatever was changed, what is sealed has the Runs of all records that were left alone, with all
that they hold; or there is one error that names what was changed. After an error nothing is lost:
what was mended is sealed as if nothing had been, or all is sealed but what is set aside. Nothing
outside of the stage is read, written or moved, and no case takes 10 s or 500 MB.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ommx.artifact import list_artifacts, remove_image, restore_image

from ommx_prefect import exceptions
from ommx_prefect._recovery.recover import recover
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._shards import unwritten
from ommx_prefect._stages import resolve
from ommx_prefect._stages.documents import QUARANTINE
from ommx_prefect._stages.store import ShardStore
from tests.security.fuzzing.changes import Change, damaged
from tests.security.fuzzing.forgery import ELSEWHERE, forged
from tests.security.fuzzing.named import KEY, files, keys_of, names_of
from tests.security.fuzzing.scenes import Runs, Scene, runs_in, seal

MOST_SECONDS, MOST_BYTES = 10, 500 * 2**20
LONGEST_ERROR = 3000
# Changes of which nothing can be kept: the registry does not give it, or not all of it.
NOT_KEPT = ("link", "large")
# Set, it shows the errors that setting aside does not end.
SHOW = "OMMX_PREFECT_FUZZ_SHOW"
# It comes and goes with the connections to it.
SQLITE = "index.sqlite3"
# What an error of this host's own settings says: no object is to blame.
NO_END = "does not tell how it ended"
# And of a folder on a shared disk where a document is to be: nobody removes what may be another's.
NO_FILE = "Is a directory"
# And of what a later release wrote, which is not to be set aside.
UPGRADE = "upgrade ommx_prefect"


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        what: `same`, `refused`, and so on: a column of the table.
        problem: What is not as it must be; empty where all is.
    """

    what: str
    problem: str = ""


def _store_of(scene: Scene, name: str) -> ShardStore:
    """Return the store of a scene; a flow record of the host's own may name another stage."""
    if scene.place.shared:
        return scene.store()
    raise exceptions.StageError(name, "it does not answer")


class Trial:
    """The cases of one scene, in a process whose Local Registry is the scene's.

    Args:
        scene: The scene.
        template: A copy of its folder, as it is before each case.
    """

    def __init__(self, scene: Scene, template: Path) -> None:
        self.scene, self.template = scene, template
        resolve.store_at = lambda name: _store_of(scene, name)  # type: ignore[assignment]
        self.names = _names()
        self.outside = self._outside()
        self.keys_of = keys_of(template, scene)
        began = time.monotonic()
        seal(scene)
        # A busy machine is no hang.
        self.most_seconds = MOST_SECONDS + 10 * (time.monotonic() - began)
        self.wanted: Runs = runs_in(scene)
        # What the process has anyway, with the registry's answers to one seal.
        self.base_bytes = _bytes_now()

    def case(self, seed: int) -> Outcome:
        """Try one change."""
        dice = random.Random(f"{self.scene.place.name}-{seed}")
        self._reset()
        change = self._as_believed(self._changed(dice))
        heals = bool(dice.randrange(2))
        outcome = self.watched(lambda: self._sealed(change, heals=heals), change.how)
        problem = outcome.problem or self._escaped()
        names = [str(path.relative_to(self.scene.folder)) for path in change.paths]
        return Outcome(outcome.what, f"{change.how} {names}: {problem}" if problem else "")

    def watched(self, work: Callable[[], Outcome], how: str) -> Outcome:
        """Do something; raising, taking too long or too much memory is a problem."""
        began = time.monotonic()
        _forget_peak()
        try:
            outcome = work()
        except Exception:
            return Outcome("raised", traceback.format_exc()[-3000:])
        seconds, used = time.monotonic() - began, _peak_bytes() - self.base_bytes
        # To set 200 MB aside is to write them.
        if not outcome.problem and seconds > self.most_seconds * (5 if how == "large" else 1):
            return Outcome(outcome.what, f"it took {seconds:.0f} s")
        if not outcome.problem and used > MOST_BYTES:
            return Outcome(outcome.what, f"it took {used / 2**20:.0f} MB")
        return outcome

    # ------------------------------------------------------------ before

    def _reset(self) -> None:
        shared = self.scene.place.shared.partition("/")[0]  # all repositories of a registry
        for folder in (self.scene.own, *([self.scene.folder / shared] if shared else [])):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(self.template / folder.relative_to(self.scene.folder), folder)
        root, there = registry_root(), _names()
        for name in {**there, **self.names}:
            if there.get(name) == self.names.get(name):
                continue
            if name in there:
                remove_image(name, root=root)
            if name in self.names:
                restore_image(name, self.names[name], root=root)
        unwritten.forget(self.scene.flow_run_id, list(self.wanted))

    def _changed(self, dice: random.Random) -> Change:
        scene = self.scene
        root = scene.shared if scene.place.shared else scene.own
        root = root / scene.flow_run_id if scene.place.shared == "shared" else root
        paths = files(root) + (files(scene.own) if root != scene.own else [])
        if dice.randrange(2):
            return damaged(paths, root, scene.folder / "outside", dice)
        return forged(files(root), root, scene.flow_run_id, dice)

    def _as_believed(self, change: Change) -> Change:
        """With a key, nobody without it says what he likes."""
        return replace(change, is_forged=change.is_forged and not self.scene.place.key)

    # ------------------------------------------------------------ the seal

    def _sealed(self, change: Change, *, heals: bool) -> Outcome:
        list(recover(min_age_seconds=0, dry_run=True))
        error = _error_of(lambda: seal(self.scene))
        if not error:
            return self._compared("same", change)
        if problem := self._misnamed(error, change):
            return Outcome("refused", problem)
        if heals:
            self._heal(change)
            seal(self.scene)
            return self._compared("refused, mended", Change("mended", ()))
        is_there = all(path.is_file() and path.stat().st_size for path in change.paths)
        error = _error_of(lambda: seal(self.scene, quarantine=True))
        if is_there and change.how not in NOT_KEPT and (lost := self._not_kept()):
            return Outcome("refused, set aside", f"nothing is kept of {lost}")
        if error:
            if SHOW in os.environ:
                print("refused for good:", change, error, flush=True)
            return Outcome("refused for good", self._misnamed(error, change) or _held_up(error))
        return self._compared("refused, set aside", change)

    def _not_kept(self) -> list[str]:
        """The records that were set aside, of which nothing is kept."""
        kept = self.scene.own / QUARANTINE
        return [x.name for x in kept.glob("*") if x.is_file() and not x.stat().st_size]

    def _heal(self, change: Change) -> None:
        for path in change.paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
            source = self.template / path.relative_to(self.scene.folder)
            if source.exists():
                shutil.copyfile(source, path)
            while not source.parent.exists():  # a folder that was planted with it
                path, source = path.parent, source.parent
                path.rmdir()

    # ------------------------------------------------------------ after

    def _compared(self, what: str, change: Change) -> Outcome:
        found = runs_in(self.scene)
        touched = {key for path in change.paths for key in self.keys_of.get(path.name, ())}
        touched |= {key for path in change.paths for key in KEY.findall(str(path))}
        for key in self.wanted.keys() - touched:
            if key not in found:
                return Outcome(what, f"{key} is lost")
            if _told(found[key], change) != _told(self.wanted[key], change):
                return Outcome(what, f"{key} is {found[key]}, not {self.wanted[key]}"[:2000])
        if change.is_forged:
            return Outcome(what)
        for key, run in found.items():
            if run[0] != "interrupted" and run != self.wanted.get(key):
                return Outcome(what, f"{key} became {run}, from {self.wanted.get(key)}"[:2000])
        return Outcome(what)

    def _misnamed(self, error: str, change: Change) -> str:
        """Say what is wrong with an error; empty if nothing is."""
        if len(error) > LONGEST_ERROR:
            return f"an error of {len(error)} characters: {error[:500]}"
        if "Traceback" in error:
            return error
        names = {x for path in change.paths for x in names_of(path, self.keys_of)}
        names.add(f"stage={ELSEWHERE!r}")  # of a flow record of this host's own
        if NO_END in error or any(name in error for name in names):
            return ""
        return f"it is not named in: {error}"

    def _outside(self) -> list[Any]:
        """What nobody may touch: what lies outside, other flow runs, and which folders exist."""
        scene = self.scene
        tops = (scene.folder, scene.folder / "registry")
        found: list[Any] = [
            x for top in tops for x in sorted(os.listdir(top)) if not x.startswith(SQLITE)
        ]
        stages = scene.own.parent
        others = [path for x in sorted(stages.iterdir()) if x != scene.own for path in x.rglob("*")]
        for path in sorted([*(scene.folder / "outside").rglob("*"), *others]):
            found.append((str(path), path.stat().st_size, path.stat().st_mtime_ns))
        return found

    def _escaped(self) -> str:
        found = self._outside()
        if odd := [x for x in (*found, *self.outside) if x not in found or x not in self.outside]:
            return f"something outside of the stage is not as it was: {odd}"
        moved = [name for name, digest in self.names.items() if _names().get(name) != digest]
        own = {name for name in moved if "payroll" in name}
        return f"names have moved: {own}" if own else ""


def _told(run: list[Any], change: Change) -> list[Any]:
    """What must be as it was: a forged record may give columns of others another name."""
    return run[:3] if change.is_forged else run


def _held_up(error: str) -> str:
    """Say what is wrong with an error that stays when all damage is set aside."""
    is_meant = any(text in error for text in (NO_END, NO_FILE, UPGRADE))
    return "" if is_meant else f"setting aside does not help: {error}"


def _error_of(work: Any) -> str:
    """Return what a person is told; anything but an error of ours is raised."""
    try:
        work()
    except (exceptions.OmmxPrefectError, OSError) as error:
        return str(error) or repr(error)
    return ""


def _names() -> dict[str, str]:
    refs = list_artifacts(root=registry_root(), include_internal=True)
    return {ref.image_name: ref.manifest_digest for ref in refs}


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:  # since then
    return _status("VmHWM")


def _bytes_now() -> int:
    return _status("VmRSS")


def _status(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
