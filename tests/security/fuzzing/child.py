"""Do something in a process of its own, and hear how far it came, however it ended."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator

Case = tuple[int, str, str]


class Child:
    """What a forked process yields, as it comes.

    Args:
        work: Yields cases.
        patience_seconds: A process that yields nothing for so long is ended.

    Attributes:
        end: How the process ended, in words, once all is read.
    """

    def __init__(self, work: Callable[[], Iterator[Case]], patience_seconds: float) -> None:
        self._work, self._patience_seconds = work, patience_seconds
        self.end = ""

    def __iter__(self) -> Iterator[Case]:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            os._exit(self._do(writing))
        os.close(writing)
        try:
            for line in self._lines(reading):
                seed, what, problem = json.loads(line)
                yield seed, what, problem
        finally:
            os.close(reading)
            if self.end:
                os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            self.end = self.end or f"ended with {os.waitstatus_to_exitcode(status)}"

    def _lines(self, reading: int) -> Iterator[bytes]:
        held = b""
        while select.select([reading], [], [], self._patience_seconds)[0]:
            data = os.read(reading, 2**16)
            if not data:
                return
            *lines, held = (held + data).split(b"\n")
            yield from lines
        self.end = "stood still"

    def _do(self, writing: int) -> int:
        try:
            for case in self._work():
                data = (json.dumps(case) + "\n").encode()
                while data:
                    data = data[os.write(writing, data) :]
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            return 1
        return 0
