"""How a stage is changed as disks and networks do it: bytes, or what a file is."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Bytes that are the syntax of something, and texts that others have tripped over.
SYNTAX = [b'"', b"{", b"}", b"[", b",", b":", b"\\u0000", b"\\ud800", b"../", b"1e999", b"\xc4\xff"]
SYNTAX += [b"NaN", b"-1", b"9" * 400, b"null", b"\x80", b"\xff", b"\x00", b"[" * 2000]
# A hole in a file: nothing on the disk, and all of it in memory.
LARGE_BYTES = 200 * 2**20
PLANTED = ["readme.txt", "..x", "sealed.json", "sealing.json", "outbox.json", "inbox.json"]
PLANTED += ["starts/x-1-n", "shards/x-1-n", "quarantine/x", "blobs/x", "\u202eevil", "a b", "-rf"]
PLANTED += ["checkpoints/x-1-n", "starts/" + "k" * 200, "unsent/flow.json", "shards/x/y/z"]


@dataclass(frozen=True)
class Change:
    """What was done to a stage.

    Attributes:
        how: In words.
        paths: The files that are not as they were.
        is_forged: Whether it may say what its writer likes.
    """

    how: str
    paths: tuple[Path, ...]
    is_forged: bool = False


def changed_bytes(data: bytes, dice: random.Random) -> bytes:
    """Change bytes as disks, networks and people do."""
    for _ in range(dice.choice((1, 1, 1, 2, 5))):
        place = dice.randrange(len(data) + 1)
        other = dice.randrange(len(data) + 1)
        kind = dice.randrange(6)
        if kind == 0 and place < len(data):
            data = data[:place] + bytes([data[place] ^ 1 << dice.randrange(8)]) + data[place + 1 :]
        elif kind == 1:
            data = data[:place]
        elif kind == 2:
            data = data[:place] + dice.choice(SYNTAX) + data[place:]
        elif kind == 3:
            data = data[:place] + data[place + dice.randrange(1, 30) :]
        elif kind == 4:
            data = data[:place] + data[other : other + 40] + data[place:]
        else:
            data = dice.randbytes(dice.randrange(40))
    return data


def put(path: Path, data: bytes) -> None:
    """Put a new file there: the one that is there may be a link to another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def damaged(paths: list[Path], root: Path, outside: Path, dice: random.Random) -> Change:
    """Damage a file of a stage, or put one there that nobody knows."""
    path = dice.choice(paths)
    how = dice.choices(list(DAMAGE), weights=[weight for weight, _ in DAMAGE.values()])[0]
    return DAMAGE[how][1](path, paths, root, outside, dice)


def _bytes(path: Path, paths: Any, root: Path, outside: Path, dice: random.Random) -> Change:
    put(path, changed_bytes(path.read_bytes(), dice))
    return Change("bytes", (path,))


def _empty(path: Path, *_: Any) -> Change:
    put(path, b"")
    return Change("empty", (path,))


def _gone(path: Path, *_: Any) -> Change:
    path.unlink()
    return Change("gone", (path,))


def _swapped(path: Path, paths: list[Path], *rest: Any) -> Change:
    other = rest[-1].choice(paths)
    mine, its = path.read_bytes(), other.read_bytes()
    put(path, its)
    put(other, mine)
    return Change("swapped", (path, other) if other != path else ())


def _copied(path: Path, paths: list[Path], *rest: Any) -> Change:
    """The record of one, under the name of another, or of nobody."""
    name = rest[-1].choice([x.name for x in paths] + ["x-1-n"])
    put(path.with_name(name), path.read_bytes())
    return Change("copied", (path.with_name(name),))


def _link(path: Path, paths: list[Path], root: Path, outside: Path, dice: random.Random) -> Change:
    path.unlink()
    path.symlink_to(dice.choice([outside / "thesis.tex", outside, Path("/dev/zero"), paths[0]]))
    return Change("link", (path,))


def _pipe(path: Path, *_: Any) -> Change:
    path.unlink()
    os.mkfifo(path)
    return Change("pipe", (path,))


def _folder(path: Path, *_: Any) -> Change:
    path.unlink()
    path.mkdir()
    return Change("folder", (path,))


def _large(path: Path, *_: Any) -> Change:
    put(path, b"")
    os.truncate(path, LARGE_BYTES)
    return Change("large", (path,))


def _planted(path: Path, paths: Any, root: Path, outside: Path, dice: random.Random) -> Change:
    new = root / dice.choice(PLANTED)
    data = dice.choice([b"", b"{}", b"hello", path.read_bytes()])
    with contextlib.suppress(OSError):
        put(new, data)
    return Change("planted", (new,), is_forged=True)


DAMAGE: dict[str, tuple[int, Callable[..., Change]]] = {
    "bytes": (50, _bytes),
    "empty": (5, _empty),
    "gone": (8, _gone),
    "swapped": (6, _swapped),
    "copied": (6, _copied),
    "link": (5, _link),
    "pipe": (3, _pipe),
    "folder": (3, _folder),
    "large": (2, _large),
    "planted": (8, _planted),
}
