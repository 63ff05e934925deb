"""The main module of a child process that reads files for its parent.

This is the main module of a process of its own: HiGHS 1.16 does not end on some damaged files, and
SCIP 10 dies on some. It imports neither Prefect nor OMMX, so it starts quickly.

A question is a line `[wanted, path]` in JSON, and has an answer for each thing wanted. An answer is
eight bytes with its length, one byte that says what it is, and its content: of a reader the model's
arrays or the reason why there are none; of `doubts` why two readers that agree on the file may both
be wrong, `[[readers, reason], ...]` in JSON.
"""

from __future__ import annotations

import json
import os
import select
import sys
import types
from pathlib import Path
from typing import IO

# Nobody has asked for so long: end, for the next question starts another process.
_IDLE_SECONDS = 60.0

MODEL, UNREADABLE, INEXPRESSIBLE, NOT_INSTALLED, DOUBTS = b"MUIND"


def main() -> None:
    """Answer until standard input ends."""
    answers = _own_output()
    _without_the_package()
    while line := _question():
        wanted, path = json.loads(line)
        for each in wanted:
            kind, content = _answer(each, Path(path))
            answers.write(len(content).to_bytes(8, "big") + bytes([kind]) + content)
            answers.flush()


def _own_output() -> IO[bytes]:
    """Keep standard output for answers: what the readers print goes nowhere."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for standard in (1, 2):
        os.dup2(nowhere, standard)
    return answers


def _without_the_package() -> None:
    """Let the readers' modules be found without running what their packages' imports bring."""
    folder = Path(__file__).parent
    for name, path in (("ommx_prefect", folder.parent), ("ommx_prefect.instances", folder)):
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package


def _question() -> bytes:
    if sys.platform != "win32" and not select.select([0], [], [], _IDLE_SECONDS)[0]:
        return b""
    return sys.stdin.buffer.readline()


def _answer(wanted: str, path: Path) -> tuple[int, bytes]:
    from ommx_prefect.instances._matrix_bytes import matrix_to_bytes
    from ommx_prefect.instances._native_readers import NATIVE_READERS
    from ommx_prefect.instances._unreadable import Inexpressible, NotInstalled, Unreadable

    if wanted == "doubts":
        return DOUBTS, _doubts(path)
    try:
        return MODEL, matrix_to_bytes(NATIVE_READERS[wanted](path))
    except NotInstalled as error:
        return NOT_INSTALLED, error.package.encode()
    except Inexpressible as error:
        return INEXPRESSIBLE, error.reason.encode()
    except Unreadable as error:
        return UNREADABLE, error.reason.encode(errors="replace")
    except Exception as error:
        return UNREADABLE, f"{type(error).__name__}: {error}".encode(errors="replace")


def _doubts(path: Path) -> bytes:
    from ommx_prefect.instances._shared_faults import doubts_beside_ommx

    found = doubts_beside_ommx(path)
    return json.dumps([[sorted(each.readers), each.reason] for each in found]).encode()


if __name__ == "__main__":
    main()
